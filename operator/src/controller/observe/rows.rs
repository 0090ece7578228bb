//! What ClickHouse makes of the conditions of the readers' rows, asked as often as for what it holds.

use kube::ResourceExt as _;
use weir_crds::{AnalyticsStack, ConditionType};

use super::clickhouse::fault;
use crate::access::{Forms, Wanted, fetch_forms};
use crate::clickhouse::Connection;
use crate::controller::memory::Memory;
use crate::controller::observed::Fault;
use crate::names::ClickhouseNames;

/// The forms of all conditions in the spec; those of the last time while the catalogue is the same.
pub(super) async fn forms(
    stack: &AnalyticsStack,
    connection: &Connection,
    memory: &mut Memory,
) -> Result<Forms, Fault> {
    let wanted = wanted(stack);
    if wanted.is_empty() {
        return Ok(Forms::default());
    }
    let read = memory.catalogue.as_ref().map(|(_, expires)| *expires);
    if let Some((of, asked, forms)) = &memory.forms
        && (*of, asked) == (read, &wanted)
    {
        return Ok(forms.clone());
    }
    let name = stack.spec.clickhouse.database.as_deref();
    let names = ClickhouseNames::new(&stack.namespace().unwrap_or_default(), &stack.name_any(), name);
    let forms = fetch_forms(&connection.because("rows"), &names.database, &wanted).await;
    let forms = forms.map_err(|error| fault(ConditionType::DependenciesReady, &error))?;
    memory.forms = Some((read, wanted, forms.clone()));
    Ok(forms)
}

fn wanted(stack: &AnalyticsStack) -> Wanted {
    let tables = stack.spec.users.iter().flat_map(|user| &user.tables);
    tables.filter_map(|table| Some((table.name.clone(), table.rows.clone()?))).collect()
}
