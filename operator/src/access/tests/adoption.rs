//! Adoption, against the model: what a preview shows and is changed by, and that nobody loses a right on the way.

use std::collections::BTreeSet;

use super::super::catalogue::UserState;
use super::super::right::Grants;
use super::model::{apply, empty_server};
use super::*;

/// Rights in that database, and everywhere.
fn select(database: &str) -> Right {
    Right::new("SELECT", Scope::Database(database.into()))
}

fn apply_all(actions: &[Action], catalogue: &mut Catalogue, owner: &Owner) {
    for action in actions {
        apply(catalogue, owner, action);
    }
}

/// Whatever a pass does about access, in its order; `is_proven` is whether the pods are.
fn pass(catalogue: &mut Catalogue, desired: &Desired, is_proven: bool) -> Vec<Action> {
    let mut done = plan(desired, catalogue).actions;
    apply_all(&done, catalogue, &desired.owner);
    if is_proven {
        let mut last = surplus(desired, catalogue);
        last.extend(settlement(desired, catalogue));
        apply_all(&last, catalogue, &desired.owner);
        done.extend(last);
    }
    done
}

/// A server with a database, and the ingest role with rights of its own, all made by hand.
fn by_hand(stack: &Stack, held: &[Right]) -> Catalogue {
    let mut catalogue = empty_server();
    catalogue.databases.insert(stack.names.database.clone());
    catalogue.roles.insert(stack.names.ingest_role());
    let grants = Grants { rights: held.iter().cloned().collect(), ..Grants::default() };
    catalogue.grants.insert(Entity::role(&stack.names.ingest_role()), grants);
    catalogue
}

fn shown(desired: &Desired, catalogue: &Catalogue) -> Preview {
    preview(desired, catalogue, &AdoptionRules::default()).expect("something to take over")
}

fn hash(desired: &Desired, catalogue: &Catalogue) -> String {
    shown(desired, catalogue).hash
}

#[test]
fn a_preview_shows_what_would_be_taken_over_and_what_would_change_of_it() {
    let stack = Stack::new("shop", "web");
    let desired = stack.desired(&stack.logins());
    let mut catalogue = by_hand(&stack, &[select("shop"), select("weir_shop__web")]);
    let user = stack.names.ingest_user(1);
    catalogue
        .users
        .insert(user.clone(), UserState { networks: ["10.0.0.0/8".into()].into(), ..UserState::default() });
    catalogue.role_grants.insert(Entity::user(&user), ["other".to_owned()].into());
    let items = shown(&desired, &catalogue).items.into_iter().map(|item| {
        let changes = item.changes.iter().map(|change| format!("{}: {change}", item.entity));
        changes.collect::<Vec<_>>()
    });
    insta::assert_yaml_snapshot!(items.collect::<Vec<_>>());
}

#[test]
fn a_hash_is_of_everything_that_a_preview_was_made_from() {
    let stack = Stack::new("shop", "web");
    let desired = stack.desired(&stack.logins());
    let held = [select("shop")];
    let catalogue = by_hand(&stack, &held);
    let first = hash(&desired, &catalogue);
    assert_eq!(first, hash(&desired, &catalogue.clone()), "it stays while nothing changes");
    let role = Entity::role(&stack.names.ingest_role());
    let mut changed: Vec<Catalogue> = Vec::new();
    let mut change = |edit: &dyn Fn(&mut Catalogue)| {
        let mut other = catalogue.clone();
        edit(&mut other);
        changed.push(other);
    };
    change(&|other| other.grants.get_mut(&role).unwrap().excess = true);
    change(&|other| other.grants.get_mut(&role).unwrap().rights.extend([select("more")]));
    change(&|other| drop(other.role_grants.insert(role.clone(), ["more".to_owned()].into())));
    change(&|other| other.roles.extend([stack.names.migrate_role()]));
    change(&|other| other.databases.clear());
    let mut hashes: BTreeSet<_> = changed.iter().map(|other| hash(&desired, other)).collect();
    let renewed = Owner { uid: "another".into(), ..stack.owner.clone() };
    hashes.insert(hash(&Desired { owner: renewed, ..desired.clone() }, &catalogue));
    let readers = [reader("bi"), reader("other")];
    assert_eq!(
        hash(&stack.desired_with(&readers, &[]), &catalogue),
        first,
        "what the stack makes is no adoption"
    );
    hashes.insert(first);
    assert_eq!(hashes.len(), 7, "{hashes:?}");
}

#[test]
fn what_narrows_a_reader_is_taken_over_with_its_name_and_set_before_the_reader_reads() {
    let stack = Stack::new("shop", "web");
    let rows = [("links".to_owned(), "a = 1".to_owned())].into();
    let minute = (60, [("queries".to_owned(), "5".to_owned())].into());
    let narrowed = Reader { rows, quota: [minute].into(), ..reader("bi") };
    let desired = stack.desired_with(&[narrowed], &stack.logins());
    let mut catalogue = by_hand(&stack, &[]);
    let role = stack.names.reader_role("bi");
    catalogue.quotas.insert(role.clone(), QuotaState { is_for_all: true, ..QuotaState::default() });
    let first = shown(&desired, &catalogue);
    let quota = first.items.iter().find(|item| item.entity.kind == Kind::Quota).unwrap();
    assert_eq!(quota.changes, [format!("set quota {role} as in the spec")]);
    catalogue.quotas.get_mut(&role).unwrap().is_randomized = true;
    assert_ne!(hash(&desired, &catalogue), first.hash, "its limits are part of what was approved");

    let approved = shown(&desired, &catalogue).action(&desired, 0);
    apply_all(&[Action::CreateLedger, approved], &mut catalogue, &stack.owner);
    let done: Vec<_> = pass(&mut catalogue, &desired, false).iter().map(Action::to_string).collect();
    let position = |text: String| done.iter().position(|done| done.starts_with(&text)).expect("it is done");
    assert!(
        position(format!("set quota {role}"))
            < position(format!("create user {}", stack.names.reader_user("bi", 1)))
    );
    while !pass(&mut catalogue, &desired, true).is_empty() {}
    assert_eq!(pending(&stack.owner, &catalogue), []);
}

#[test]
fn what_comes_later_is_not_approved_with_what_was_there_before() {
    let stack = Stack::new("shop", "web");
    let desired = stack.desired(&stack.logins());
    let mut catalogue = by_hand(&stack, &[]);
    let approved = shown(&desired, &catalogue);
    apply_all(&[Action::CreateLedger, approved.action(&desired, 0)], &mut catalogue, &stack.owner);
    assert_eq!(preview(&desired, &catalogue, &AdoptionRules::default()), None);
    catalogue.users.insert(stack.names.definer(), UserState::default());
    let later = shown(&desired, &catalogue);
    assert_eq!(
        later.items.iter().map(|item| item.entity.to_string()).collect::<Vec<_>>(),
        ["user weir_shop__web_definer"]
    );
    assert_ne!(later.hash, approved.hash);
}

#[test]
fn nothing_is_granted_on_a_foreign_database_before_it_is_approved() {
    let stack = Stack::new("shop", "web");
    let desired = stack.desired(&stack.logins());
    let mut catalogue = empty_server();
    catalogue.databases.insert(stack.names.database.clone());
    assert_eq!(plan(&desired, &catalogue).actions, []);
    assert_eq!((surplus(&desired, &catalogue), settlement(&desired, &catalogue)), (Vec::new(), Vec::new()));
}

#[test]
fn built_in_file_defined_and_own_accounts_are_never_taken_over() {
    let mut stack = Stack::new("shop", "web");
    stack.names.database = "system".into();
    let login = |user: &str| Login { user: user.into(), purpose: Purpose::Ingest, passwords: Vec::new() };
    let desired = stack.desired(&["default", "operator", "in_a_file", "free"].map(login));
    let mut catalogue = Catalogue { administrator: "operator".into(), ..empty_server() };
    catalogue.databases.insert("system".into());
    for user in ["default", "operator", "in_a_file", "free"] {
        catalogue.users.insert(user.into(), UserState::default());
    }
    let rules = AdoptionRules { fixed: [Entity::user("in_a_file")].into(), ..AdoptionRules::default() };
    let preview = preview(&desired, &catalogue, &rules).unwrap();
    let refusals: Vec<_> =
        preview.items.iter().map(|item| (item.entity.name.as_str(), item.refusal)).collect();
    let expected = [
        ("system", Some(Refusal::Builtin)),
        ("default", Some(Refusal::Builtin)),
        ("operator", Some(Refusal::Administrator)),
        ("in_a_file", Some(Refusal::Fixed)),
        ("free", None),
    ];
    assert_eq!(refusals, expected);
    assert_eq!(preview.refused().map(|(item, _)| item.entity.name.as_str()), Some("system"));
}

#[test]
fn an_adopted_role_gets_what_it_lacks_at_once_and_loses_nothing_before_the_pods_are_proven() {
    let stack = Stack::new("shop", "web");
    let desired = stack.desired(&stack.logins());
    let wanted = desired.roles[0].rights.clone();
    let surplus_right = select("shop");
    let before = [surplus_right.clone(), wanted[0].clone()];
    let mut catalogue = by_hand(&stack, &before);
    let role = Entity::role(&stack.names.ingest_role());
    apply_all(
        &[Action::CreateLedger, shown(&desired, &catalogue).action(&desired, 0)],
        &mut catalogue,
        &stack.owner,
    );
    pass(&mut catalogue, &desired, false);
    let missing = |catalogue: &Catalogue, rights: &[Right]| {
        catalogue.grants[&role].missing(rights, &catalogue.privileges.clone())
    };
    assert_eq!(missing(&catalogue, &before), [], "nothing went");
    assert_eq!(missing(&catalogue, &wanted), [], "what it lacked came");
    assert!(!pending(&stack.owner, &catalogue).is_empty());
    pass(&mut catalogue, &desired, true);
    assert_eq!(missing(&catalogue, std::slice::from_ref(&surplus_right)), [surplus_right]);
    assert_eq!(missing(&catalogue, &wanted), []);
    assert_eq!(
        (pending(&stack.owner, &catalogue), pass(&mut catalogue, &desired, true)),
        (Vec::new(), Vec::new())
    );
}

#[test]
fn who_logs_in_as_an_adopted_user_goes_on_until_the_end_and_the_definer_is_shut_last() {
    let stack = Stack::new("shop", "web");
    let desired = stack.desired(&stack.logins());
    let (user, definer) = (stack.names.ingest_user(1), stack.names.definer());
    let mut catalogue = empty_server();
    let state = || UserState { networks: ["10.0.0.0/8".into()].into(), ..UserState::default() };
    catalogue.users.insert(user.clone(), state());
    catalogue.users.insert(definer.clone(), state());
    apply_all(
        &[Action::CreateLedger, shown(&desired, &catalogue).action(&desired, 0)],
        &mut catalogue,
        &stack.owner,
    );
    let done = pass(&mut catalogue, &desired, false);
    let sets = |action: &Action| {
        matches!(
            action,
            Action::AlterUser(_) | Action::CloseLogin(_) | Action::LimitPasswords(_) | Action::AddPassword(_)
        )
    };
    assert!(!done.iter().any(sets), "{done:?}");
    let opened = catalogue.users[&user].clone();
    assert!(opened.any_host && opened.networks.contains("10.0.0.0/8") && opened.default_roles_all);
    assert_eq!(catalogue.users[&definer], state());
    let restored = restore_login(&desired, &catalogue, &user).unwrap();
    assert!(matches!(restored, Action::OpenLogin(_)), "{restored:?}");
    assert_eq!(revocations(&desired, &catalogue, &[user.clone()].into()), [], "others still log in with it");

    let end = pass(&mut catalogue, &desired, true);
    let altered =
        |name: &str| end.iter().any(|action| matches!(action, Action::CloseLogin(user) if user.name == name));
    assert!(altered(&user) && altered(&definer), "{end:?}");
    assert!(catalogue.users[&definer].networks.is_empty());
    assert_eq!(pass(&mut catalogue, &desired, true), []);
}

#[test]
fn an_adoption_that_is_cut_off_after_any_action_converges() {
    let stack = Stack::new("shop", "web");
    let desired = stack.desired(&stack.logins());
    let held = [select("shop"), desired.roles[0].rights[1].clone()];
    let whole = |is_proven: bool| {
        let mut catalogue = by_hand(&stack, &held);
        let mut actions = vec![Action::CreateLedger, shown(&desired, &catalogue).action(&desired, 0)];
        apply_all(&actions, &mut catalogue, &stack.owner);
        actions.extend(pass(&mut catalogue, &desired, is_proven));
        actions.len()
    };
    let count = whole(true);
    for cut in 0..=count {
        let mut catalogue = by_hand(&stack, &held);
        let hash = hash(&desired, &catalogue);
        let mut left = cut;
        for _ in 0..4 {
            let approved = preview(&desired, &catalogue, &AdoptionRules::default())
                .filter(|preview| preview.hash == hash);
            let actions: Vec<_> = match approved {
                Some(preview) => vec![Action::CreateLedger, preview.action(&desired, 0)],
                None => plan(&desired, &catalogue).actions,
            };
            let actions = if actions.is_empty() {
                [surplus(&desired, &catalogue), settlement(&desired, &catalogue)].concat()
            } else {
                actions
            };
            let now = actions.len().min(if left == 0 { usize::MAX } else { left });
            left = left.saturating_sub(now);
            apply_all(&actions[..now], &mut catalogue, &stack.owner);
        }
        while !pass(&mut catalogue, &desired, true).is_empty() {}
        assert_eq!(pending(&stack.owner, &catalogue), [], "cut off after {cut}");
        assert_eq!(adopted(&stack.owner, &catalogue, &hash).len(), 2, "cut off after {cut}");
        let role = &catalogue.grants[&Entity::role(&stack.names.ingest_role())];
        assert!(!role.has_surplus(&desired.roles[0].rights, &catalogue.privileges), "cut off after {cut}");
    }
}
