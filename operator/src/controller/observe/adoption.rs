//! Asks ClickHouse which of the entities that bear a stack's names, and are not its own, statements can change at all.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use weir_crds::AnalyticsStack;

use super::clickhouse::administrator_fault;
use crate::access::{self, Entity};
use crate::clickhouse::Connection;
use crate::controller::memory::{Memory, Probe};
use crate::controller::observed::{Fault, Observed};
use crate::controller::validate::{Found, validate};
use crate::controller::{Context, build_desired};

/// Time for which an answer is believed; whoever takes an entity over asks once more.
const LIFETIME: Duration = Duration::from_hours(1);

/// Those that cannot be changed. Asked only of a stack of which status says that such entities keep it from its work.
pub(super) async fn fixed(
    ctx: &Context,
    stack: &AnalyticsStack,
    connection: &Connection,
    observed: &Observed,
    memory: &mut Memory,
) -> Result<BTreeSet<Entity>, Fault> {
    let is_blocked = observed.status.adoption.is_some();
    let entities = if is_blocked { foreign(ctx, stack, observed) } else { Vec::new() };
    if entities.is_empty() {
        return Ok(BTreeSet::new());
    }
    let now = Instant::now();
    let known = memory.probe.as_ref().filter(|probe| probe.entities == entities && now < probe.expires);
    if let Some(probe) = known {
        return Ok(probe.fixed.clone());
    }
    let asked = access::fetch_fixed(&connection.because("adoption"), &entities).await;
    let fixed = asked.map_err(|error| administrator_fault(stack, &error))?;
    let expires = now + LIFETIME;
    memory.probe = Some(Probe { entities, fixed: fixed.clone(), expires });
    Ok(fixed)
}

fn foreign(ctx: &Context, stack: &AnalyticsStack, observed: &Observed) -> Vec<Entity> {
    let Ok(catalogue) = &observed.catalogue else { return Vec::new() };
    let Ok(checked) = validate(stack, &ctx.settings.rules, Found::default()) else { return Vec::new() };
    let desired = build_desired(&checked, &observed.owner, observed);
    let preview = access::preview(&desired.access, catalogue, &observed.adoption);
    preview.map_or_else(Vec::new, |preview| preview.items.into_iter().map(|item| item.entity).collect())
}
