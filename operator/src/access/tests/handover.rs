//! Handover between stacks, against the model: of one that was deleted, one that is lost, and one that lives.

use super::super::ledger::handover::{Answer, Handover, Question};
use super::model::{apply, empty_server};
use super::*;

/// Seconds after which a silent owner counts as lost.
const SILENCE: i64 = 900;
const RULES: AdoptionRules = AdoptionRules { fixed: std::collections::BTreeSet::new(), silence: SILENCE };

fn apply_all(actions: &[Action], catalogue: &mut Catalogue, owner: &Owner) {
    for action in actions {
        apply(catalogue, owner, action);
    }
}

/// The owner of a database, and another stack that names it.
fn two() -> (Stack, Stack) {
    let (owner, mut taker) = (Stack::new("shop", "web"), Stack::new("lab", "copy"));
    taker.owner.cluster_id = "cluster-b".into();
    taker.names.database = owner.names.database.clone();
    (owner, taker)
}

/// A stack that has everything, and one of the same name in another cluster.
fn twins() -> (Stack, Stack) {
    let (owner, mut taker) = (Stack::new("shop", "web"), Stack::new("shop", "web"));
    taker.owner.cluster_id = "cluster-b".into();
    taker.owner.uid = "uid-of-the-other".into();
    (owner, taker)
}

/// The taker's logins come after those of the owner.
fn logins(stack: &Stack, generation: i64) -> Vec<Login> {
    let user = stack.names.ingest_user(generation);
    vec![Login { passwords: passwords_of(&user), user, purpose: Purpose::Ingest }]
}

fn shown(desired: &Desired, catalogue: &Catalogue) -> Preview {
    preview(desired, catalogue, &RULES).expect("something to take over")
}

/// A pass of a stack as the phases order it; what its annotation says; whether its pods are proven.
fn pass(
    catalogue: &mut Catalogue,
    desired: &Desired,
    approved: Option<&str>,
    is_proven: bool,
) -> Vec<Action> {
    let owner = &desired.owner;
    let preview = preview(desired, catalogue, &RULES);
    let is_approved = preview.as_ref().is_some_and(|preview| approved == Some(preview.hash.as_str()));
    let question = questions(owner, catalogue, preview.as_ref(), (is_approved, SILENCE));
    let mut done: Vec<_> = question.into_iter().chain(answers(owner, catalogue, approved)).collect();
    apply_all(&done, catalogue, owner);
    let next = match preview.filter(|preview| is_approved && preview.awaited().is_none()) {
        Some(preview) => vec![preview.action(desired, SILENCE)],
        None => plan(desired, catalogue).actions,
    };
    apply_all(&next, catalogue, owner);
    let is_blocked = !plan(desired, catalogue).conflicts.is_empty();
    done.extend(next);
    if is_proven && !is_blocked {
        for last in [surplus, settlement] {
            let last = last(desired, catalogue);
            apply_all(&last, catalogue, owner);
            done.extend(last);
        }
        let told: Vec<_> = settled(owner, catalogue).into_iter().collect();
        apply_all(&told, catalogue, owner);
        done.extend(told);
    }
    done
}

fn settle(catalogue: &mut Catalogue, desired: &Desired, approved: Option<&str>) {
    while !pass(catalogue, desired, approved, true).is_empty() {}
}

fn texts(actions: &[Action]) -> Vec<String> {
    actions.iter().map(Action::to_string).collect()
}

fn owners(catalogue: &Catalogue, entity: &Entity) -> Vec<Owner> {
    let open = catalogue.open_intents().iter().filter(|intent| intent.entity == *entity);
    open.map(|intent| intent.owner.clone()).collect()
}

fn age(catalogue: &mut Catalogue, seconds: i64) {
    catalogue.handovers.iter_mut().for_each(|pair| pair.age = seconds);
}

#[test]
fn the_data_of_a_deleted_stack_can_be_taken_over_by_one_of_another_name() {
    let (gone, taker) = two();
    let mut catalogue = empty_server();
    settle(&mut catalogue, &gone.desired(&gone.logins()), None);
    let desired = taker.desired(&taker.logins());
    assert_eq!(shown(&desired, &catalogue).items[0].consent, Consent::Unknown);
    apply_all(&deletion(&gone.owner, &catalogue), &mut catalogue, &gone.owner);
    let preview = shown(&desired, &catalogue);
    let entities: Vec<_> = preview.items.iter().map(|item| item.entity.to_string()).collect();
    assert_eq!(entities, ["database weir_shop__web", "user weir_shop__web_definer"]);
    assert!(
        preview
            .items
            .iter()
            .all(|item| item.consent == Consent::Unneeded && item.owner.as_ref() == Some(&gone.owner))
    );
    apply_all(&[preview.action(&desired, SILENCE)], &mut catalogue, &taker.owner);
    settle(&mut catalogue, &desired, None);
    assert!(catalogue.open_intents().iter().all(|intent| intent.owner == taker.owner));

    let renewed = Stack {
        owner: Owner { uid: "later".into(), ..gone.owner.clone() },
        names: gone.names.clone(),
        forms: Forms::default(),
    };
    let conflicts = plan(&renewed.desired(&[]), &catalogue).conflicts;
    assert_eq!(conflicts[0].owner, Some(taker.owner.clone()), "its former owner's name does not get it back");
}

#[test]
fn everything_of_a_stack_that_was_deleted_with_its_access_goes_along_with_its_database() {
    let (gone, taker) = two();
    let mut catalogue = empty_server();
    settle(&mut catalogue, &gone.desired(&gone.logins()), None);
    let kept = retention(&gone.owner, &catalogue);
    apply_all(&kept, &mut catalogue, &gone.owner);
    assert_eq!((kept.len(), retention(&gone.owner, &catalogue)), (1, Vec::new()));
    let desired = taker.desired(&taker.logins());
    let preview = shown(&desired, &catalogue);
    assert!(preview.awaited().is_none() && preview.refused().is_none());
    let user = Entity::user(&gone.names.ingest_user(1));
    let left = preview.items.iter().find(|item| item.entity == user).unwrap();
    assert_eq!(left.changes, ["drop it once the stack's pods are proven"]);
    pass(&mut catalogue, &desired, Some(&preview.hash), false);
    pass(&mut catalogue, &desired, Some(&preview.hash), false);
    assert!(catalogue.holds(&user), "its pods go on until those of the taker are proven");
    settle(&mut catalogue, &desired, Some(&preview.hash));
    assert!(!catalogue.holds(&user) && !catalogue.roles.contains(&gone.names.ingest_role()));
    assert!(catalogue.open_intents().iter().all(|intent| intent.owner == taker.owner));
}

#[test]
fn an_owner_that_does_not_answer_is_lost_and_its_users_serve_until_the_end() {
    let (lost, taker) = twins();
    let mut catalogue = empty_server();
    settle(&mut catalogue, &lost.desired(&lost.logins()), None);
    let desired = taker.desired(&logins(&taker, 2));
    let asked = pass(&mut catalogue, &desired, None, false);
    assert!(texts(&asked)[0].starts_with("ask AnalyticsStack shop/web of cluster cluster-a"), "{asked:?}");
    assert_eq!(pass(&mut catalogue, &desired, None, false), [], "it asks once");
    let unknown = shown(&desired, &catalogue);
    assert_eq!(unknown.awaited().map(|item| item.consent), Some(Consent::Unknown));
    pass(&mut catalogue, &desired, Some(&unknown.hash), false);
    assert_eq!(
        owners(&catalogue, &Entity::database(&lost.names.database)),
        std::slice::from_ref(&lost.owner)
    );

    age(&mut catalogue, SILENCE);
    let preview = shown(&desired, &catalogue);
    assert!(preview.awaited().is_none() && preview.hash != unknown.hash, "what it leaves goes along");
    assert_eq!(
        pass(&mut catalogue, &desired, None, false),
        [],
        "it is not asked anew, or it would never count as lost"
    );
    let old = Entity::user(&lost.names.ingest_user(1));
    pass(&mut catalogue, &desired, Some(&preview.hash), false);
    pass(&mut catalogue, &desired, Some(&preview.hash), false);
    assert!(catalogue.holds(&old) && catalogue.holds(&Entity::user(&taker.names.ingest_user(2))));
    let revoked = [lost.names.ingest_user(1)].into();
    assert_eq!(revocations(&desired, &catalogue, &revoked), [], "its pods are not locked out");
    settle(&mut catalogue, &desired, Some(&preview.hash));
    assert!(!catalogue.holds(&old));

    // It was only away: it is told who has its names, and takes nothing back by itself.
    let back = lost.desired(&lost.logins());
    let planned = plan(&back, &catalogue);
    assert_eq!(planned.conflicts[0].owner, Some(taker.owner.clone()));
    assert!(planned.actions.iter().all(|action| action.target().is_none()), "{:?}", planned.actions);
    assert_eq!(surplus(&back, &catalogue), []);
}

#[test]
fn a_living_owner_has_to_give_exactly_the_preview_that_is_taken() {
    let (owner, taker) = two();
    let mut catalogue = empty_server();
    let (giving, desired) = (owner.desired(&owner.logins()), taker.desired(&taker.logins()));
    settle(&mut catalogue, &giving, None);
    pass(&mut catalogue, &desired, None, false);
    let hash = shown(&desired, &catalogue).hash;
    let answered = pass(&mut catalogue, &giving, None, true);
    assert_eq!(
        texts(&answered),
        ["tell AnalyticsStack lab/copy of cluster cluster-b that its question was seen"]
    );
    assert_eq!(pass(&mut catalogue, &giving, None, true), [], "it answers once");
    assert!(
        told(&owner.owner, &catalogue).unwrap().contains(&format!("weir.dev/adopt={hash} on this stack"))
    );
    assert_eq!(shown(&desired, &catalogue).hash, hash, "the answer changes nothing of the preview");
    age(&mut catalogue, 10 * SILENCE);
    assert_eq!(shown(&desired, &catalogue).awaited().map(|item| item.consent), Some(Consent::Missing));
    let insists = pass(&mut catalogue, &desired, Some(&hash), true);
    assert!(
        texts(&insists)[0].starts_with("ask "),
        "whoever approved it may know that it is lost by now: {insists:?}"
    );
    pass(&mut catalogue, &giving, Some("another"), true);
    assert_eq!(pass(&mut catalogue, &desired, Some(&hash), true), [], "it lives, and gave something else");

    pass(&mut catalogue, &giving, Some(&hash), true);
    assert!(given(&owner.owner, &catalogue, &hash));
    pass(&mut catalogue, &giving, None, true);
    assert_eq!(
        shown(&desired, &catalogue).awaited().map(|item| item.consent),
        Some(Consent::Missing),
        "it took that back"
    );
    pass(&mut catalogue, &giving, Some(&hash), true);
    assert_eq!(shown(&desired, &catalogue).awaited(), None);
    pass(&mut catalogue, &desired, Some(&hash), false);
    for entity in [Entity::database(&owner.names.database), Entity::user(&owner.names.definer())] {
        assert_eq!(owners(&catalogue, &entity), std::slice::from_ref(&taker.owner));
    }
}

#[test]
fn who_gave_repairs_and_asks_nothing_and_drops_nothing_of_the_taker() {
    for (owner, taker) in [two(), twins()] {
        let mut catalogue = empty_server();
        let giving = owner.desired(&owner.logins());
        let generation = if owner.names.prefix == taker.names.prefix { 2 } else { 1 };
        let desired = taker.desired(&logins(&taker, generation));
        settle(&mut catalogue, &giving, None);
        pass(&mut catalogue, &desired, None, false);
        let hash = shown(&desired, &catalogue).hash;
        pass(&mut catalogue, &giving, Some(&hash), true);
        pass(&mut catalogue, &desired, Some(&hash), false);
        assert_eq!(pass(&mut catalogue, &giving, Some(&hash), true), [], "after the give");
        assert_eq!(pass(&mut catalogue, &giving, None, true), [], "also without the annotation");
        let refused = shown(&giving, &catalogue);
        assert_eq!(refused.refused().map(|(_, refusal)| refusal), Some(Refusal::Given));

        let serves = |catalogue: &Catalogue| {
            let user = Entity::user(&owner.names.ingest_user(1));
            let role = Entity::role(&owner.names.ingest_role());
            let rights = &giving.roles[0].rights;
            catalogue.role_grants[&user].contains(&role.name)
                && catalogue.grants[&role].missing(rights, &catalogue.privileges).is_empty()
        };
        for _ in 0..4 {
            pass(&mut catalogue, &desired, Some(&hash), true);
            assert!(serves(&catalogue), "the pods of the giver go on");
        }
        assert!(
            told(&taker.owner, &catalogue).unwrap().contains(&owner.owner.to_string()),
            "both name the other"
        );
        assert!(is_settled(&owner.owner, &taker.owner, &catalogue), "and are told that they can end");

        let before = catalogue.clone();
        apply_all(&deletion(&owner.owner, &catalogue), &mut catalogue, &owner.owner);
        assert!(!catalogue.users.contains_key(&owner.names.ingest_user(1)));
        for (entity, _) in desired.entities() {
            assert_eq!(
                (catalogue.holds(&entity), catalogue.grants.get(&entity)),
                (true, before.grants.get(&entity)),
                "{entity}"
            );
        }
        settle(&mut catalogue, &desired, Some(&hash));
        assert_eq!((pending(&taker.owner, &catalogue), told(&taker.owner, &catalogue)), (Vec::new(), None));
        assert!(catalogue.open_intents().iter().all(|intent| intent.owner == taker.owner));
    }
}

#[test]
fn an_adopted_role_keeps_what_the_givers_pods_need_until_they_are_gone() {
    let (owner, taker) = twins();
    let mut catalogue = empty_server();
    let everything = owner.desired(&owner.logins());
    settle(&mut catalogue, &everything, None);
    let narrow = Reader { reads: Reads::Tables(vec![("links".into(), Vec::new())]), ..reader("bi") };
    let desired = taker.desired_with(&[narrow], &logins(&taker, 2));
    pass(&mut catalogue, &desired, None, false);
    let hash = shown(&desired, &catalogue).hash;
    pass(&mut catalogue, &everything, Some(&hash), true);
    settle(&mut catalogue, &desired, Some(&hash));
    let role = Entity::role(&owner.names.reader_role("bi"));
    let wide = everything.roles[2].rights.clone();
    let keeps =
        |catalogue: &Catalogue| catalogue.grants[&role].missing(&wide, &catalogue.privileges).is_empty();
    assert!(keeps(&catalogue));
    let (user, other) = is_held(&taker.owner, &catalogue, &role).unwrap();
    assert_eq!((user.name.as_str(), other), (owner.names.reader_user("bi", 1).as_str(), &owner.owner));
    assert!(
        !deletion(&taker.owner, &catalogue).contains(&Action::DropRole(role.name.clone())),
        "nor is it dropped with the taker"
    );
    apply_all(&deletion(&owner.owner, &catalogue), &mut catalogue, &owner.owner);
    settle(&mut catalogue, &desired, Some(&hash));
    assert!(!keeps(&catalogue) && pending(&taker.owner, &catalogue).is_empty());
}

#[test]
fn a_stack_that_asks_no_more_takes_its_question_back() {
    let (owner, mut taker) = two();
    let mut catalogue = empty_server();
    settle(&mut catalogue, &owner.desired(&owner.logins()), None);
    pass(&mut catalogue, &taker.desired(&taker.logins()), None, false);
    let asked = |catalogue: &Catalogue| {
        catalogue.handovers.iter().filter(|pair| pair.question == Question::Asked).count()
    };
    assert_eq!(asked(&catalogue), 1);
    let mut deleted = catalogue.clone();
    apply_all(&deletion(&taker.owner, &deleted), &mut deleted, &taker.owner);
    assert_eq!(asked(&deleted), 0);
    taker.names = ClickhouseNames::new("lab", "copy", None);
    settle(&mut catalogue, &taker.desired(&taker.logins()), None);
    assert_eq!(asked(&catalogue), 0);
    assert_eq!(told(&owner.owner, &catalogue), None);
}

#[test]
fn only_an_answer_after_the_last_question_counts() {
    let (owner, taker) = two();
    let mut catalogue = empty_server();
    settle(&mut catalogue, &owner.desired(&owner.logins()), None);
    let desired = taker.desired(&taker.logins());
    let pair = |is_answered: bool| Handover {
        taker: taker.owner.clone(),
        owner: owner.owner.clone(),
        question: Question::Asked,
        hash: "earlier".into(),
        age: SILENCE,
        answer: Some((Answer::Given, "earlier".into())),
        is_answered,
    };
    let consent = |catalogue: &Catalogue| shown(&desired, catalogue).items[0].consent;
    catalogue.handovers = vec![pair(true)];
    assert_eq!(consent(&catalogue), Consent::Missing, "it gave another preview");
    catalogue.handovers = vec![pair(false)];
    assert_eq!(consent(&catalogue), Consent::Silent);
}
