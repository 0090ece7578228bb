//! What keeps a reader from being narrowed as the spec says: a condition that ClickHouse cannot use, and a quota of somebody
//! else that may count in place of its own. Nothing else waits for it.

use weir_crds::Reason;

use super::{Hold, Steps, View};
use crate::access;
use crate::controller::stack::Reader;

/// Names each, with the field and what to do.
pub(super) fn waits(view: &View<'_>, steps: &mut Steps) {
    let Ok(catalogue) = &view.observed.catalogue else { return };
    let desired = &view.desired.access;
    for (role, table, why) in desired.refused_conditions() {
        let reader = reader(view, role);
        let field = format!("spec.users[{reader}].tables[{table}].rows");
        let hint = format!("{why}; until then the reader is given nothing more of that table than it had");
        steps.hold(Hold::of_access(field, Reason::InvalidSpec, hint));
    }
    for (role, quota) in access::rivals(desired, catalogue) {
        let reader = reader(view, role);
        let field = format!("spec.users[{reader}].quota");
        let hint = format!(
            "ClickHouse counts a query by one quota only, and quota {quota}, which Weir did not make, applies to the reader too; except role {role} from it, or remove the reader's quota"
        );
        steps.hold(Hold::of_access(field, Reason::OwnershipConflict, hint));
    }
}

/// Name of the reader that has a role.
fn reader<'a>(view: &'a View<'_>, role: &str) -> &'a str {
    let names = &view.stack.clickhouse.names;
    let of = |reader: &&Reader| names.reader_role(&reader.name) == role;
    view.stack.readers.iter().find(of).map_or("", |reader| reader.name.as_str())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weir_crds::AnalyticsStack;

    use super::super::{Plan, Step, order, plan};
    use super::*;
    use crate::access::tests::model;
    use crate::access::{Catalogue, Form, Forms};
    use crate::controller::stack::Stack;
    use crate::controller::validate::{Found, Rules, validate};
    use crate::controller::{build_desired, fixture};

    const CONDITION: &str = "event = 'purchase'";

    /// The fixture with a reader of purchases, an hour's quota, and a value for its login.
    fn narrowed() -> Stack {
        let reader = serde_json::json!({
            "name": "grafana",
            "profile": "Custom",
            "tables": [{"name": "events", "rows": CONDITION}],
            "quota": [{"interval": "1h30m", "queries": 7, "executionTime": "2m"}],
        });
        let mut stack = serde_json::to_value(fixture::stack()).unwrap();
        stack["spec"]["users"] = serde_json::json!([reader]);
        let stack: AnalyticsStack = serde_json::from_value(stack).unwrap();
        let rules = Rules { allow_inline_clickhouse: true, ..Rules::default() };
        validate(&stack, &rules, Found { image: Some(fixture::image()), ca_pem: None }).unwrap()
    }

    fn plan_with(form: Form, catalogue: Catalogue) -> Plan {
        let stack = narrowed();
        let mut observed = fixture::observed();
        observed.catalogue = Ok(Arc::new(catalogue));
        observed.forms = Forms::known([(("events".into(), CONDITION.into()), form)]);
        let desired = build_desired(&stack, &fixture::owner(), &observed);
        let plan = plan(&View { stack: &stack, desired: &desired, observed: &observed });
        order::check(&plan).expect("the phases know their order");
        plan
    }

    fn holds(plan: &Plan) -> Vec<&Hold> {
        let holds = plan.steps.iter().filter_map(|step| match step {
            Step::Hold(hold) => Some(hold),
            Step::Do(..) => None,
        });
        holds.collect()
    }

    #[test]
    fn a_reader_is_narrowed_as_its_spec_says() {
        let plan = plan_with(Form::Known("(event = 'purchase')".into()), model::empty_server());
        let role = "weir_retail__store_reader_grafana";
        let done = plan.summary();
        for text in [
            "create row policy weir_retail__store_rows ON weir_retail__store.events".to_owned(),
            format!("create row policy {role} ON weir_retail__store.events"),
            format!("create quota {role}"),
            format!("grant SELECT ON `weir_retail__store`.`events` to role {role}"),
        ] {
            assert!(done.contains(&text), "{text}: {done:#?}");
        }
        let quota = &narrowed().readers[0].access.quota[&5400];
        let limits: Vec<_> = quota.iter().map(|(name, amount)| format!("{name} = {amount}")).collect();
        assert_eq!(limits, ["execution_time = 120", "queries = 7"]);
    }

    #[test]
    fn a_condition_that_cannot_be_used_is_named_with_its_field_and_nothing_else_waits() {
        let plan = plan_with(Form::Refused("it names no column".into()), model::empty_server());
        let done = plan.summary();
        assert!(done.iter().any(|text| text.starts_with("create quota ")), "{done:#?}");
        assert!(
            !done.iter().any(|text| text.contains("`events` to role weir_retail__store_reader")),
            "{done:#?}"
        );
        let hold = holds(&plan)[0];
        assert_eq!(hold.object, "spec.users[grafana].tables[events].rows");
        assert_eq!((hold.reason, hold.blocks), (Reason::InvalidSpec, false));
        let said =
            "it names no column; until then the reader is given nothing more of that table than it had";
        assert_eq!(hold.hint, said);
    }

    #[test]
    fn a_quota_of_somebody_else_that_may_count_instead_is_named() {
        let mut catalogue = model::empty_server();
        let everybody = access::QuotaState { is_for_all: true, ..access::QuotaState::default() };
        catalogue.quotas.insert("theirs".into(), everybody);
        let plan = plan_with(Form::Known("(event = 'purchase')".into()), catalogue);
        let hold = holds(&plan)[0];
        assert_eq!((hold.object.as_str(), hold.blocks), ("spec.users[grafana].quota", false));
        assert!(hold.hint.contains("quota theirs, which Weir did not make"), "{}", hold.hint);
    }

    #[test]
    fn what_narrows_comes_before_what_opens_in_every_order_that_is_checked() {
        let plan = plan_with(Form::Known("(event = 'purchase')".into()), model::empty_server());
        let is = |text: &str, step: &Step| matches!(step, Step::Do(_, action) if action.to_string().starts_with(text));
        let grant = "grant SELECT ON `weir_retail__store`.`events` to role weir_retail__store_reader";
        let policy = "create row policy weir_retail__store_reader";
        for (first, second) in [
            ("create row policy weir_retail__store_rows", policy),
            ("create role weir_retail__store_reader", policy),
            (policy, grant),
            ("create quota", grant),
            ("claim", "create quota"),
            ("claim", policy),
        ] {
            let mut swapped = Plan { steps: plan_with_steps(&plan) };
            let at = |text| swapped.steps.iter().position(|step| is(text, step)).expect(text);
            let (earlier, later) = (at(first), at(second));
            assert!(earlier < later, "{first} {second}");
            swapped.steps.swap(earlier, later);
            assert!(order::check(&swapped).is_err(), "{second} before {first} passes");
        }
    }

    /// The steps that change access, again.
    fn plan_with_steps(plan: &Plan) -> Vec<Step> {
        let again = |step: &Step| match step {
            Step::Do(stage, super::super::Action::Access(action)) => {
                Some(Step::Do(*stage, super::super::Action::Access(action.clone())))
            }
            Step::Do(..) | Step::Hold(_) => None,
        };
        plan.steps.iter().filter_map(again).collect()
    }
}
