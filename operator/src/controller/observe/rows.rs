//! What ClickHouse makes of the conditions of the readers' rows.

use std::time::Duration;

use kube::ResourceExt as _;
use tokio::time::Instant;
use weir_crds::{AnalyticsStack, ConditionType};

use super::clickhouse::fault;
use crate::access::{Catalogue, Forms, Wanted, fetch_forms};
use crate::clickhouse::Connection;
use crate::controller::memory::{AskedForms, Memory};
use crate::controller::observed::Fault;
use crate::names::ClickhouseNames;

/// Time for which an answer is believed while the catalogue shows the same.
const LIFETIME: Duration = Duration::from_hours(1);

/// The forms of all conditions in the spec. Those of the last time while the catalogue is the same, or is another one that
/// shows each of them: a settled stack asks for none of its own.
pub(super) async fn forms(
    stack: &AnalyticsStack,
    connection: &Connection,
    catalogue: &Catalogue,
    memory: &mut Memory,
) -> Result<Forms, Fault> {
    let wanted = wanted(stack);
    if wanted.is_empty() {
        return Ok(Forms::default());
    }
    let name = stack.spec.clickhouse.database.as_deref();
    let names = ClickhouseNames::new(&stack.namespace().unwrap_or_default(), &stack.name_any(), name);
    let (read, now) = (memory.catalogue.as_ref().map(|(_, expires)| *expires), Instant::now());
    let is_known = |asked: &&AskedForms| {
        let is_shown = || now < asked.expires && asked.forms.are_shown(catalogue, &names.database);
        asked.wanted == wanted && (asked.read == read || is_shown())
    };
    if let Some(asked) = memory.forms.as_ref().filter(is_known) {
        return Ok(asked.forms.clone());
    }
    let forms = fetch_forms(&connection.because("rows"), &names.database, &wanted).await;
    let forms = forms.map_err(|error| fault(ConditionType::DependenciesReady, &error))?;
    memory.forms = Some(AskedForms { wanted, forms: forms.clone(), read, expires: now + LIFETIME });
    Ok(forms)
}

fn wanted(stack: &AnalyticsStack) -> Wanted {
    let tables = stack.spec.users.iter().flat_map(|user| &user.tables);
    tables.filter_map(|table| Some((table.name.clone(), table.rows.clone()?))).collect()
}
