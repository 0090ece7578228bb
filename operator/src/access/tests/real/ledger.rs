//! The ledger on a real server: who is refused, who is told, and a server that keeps nothing of it.

use serde_json::json;

use super::client::control;
use super::*;

#[tokio::test]
async fn whoever_is_refused_a_name_asks_once_and_its_owner_can_tell_until_it_is_withdrawn() {
    let (connection, first) = (administrator().await, stack("contest"));
    let other = Owner { cluster_id: "cluster-b".into(), uid: "another".into(), ..first.owner.clone() };
    let second = Stack { owner: other, names: first.names.clone(), forms: Forms::default() };
    let (owned, wanted) = (first.desired(&first.logins()), second.desired(&second.logins()));
    pass(&connection, &owned).await;
    let Plan { actions, conflicts } = plan(&wanted, &fetch_catalogue(&connection).await.unwrap());
    assert_eq!(conflicts[0].owner.as_ref(), Some(&first.owner));
    assert_eq!(actions.len(), 1, "{actions:?}");
    apply(&connection, &second.owner, &actions[0]).await.unwrap();

    let catalogue = fetch_catalogue(&connection).await.unwrap();
    assert_eq!(plan(&wanted, &catalogue).actions, [], "it asks once");
    assert_eq!(pass(&connection, &owned).await, [], "its owner has nothing to do");
    let told = contest(&owned, &catalogue).unwrap();
    for named in [&first.owner.to_string(), &second.owner.to_string(), &first.names.database] {
        assert!(told.contains(named), "{told}");
    }
    for action in deletion(&second.owner, &catalogue) {
        apply(&connection, &second.owner, &action).await.unwrap();
    }
    let catalogue = fetch_catalogue(&connection).await.unwrap();
    assert_eq!((contest(&owned, &catalogue), deletion(&second.owner, &catalogue)), (None, Vec::new()));
}

#[tokio::test]
async fn a_claim_that_the_server_swallowed_is_told_as_that_and_not_as_somebodys_name() {
    let (connection, stack) = (administrator().await, stack("swallowed"));
    apply(&connection, &stack.owner, &Action::CreateLedger).await.unwrap();
    let claim = Claim { entity: Entity::role(&stack.names.ingest_role()), class: Class::Ingest };
    let action = Action::RecordIntents(vec![claim]);
    // Only the insert names the role; other tests go on meanwhile.
    let fault = json!({ "effect": "pretend", "times": 1, "contains": stack.names.ingest_role() });
    control("/fault", fault.to_string()).await;
    let error = apply(&connection, &stack.owner, &action).await.unwrap_err();
    assert!(matches!(error, Error::Swallowed { .. }), "{error:?}");
    let hint = error.hint();
    assert!(hint.contains(connection.endpoint()) && !hint.contains("was not made by Weir"), "{hint}");
    apply(&connection, &stack.owner, &action).await.unwrap();
}
