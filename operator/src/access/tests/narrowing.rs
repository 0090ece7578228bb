//! Plans of row policies and quotas, against the model.

use super::super::rows::{Form, PolicyName, PolicyState};
use super::model::{apply, empty_server};
use super::*;

const TABLE: &str = "events";
const ALL: &str = "everything";

/// A stack whose server shows each of these conditions in parentheses.
fn stack() -> Stack {
    let known =
        |condition: &str| ((TABLE.to_owned(), condition.to_owned()), Form::Known(format!("({condition})")));
    Stack { forms: Forms::known(["a", "b"].map(known)), ..Stack::new("shop", "web") }
}

impl Stack {
    fn of(&self, reader: Reader) -> Desired {
        let user = self.names.reader_user(&reader.name, 1);
        let login =
            Login { passwords: passwords_of(&user), user, purpose: Purpose::Reader(reader.name.clone()) };
        self.desired_with(&[reader], &[login])
    }

    fn policy(&self, name: String) -> PolicyName {
        PolicyName { name, database: self.names.database.clone(), table: TABLE.into() }
    }
}

/// A whole pass, with a look at the server after each action.
fn pass(catalogue: &mut Catalogue, desired: &Desired, look: &mut dyn FnMut(&Catalogue)) -> Vec<Action> {
    let Plan { actions: mut done, conflicts } = plan(desired, catalogue);
    assert_eq!(conflicts, []);
    let mut run = |actions: &[Action], catalogue: &mut Catalogue| {
        for action in actions {
            apply(catalogue, &desired.owner, action);
            look(catalogue);
        }
    };
    run(&done, catalogue);
    let removals = surplus(desired, catalogue);
    run(&removals, catalogue);
    done.extend(removals);
    done
}

fn settle(catalogue: &mut Catalogue, desired: &Desired) -> Vec<String> {
    let done = pass(catalogue, desired, &mut |_| {});
    assert_eq!(pass(catalogue, desired, &mut |_| {}), [], "a second pass");
    done.iter().map(Action::to_string).collect()
}

/// What the reader's users see of the table: nothing, everything, or what a condition lets through.
fn seen(catalogue: &Catalogue, stack: &Stack) -> Option<String> {
    let role = stack.names.reader_role("bi");
    let right = Right::new("SELECT", Scope::Table(stack.names.database.clone(), TABLE.into()));
    let grants = catalogue.grants.get(&Entity::role(&role))?;
    if !grants.missing(&[right], &catalogue.privileges).is_empty() {
        return None;
    }
    let policies = catalogue.policies.values().filter(|state| state.is_restrictive);
    let conditions: Vec<_> =
        policies.filter(|state| state.grantees.contains(&role)).map(|state| state.filter.clone()).collect();
    Some(if conditions.is_empty() { ALL.into() } else { conditions.join(" AND ") })
}

/// Everybody else sees every row: nothing takes rows away where nothing admits everybody.
fn assert_others_see_all(catalogue: &Catalogue) {
    let is_open = |state: &PolicyState| !state.is_restrictive && state.is_for_all && state.filter == "1";
    let is_narrow = |state: &PolicyState| state.is_restrictive;
    let (open, narrow) =
        (catalogue.policies.values().any(is_open), catalogue.policies.values().any(is_narrow));
    assert!(open || !narrow, "{:?}", catalogue.policies);
}

#[test]
fn at_every_moment_of_every_edit_a_reader_sees_what_the_old_or_the_new_spec_says_and_others_see_all() {
    let stack = stack();
    let without = || Reader { reads: Reads::Tables(vec![("links".into(), Vec::new())]), ..reader("bi") };
    let specs = || {
        let of = |condition| filtered("bi", TABLE, condition);
        [without(), reader("bi"), of(None), of(Some("a")), of(Some("b"))]
    };
    let mut looks = 0;
    for (from, old) in specs().into_iter().enumerate() {
        for (to, new) in specs().into_iter().enumerate() {
            let mut catalogue = empty_server();
            settle(&mut catalogue, &stack.of(old.clone()));
            let before = seen(&catalogue, &stack);
            let expected = [None, Some(ALL), Some(ALL), Some("(a)"), Some("(b)")];
            let after = expected[to].map(str::to_owned);
            assert_eq!(before, expected[from].map(str::to_owned));
            let mut is_new = before == after;
            let desired = stack.of(new);
            pass(&mut catalogue, &desired, &mut |catalogue| {
                let now = seen(catalogue, &stack);
                assert!(now == after || !is_new && now == before, "{from} to {to}: {now:?}");
                is_new |= now == after;
                assert_others_see_all(catalogue);
                looks += 1;
            });
            assert_eq!(seen(&catalogue, &stack), after, "{from} to {to}");
            assert_eq!(pass(&mut catalogue, &desired, &mut |_| {}), [], "{from} to {to}");
        }
    }
    assert!(looks > 20, "{looks}");
}

#[test]
fn a_crash_after_any_action_converges_and_shows_nobody_more_meanwhile() {
    let stack = stack();
    let reader = Reader { quota: hourly(&[("queries", "5")]), ..filtered("bi", TABLE, Some("a")) };
    let desired = stack.of(reader);
    let whole = plan(&desired, &empty_server()).actions;
    for crash in 0..=whole.len() {
        let mut catalogue = empty_server();
        for action in &whole[..crash] {
            apply(&mut catalogue, &desired.owner, action);
            assert_ne!(seen(&catalogue, &stack).as_deref(), Some(ALL), "after {crash} actions");
        }
        settle(&mut catalogue, &desired);
        assert_eq!((catalogue.policies.len(), catalogue.quotas.len()), (2, 1), "after {crash} actions");
    }
}

#[test]
fn what_narrows_a_reader_comes_before_what_it_may_do() {
    let stack = stack();
    let reader = Reader { quota: hourly(&[("queries", "5")]), ..filtered("bi", TABLE, Some("a")) };
    let mut catalogue = empty_server();
    let done = settle(&mut catalogue, &stack.of(reader));
    let role = "weir_shop__web_reader_bi";
    let expected = [
        "create row policy weir_shop__web_rows ON weir_shop__web.events".to_owned(),
        format!("create role {role}"),
        format!("create row policy {role} ON weir_shop__web.events"),
        format!("create quota {role}"),
        format!("grant SELECT ON `weir_shop__web`.`events` to role {role}"),
        format!("create user {role}_g1"),
    ];
    let places: Vec<_> = expected.iter().map(|text| done.iter().position(|done| done == text)).collect();
    assert!(places.is_sorted() && places.iter().all(Option::is_some), "{places:?} {done:#?}");
}

#[test]
fn a_quota_is_set_in_one_step_and_goes_with_the_spec() {
    let stack = stack();
    let with = |quota| stack.of(Reader { quota, ..reader("bi") });
    let mut catalogue = empty_server();
    settle(&mut catalogue, &with(hourly(&[("queries", "5")])));
    let daily: BTreeMap<_, _> = [(86400, hourly(&[("errors", "7")]).remove(&3600).unwrap())].into();
    let role = "weir_shop__web_reader_bi";
    assert_eq!(settle(&mut catalogue, &with(daily)), [format!("set quota {role} as in the spec")]);
    assert_eq!(catalogue.quotas[role].intervals.keys().collect::<Vec<_>>(), [&86400]);
    let gone = settle(&mut catalogue, &with(BTreeMap::new()));
    assert_eq!(gone, [format!("drop quota {role}"), format!("give up the claim on quota {role}")]);
}

#[test]
fn a_condition_that_cannot_be_used_changes_nothing_and_opens_no_table() {
    let refused = (
        (TABLE.to_owned(), "nope".to_owned()),
        Form::Refused("it names a column that the table does not have".into()),
    );
    let known = ((TABLE.to_owned(), "a".to_owned()), Form::Known("(a)".into()));
    let stack = Stack { forms: Forms::known([refused, known]), ..Stack::new("shop", "web") };
    let bad = stack.of(filtered("bi", TABLE, Some("nope")));
    let mut catalogue = empty_server();
    let done = settle(&mut catalogue, &bad);
    assert!(done.iter().any(|done| done == "create user weir_shop__web_reader_bi_g1"), "{done:?}");
    assert_eq!(seen(&catalogue, &stack), None);
    assert_eq!(bad.required("weir_shop__web_reader_bi_g1"), [], "no proof waits for it");
    let said = bad.refused_conditions();
    assert_eq!((said[0].0, said[0].1), ("weir_shop__web_reader_bi", TABLE));

    settle(&mut catalogue, &stack.of(filtered("bi", TABLE, Some("a"))));
    assert_eq!(settle(&mut catalogue, &bad), Vec::<String>::new());
    assert_eq!(seen(&catalogue, &stack).as_deref(), Some("(a)"));

    settle(&mut catalogue, &stack.of(filtered("bi", TABLE, None)));
    settle(&mut catalogue, &bad);
    assert_eq!(seen(&catalogue, &stack).as_deref(), Some(ALL));
}

#[test]
fn conditions_are_asked_for_again_as_long_as_no_policy_shows_them() {
    let stack = stack();
    let form_of = |condition: &str, form| Forms::known([((TABLE.to_owned(), condition.to_owned()), form)]);
    let known = form_of("a", Form::Known("(a)".into()));
    let mut catalogue = empty_server();
    assert!(!known.are_shown(&catalogue, &stack.names.database));
    settle(&mut catalogue, &stack.of(filtered("bi", TABLE, Some("a"))));
    assert!(known.are_shown(&catalogue, &stack.names.database));
    assert!(!known.are_shown(&catalogue, "another"), "a policy on another table");
    assert!(!form_of("b", Form::Known("(b)".into())).are_shown(&catalogue, &stack.names.database));
    assert!(!form_of("a", Form::Refused("no".into())).are_shown(&catalogue, &stack.names.database));
}

#[test]
fn a_hand_is_found_whatever_it_did() {
    let stack = stack();
    let role = stack.names.reader_role("bi");
    let reader = Reader { quota: hourly(&[("queries", "5")]), ..filtered("bi", TABLE, Some("a")) };
    let desired = stack.of(reader);
    let mut settled = empty_server();
    settle(&mut settled, &desired);
    let (own, open) = (stack.policy(role.clone()), stack.policy(stack.names.open_rows()));
    let edits: [&dyn Fn(&mut Catalogue); 9] = [
        &|catalogue| catalogue.policies.get_mut(&own).unwrap().filter = "1".into(),
        &|catalogue| catalogue.policies.get_mut(&own).unwrap().is_restrictive = false,
        &|catalogue| catalogue.policies.get_mut(&own).unwrap().grantees.extend(["other".into()]),
        &|catalogue| drop(catalogue.policies.remove(&own)),
        &|catalogue| catalogue.policies.get_mut(&open).unwrap().exceptions.extend(["other".into()]),
        &|catalogue| drop(catalogue.policies.remove(&open)),
        &|catalogue| drop(catalogue.quotas.get_mut(&role).unwrap().intervals.insert(60, Limits::new())),
        &|catalogue| catalogue.quotas.get_mut(&role).unwrap().keys.extend(["user_name".into()]),
        &|catalogue| drop(catalogue.quotas.remove(&role)),
    ];
    for (at, edit) in edits.iter().enumerate() {
        let mut catalogue = settled.clone();
        edit(&mut catalogue);
        assert_eq!(settle(&mut catalogue, &desired).len(), 1, "edit {at}");
    }
}

#[test]
fn policies_and_quotas_of_others_are_left_alone_and_never_widened() {
    let stack = stack();
    let role = stack.names.reader_role("bi");
    let reader = Reader { quota: hourly(&[("queries", "5")]), ..filtered("bi", TABLE, Some("a")) };
    let desired = stack.of(reader);
    let theirs = |table: &str| PolicyName { table: table.into(), ..stack.policy("theirs".into()) };
    let state = PolicyState { filter: "tenant = 1".into(), is_for_all: true, ..PolicyState::default() };
    for foreign in [theirs(TABLE), theirs("*"), theirs("")] {
        let mut catalogue = empty_server();
        settle(&mut catalogue, &desired);
        catalogue.policies.insert(foreign.clone(), state.clone());
        let expected = ["drop row policy weir_shop__web_rows ON weir_shop__web.events".to_owned()];
        assert_eq!(settle(&mut catalogue, &desired)[..1], expected);
        assert_eq!(catalogue.policies[&foreign], state);
        assert_eq!(seen(&catalogue, &stack).as_deref(), Some("(a)"));
    }
    let mut catalogue = empty_server();
    catalogue.policies.insert(theirs("links"), state);
    let quota = |grantees: &[&str]| super::super::quota::QuotaState {
        grantees: grantees.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    };
    catalogue.quotas.insert("unrelated".into(), quota(&["somebody"]));
    settle(&mut catalogue, &desired);
    assert_eq!(catalogue.policies.len(), 3, "another table does not matter");
    assert_eq!(rivals(&desired, &catalogue), []);
    catalogue.quotas.insert("theirs".into(), quota(&[&stack.names.reader_user("bi", 1)]));
    assert_eq!(rivals(&desired, &catalogue), [(role.as_str(), "theirs")]);
    // A name that somebody has is not taken, and what needs it is not opened.
    let mut taken = empty_server();
    taken.quotas.insert(role.clone(), quota(&[]));
    taken.policies.insert(stack.policy(role.clone()), PolicyState::default());
    let Plan { actions, conflicts } = plan(&desired, &taken);
    let expected = [stack.policy(role.clone()).entity(), super::super::quota::entity(&role)];
    let conflicts: Vec<_> = conflicts.into_iter().map(|conflict| conflict.entity).collect();
    assert_eq!(conflicts, expected);
    assert!(actions.iter().all(|action| !action.to_string().starts_with("grant SELECT")), "{actions:?}");
}

#[test]
fn a_deletion_takes_rows_and_quotas_last_and_leaves_runnable_drops() {
    let stack = stack();
    let reader = Reader { quota: hourly(&[("queries", "5")]), ..filtered("bi", TABLE, Some("a")) };
    let desired = stack.of(reader);
    let mut catalogue = empty_server();
    settle(&mut catalogue, &desired);
    for action in deletion(&stack.owner, &catalogue) {
        apply(&mut catalogue, &stack.owner, &action);
        assert_others_see_all(&catalogue);
        assert_ne!(seen(&catalogue, &stack).as_deref(), Some(ALL));
    }
    assert!(catalogue.policies.is_empty() && catalogue.quotas.is_empty());
    assert_eq!(deletion(&stack.owner, &catalogue), []);
    let sql = leftovers_sql(&leftovers(&desired, &std::collections::BTreeSet::new()));
    let role = "weir_shop__web_reader_bi";
    let expected = [
        format!("DROP ROLE IF EXISTS `{role}`;\n"),
        format!("DROP ROW POLICY IF EXISTS `{role}` ON `weir_shop__web`.`events`;\n"),
        "DROP ROW POLICY IF EXISTS `weir_shop__web_rows` ON `weir_shop__web`.`events`;\n".to_owned(),
        format!("DROP QUOTA IF EXISTS `{role}`;\n"),
    ];
    assert!(sql.ends_with(&expected.concat()), "{sql}");
}
