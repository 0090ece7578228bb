//! Handover between stacks on a real server, while the pods of the giver never rest.

use super::client::Client;
use super::edits::hammer::Hammer;
use super::*;

/// Seconds after which a silent owner counts as lost: of one that answers, never; of one that is lost, at once.
const LIVES: i64 = 900;
const LOST: i64 = 0;

/// A stack of two, its logins and what it knows of the other.
struct Side {
    desired: Desired,
    silence: i64,
    approved: Option<String>,
    is_proven: bool,
}

impl Side {
    fn new(stack: &Stack, generation: i64, silence: i64) -> Self {
        let user = stack.names.ingest_user(generation);
        let logins = [Login { passwords: passwords_of(&user), user, purpose: Purpose::Ingest }];
        Self { desired: stack.desired(&logins), silence, approved: None, is_proven: true }
    }

    fn preview(&self, catalogue: &Catalogue) -> Option<Preview> {
        let rules = AdoptionRules { silence: self.silence, ..AdoptionRules::default() };
        preview(&self.desired, catalogue, &rules)
    }

    /// What a pass would do now, in order.
    fn next(&self, catalogue: &Catalogue) -> Vec<Action> {
        let (owner, approved) = (&self.desired.owner, self.approved.as_deref());
        let preview = self.preview(catalogue);
        let is_approved = preview.as_ref().is_some_and(|preview| approved == Some(preview.hash.as_str()));
        let question = questions(owner, catalogue, preview.as_ref(), (is_approved, self.silence));
        let mut actions: Vec<_> = question.into_iter().chain(answers(owner, catalogue, approved)).collect();
        let can_be = |preview: &Preview| is_approved && preview.awaited().is_none();
        match preview.filter(can_be) {
            Some(preview) => actions.push(preview.action(&self.desired, self.silence)),
            None => actions.extend(plan(&self.desired, catalogue).actions),
        }
        let is_free = plan(&self.desired, catalogue).conflicts.is_empty();
        if actions.is_empty() && is_free && self.is_proven {
            actions.extend(surplus(&self.desired, catalogue));
            actions.extend(settlement(&self.desired, catalogue));
            actions.extend(settled(owner, catalogue));
        }
        actions
    }

    /// Passes of which each is cut off after its first action, until there is nothing left to do; returns how many.
    async fn drive(&self, connection: &Connection) -> usize {
        for count in 0.. {
            let catalogue = fetch_catalogue(connection).await.unwrap();
            let Some(action) = self.next(&catalogue).into_iter().next() else { return count };
            assert!(count < 100, "no end: {action}");
            apply(connection, &self.desired.owner, &action)
                .await
                .unwrap_or_else(|error| panic!("{action}: {error:?}"));
        }
        unreachable!("it ends")
    }
}

async fn make_table(stack: &Stack) {
    let database = identifier(&stack.names.database);
    let create = format!("CREATE TABLE {database}.events_data (a Int8) ENGINE = MergeTree ORDER BY a");
    root().execute(&create).await.unwrap();
}

fn insert(stack: &Stack) -> String {
    format!("INSERT INTO {}.events_data (a) VALUES (1)", identifier(&stack.names.database))
}

/// Two stacks whose names are the same, in two clusters, or of which one names the database of the other.
fn two(are_twins: bool) -> (Stack, Stack) {
    let owner = stack("giver");
    let mut taker = stack("taker");
    taker.owner.cluster_id = "cluster-b".into();
    taker.names.database = owner.names.database.clone();
    if are_twins {
        taker.names = owner.names.clone();
    }
    (owner, taker)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_living_stack_gives_what_it_has_while_its_pods_and_then_those_of_the_taker_insert() {
    let connection = administrator().await;
    for are_twins in [false, true] {
        let (owner, taker) = two(are_twins);
        let mut giver = Side::new(&owner, 1, LIVES);
        giver.drive(&connection).await;
        make_table(&owner).await;
        let mut old = Hammer::new(Client::new(&owner.names.ingest_user(1)));
        old.strike(vec![insert(&owner)]).await;

        let mut next = Side::new(&taker, 2, LIVES);
        next.is_proven = false;
        next.drive(&connection).await;
        assert_eq!(giver.drive(&connection).await, 1, "it answers");
        let catalogue = fetch_catalogue(&connection).await.unwrap();
        let preview = next.preview(&catalogue).unwrap();
        next.approved = Some(preview.hash.clone());
        assert_eq!(next.drive(&connection).await, 0, "it waits for the owner");
        giver.approved = Some(preview.hash.clone());
        assert_eq!(giver.drive(&connection).await, 1, "it gives");
        assert!(next.drive(&connection).await > 2);
        assert_eq!(giver.drive(&connection).await, 0, "it repairs nothing of what it gave");

        let user = taker.names.ingest_user(2);
        prove(&connection, &user, &password_of(&user).into(), &next.desired.required(&user)).await.unwrap();
        let mut new = Hammer::new(Client::new(&user));
        new.strike(vec![insert(&owner)]).await;
        next.is_proven = true;
        next.drive(&connection).await;
        let catalogue = fetch_catalogue(&connection).await.unwrap();
        assert!(is_settled(&owner.owner, &taker.owner, &catalogue), "the giver is told");
        let inserts = old.stop().await;
        for action in deletion(&owner.owner, &fetch_catalogue(&connection).await.unwrap()) {
            apply(&connection, &owner.owner, &action).await.unwrap();
        }
        next.drive(&connection).await;
        let later = new.stop().await;
        assert_eq!(code_of(&login(&connection, &owner.names.ingest_user(1)), "SELECT 1").await, Some(516));
        let catalogue = fetch_catalogue(&connection).await.unwrap();
        let of_both = [&owner.owner, &taker.owner];
        let open = catalogue.open_intents().iter().filter(|intent| of_both.contains(&&intent.owner));
        assert!(open.map(|intent| &intent.owner).all(|owner| *owner == taker.owner));
        let count = format!("SELECT count() FROM {}.events_data", identifier(&owner.names.database));
        let rows = root().value(&count).await;
        assert_eq!(rows.unwrap(), (inserts + later).to_string(), "what was acknowledged is stored");
        // The figures are part of the result.
        eprintln!(
            "figure: same names {are_twins}: {inserts} inserts by the giver's pods, {later} by the taker's, 0 denied"
        );
    }
}

#[tokio::test]
async fn the_stack_of_a_lost_cluster_goes_to_the_one_that_was_approved_and_its_users_go_last() {
    let (connection, (lost, taker)) = (administrator().await, two(true));
    Side::new(&lost, 1, LIVES).drive(&connection).await;
    make_table(&lost).await;
    let old = login(&connection, &lost.names.ingest_user(1));
    let mut next = Side::new(&taker, 2, LIVES);
    next.drive(&connection).await;
    let before = next.preview(&fetch_catalogue(&connection).await.unwrap()).unwrap();
    assert_eq!(before.awaited().map(|item| item.consent), Some(Consent::Unknown));
    next.approved = Some(before.hash.clone());
    assert_eq!(next.drive(&connection).await, 0, "it may still answer");

    next.silence = LOST;
    let preview = next.preview(&fetch_catalogue(&connection).await.unwrap()).unwrap();
    assert_eq!(next.drive(&connection).await, 0, "another preview was approved");
    next.approved = Some(preview.hash);
    next.is_proven = false;
    next.drive(&connection).await;
    let user = taker.names.ingest_user(2);
    prove(&connection, &user, &password_of(&user).into(), &next.desired.required(&user)).await.unwrap();
    assert_eq!(
        code_of(&old, &insert(&lost)).await,
        None,
        "pods that are left serve until the new ones are proven"
    );
    next.is_proven = true;
    next.drive(&connection).await;
    assert_eq!(code_of(&old, "SELECT 1").await, Some(516));
    assert_eq!(code_of(&login(&connection, &user), &insert(&lost)).await, None);

    let back = Side::new(&lost, 1, LIVES);
    back.drive(&connection).await;
    assert_eq!(
        code_of(&login(&connection, &user), &insert(&lost)).await,
        None,
        "it was only away, and takes nothing back"
    );
}
