//! What keeps a reader from being narrowed as the spec says: a condition that ClickHouse cannot use, and a quota of somebody
//! else that may count in place of its own. Nothing else waits for it.

use weir_crds::{ConditionType, Reason};

use super::{Hold, Steps, View};
use crate::access;
use crate::controller::stack::Reader;

/// Names each, with the field and what to do.
pub(super) fn waits(view: &View<'_>, steps: &mut Steps) {
    let Ok(catalogue) = &view.observed.catalogue else { return };
    let desired = &view.desired.access;
    for (role, table, why) in desired.refused_conditions() {
        let reader = reader(view, role);
        steps.hold(Hold {
            stage: ConditionType::AccessReady,
            object: format!("spec.users[{reader}].tables[{table}].rows"),
            reason: Reason::InvalidSpec,
            hint: format!(
                "{why}; until then the reader keeps the condition that it had, and no access to the table where it had none"
            ),
            blocks: false,
            until: None,
        });
    }
    for (role, quota) in access::rivals(desired, catalogue) {
        let reader = reader(view, role);
        steps.hold(Hold {
            stage: ConditionType::AccessReady,
            object: format!("spec.users[{reader}].quota"),
            reason: Reason::OwnershipConflict,
            hint: format!(
                "ClickHouse counts a query by one quota only, and quota {quota}, which Weir did not make, applies to the reader too; except role {role} from it, or remove the reader's quota"
            ),
            blocks: false,
            until: None,
        });
    }
}

/// Name of the reader that has a role.
fn reader<'a>(view: &'a View<'_>, role: &str) -> &'a str {
    let names = &view.stack.clickhouse.names;
    let of = |reader: &&Reader| names.reader_role(&reader.name) == role;
    view.stack.readers.iter().find(of).map_or("", |reader| reader.name.as_str())
}
