//! Plans, against the model.

use proptest::prelude::*;

use super::super::right::GrantRow;
use super::model::{apply, empty_server};
use super::*;

/// Carries out additions and then removals, and returns what was done.
fn pass(catalogue: &mut Catalogue, desired: &Desired) -> Vec<Action> {
    let Plan { actions: mut done, conflicts } = plan(desired, catalogue);
    assert_eq!(conflicts, []);
    apply_all(&done, catalogue, &desired.owner);
    let removals = surplus(desired, catalogue);
    apply_all(&removals, catalogue, &desired.owner);
    done.extend(removals);
    done
}

fn apply_all(actions: &[Action], catalogue: &mut Catalogue, owner: &Owner) {
    for action in actions {
        apply(catalogue, owner, action);
    }
}

fn texts(actions: &[Action]) -> Vec<String> {
    actions.iter().map(Action::to_string).collect()
}

#[test]
fn a_new_stack_is_claimed_first_and_granted_before_its_users_exist() {
    let stack = Stack::new("shop", "web");
    let plan = plan(&stack.desired(&stack.logins()), &empty_server());
    insta::assert_yaml_snapshot!(texts(&plan.actions));
}

#[test]
fn a_second_pass_does_nothing() {
    let stack = Stack::new("shop", "web");
    let desired = stack.desired(&stack.logins());
    let mut catalogue = empty_server();
    assert!(!pass(&mut catalogue, &desired).is_empty());
    assert_eq!(pass(&mut catalogue, &desired), []);
}

#[test]
fn a_crash_after_any_action_converges_to_the_same_state() {
    let stack = Stack::new("shop", "web");
    let desired = stack.desired(&stack.logins());
    let whole = plan(&desired, &empty_server()).actions;
    for crash in 0..=whole.len() {
        let mut catalogue = empty_server();
        apply_all(&whole[..crash], &mut catalogue, &desired.owner);
        pass(&mut catalogue, &desired);
        assert_eq!(pass(&mut catalogue, &desired), [], "after {crash} actions");
        assert_eq!(catalogue.users.len(), 3, "after {crash} actions");
    }
}

#[test]
fn a_name_that_nobody_claimed_is_foreign_and_left_alone() {
    let stack = Stack::new("shop", "web");
    let desired = stack.desired(&stack.logins());
    let mut catalogue = empty_server();
    catalogue.roles.insert(stack.names.ingest_role());
    let Plan { actions, conflicts } = plan(&desired, &catalogue);
    assert_eq!(
        conflicts,
        [OwnershipConflict { entity: Entity::role(&stack.names.ingest_role()), owner: None }]
    );
    let role = stack.names.ingest_role();
    assert!(texts(&actions[2..]).iter().all(|text| !text.contains(&role)), "{:?}", texts(&actions));
}

#[test]
fn another_cluster_with_the_same_names_is_told_the_owner_asks_once_and_the_owner_is_told() {
    let first = Stack::new("shop", "web");
    let mut second = Stack::new("shop", "web");
    second.owner.cluster_id = "cluster-b".into();
    let mut catalogue = empty_server();
    pass(&mut catalogue, &first.desired(&first.logins()));
    let desired = second.desired(&second.logins());
    let Plan { actions, conflicts } = plan(&desired, &catalogue);
    let entity = Entity::database(&first.names.database);
    assert_eq!(actions, [Action::RecordRequest { entity, asker: second.owner.clone() }]);
    assert!(conflicts.iter().all(|conflict| conflict.owner == Some(first.owner.clone())));
    apply_all(&actions, &mut catalogue, &second.owner);
    assert_eq!(plan(&desired, &catalogue).actions, [], "it asks once");
    assert_eq!(surplus(&desired, &catalogue), []);
    assert_eq!(contest(&desired, &catalogue), None, "what it asked for is not its own");

    let owned = first.desired(&first.logins());
    assert_eq!((plan(&owned, &catalogue).actions, surplus(&owned, &catalogue)), (Vec::new(), Vec::new()));
    let told = contest(&owned, &catalogue).unwrap();
    assert!([&first.owner, &second.owner].iter().all(|owner| told.contains(&owner.to_string())), "{told}");

    let withdrawal = deletion(&second.owner, &catalogue);
    assert_eq!(texts(&withdrawal), ["withdraw the request for database weir_shop__web"]);
    apply_all(&withdrawal, &mut catalogue, &second.owner);
    assert_eq!(contest(&owned, &catalogue), None);
}

#[test]
fn a_stack_that_has_its_names_by_now_takes_its_request_back() {
    let stack = Stack::new("shop", "web");
    let desired = stack.desired(&stack.logins());
    let mut catalogue = empty_server();
    let earlier = Owner { uid: "earlier".into(), ..stack.owner.clone() };
    let entity = Entity::database(&stack.names.database);
    catalogue.requests = vec![Request { entity, asker: earlier, asked_at: 0 }];
    let done = texts(&pass(&mut catalogue, &desired));
    assert!(done.contains(&"withdraw the request for database weir_shop__web".to_owned()), "{done:?}");
    assert_eq!(pass(&mut catalogue, &desired), []);
}

#[test]
fn the_administrators_own_account_is_never_taken() {
    let stack = Stack::new("shop", "web");
    let catalogue = Catalogue { administrator: stack.names.ingest_user(1), ..empty_server() };
    let conflicts = plan(&stack.desired(&stack.logins()), &catalogue).conflicts;
    assert_eq!(
        conflicts,
        [OwnershipConflict { entity: Entity::user(&stack.names.ingest_user(1)), owner: None }]
    );
}

#[test]
fn deletion_drops_access_and_keeps_data_for_the_next_stack_of_the_name() {
    let stack = Stack::new("shop", "web");
    let mut catalogue = empty_server();
    pass(&mut catalogue, &stack.desired(&stack.logins()));
    for action in deletion(&stack.owner, &catalogue) {
        apply(&mut catalogue, &stack.owner, &action);
    }
    assert_eq!(deletion(&stack.owner, &catalogue), []);
    assert_eq!(catalogue.users.keys().collect::<Vec<_>>(), [&stack.names.definer()]);
    assert!(catalogue.roles.is_empty() && catalogue.databases.contains(&stack.names.database));

    let mut other = Stack::new("shop", "web");
    other.owner.cluster_id = "cluster-b".into();
    let conflicts = plan(&other.desired(&[]), &catalogue).conflicts;
    assert_eq!(conflicts[0].owner, Some(stack.owner.clone()));

    let mut next = Stack::new("shop", "web");
    next.owner.uid = "another-uid".into();
    let desired = next.desired(&next.logins());
    pass(&mut catalogue, &desired);
    assert_eq!(pass(&mut catalogue, &desired), []);
    assert!(catalogue.open_intents().iter().all(|intent| intent.owner == next.owner));
}

#[test]
fn leftovers_are_runnable_and_hold_no_hash() {
    let stack = Stack::new("shop", "web");
    let known = [stack.names.ingest_user(1), stack.names.reader_user("bi", 7)].into();
    let sql = leftovers_sql(&leftovers(&stack.desired(&stack.logins()), &known));
    assert!(sql.contains("DROP USER IF EXISTS `weir_shop__web_ingest_g1`;\n"), "{sql}");
    assert!(sql.contains("DROP ROLE IF EXISTS `weir_shop__web_reader_bi`;\n"), "{sql}");
    assert!(sql.contains("DROP USER IF EXISTS `weir_shop__web_reader_bi_g7`;\n"), "{sql}");
    assert_eq!(sql.matches("ingest_g1").count(), 1, "{sql}");
    assert!(!["definer", "IDENTIFIED", "KILL"].iter().any(|text| sql.contains(text)), "{sql}");
}

#[test]
fn a_new_migration_run_ends_the_earlier_ones_first() {
    let stack = Stack::new("shop", "web");
    let mut catalogue = empty_server();
    let with = |run: &str| stack.desired(&[stack.logins(), vec![stack.migration(run)]].concat());
    pass(&mut catalogue, &with("0000aaaa"));
    let texts = texts(&plan(&with("1111bbbb"), &catalogue).actions);
    let drop = texts.iter().position(|text| text.starts_with("drop user weir_shop__web_migrate_0000aaaa"));
    let create = texts.iter().position(|text| text == "create user weir_shop__web_migrate_1111bbbb");
    assert!(drop.is_some() && drop < create, "{texts:?}");
    assert_eq!(plan(&with("0000aaaa"), &catalogue).actions, [], "a run that goes on is not disturbed");
}

#[test]
fn an_endpoint_that_lacks_something_is_lagging() {
    let stack = Stack::new("shop", "web");
    let desired = stack.desired(&stack.logins());
    let mut catalogue = empty_server();
    pass(&mut catalogue, &desired);
    let mut behind = catalogue.clone();
    behind.users.remove(&stack.names.ingest_user(1));
    catalogue.others = vec![("http://b".into(), Ok(catalogue.clone())), ("http://c".into(), Ok(behind))];
    assert_eq!(catalogue.lagging(&desired), [("http://c".to_owned(), None)]);
}

#[test]
fn neither_text_nor_debug_of_an_action_shows_a_hash() {
    let stack = Stack::new("shop", "web");
    let plan = plan(&stack.desired(&stack.logins()), &empty_server());
    let hash = PasswordHash::of(&password_of(&stack.names.ingest_user(1))).hex();
    let shown = format!("{plan:?} {:?}", texts(&plan.actions));
    assert!(!shown.contains(&hash));
}

fn any_row() -> impl Strategy<Value = GrantRow> {
    let privilege = prop::sample::select(vec![
        "SELECT",
        "INSERT",
        "ALTER TABLE",
        "ALTER UPDATE",
        "SET DEFINER",
        "TRUNCATE",
    ]);
    let database = prop::option::of(prop::sample::select(vec!["weir_shop__web", "other"]));
    let table = prop::option::of(prop::sample::select(vec!["events_data", "links", "secret"]));
    let flags = (0..6_u8, 0..6_u8, 0..8_u8);
    (privilege, database, table, flags).prop_map(
        |(privilege, database, table, (denied, option, wildcard))| GrantRow {
            access_type: privilege.into(),
            table: database.and(table).map(Into::into),
            database: database.map(Into::into),
            is_partial_revoke: u8::from(denied == 0),
            grant_option: u8::from(option == 0),
            is_wildcard: u8::from(wildcard == 0),
            ..GrantRow::default()
        },
    )
}

proptest! {
    #[test]
    fn any_manual_change_of_grants_is_repaired_without_a_gap(rows in prop::collection::vec(any_row(), 0..12), on_user: bool) {
        let stack = Stack::new("shop", "web");
        let desired = stack.desired(&stack.logins());
        let mut catalogue = empty_server();
        pass(&mut catalogue, &desired);
        let settled = catalogue.clone();
        let changed = if on_user { Entity::user(&stack.names.definer()) } else { Entity::role(&stack.names.migrate_role()) };
        let wanted = desired.required(&stack.names.definer());
        let privileges = catalogue.privileges.clone();
        let held = catalogue.grants.get_mut(&changed).unwrap();
        for row in &rows {
            held.add(row, &privileges);
        }
        let present = |catalogue: &Catalogue| catalogue.grants[&changed].missing(&wanted, &privileges);
        let before = present(&catalogue);
        let additions = plan(&desired, &catalogue).actions;
        apply_all(&additions, &mut catalogue, &desired.owner);
        let removals = surplus(&desired, &catalogue);
        for action in &removals {
            apply(&mut catalogue, &desired.owner, action);
            if on_user {
                prop_assert!(present(&catalogue).iter().all(|right| before.contains(right)), "a right went away");
            }
        }
        prop_assert_eq!(pass(&mut catalogue, &desired), []);
        if !removals.is_empty() {
            prop_assert_eq!(&catalogue.grants[&changed], &settled.grants[&changed]);
        }
    }
}
