//! Who is who for readers: links and facts, in any order and any number of times.

use weir_ingest::identity::person_id;

use super::database::Database;
use super::database::rows::Event;
use super::database::with_schema;

async fn person_of_event(database: &Database, id: u128) -> String {
    let sql = format!("SELECT person_id FROM {{db}}.events WHERE uuid = '{}'", uuid::Uuid::from_u128(id));
    database.query(&sql).await
}

#[tokio::test]
async fn an_identified_person_owns_the_events_from_before_and_after() {
    with_schema(|database| async move {
        database.event(Event { id: 1, who: "anon", second: 1, ..Event::default() }).await;
        database.event(Event { id: 2, who: "anon", name: "$identify", second: 2, ..Event::default() }).await;
        database.event(Event { id: 3, who: "customer", second: 3, ..Event::default() }).await;
        database.event(Event { id: 4, who: "somebody else", second: 3, ..Event::default() }).await;
        database.link("customer", "anon", "identify", 2).await;
        let customer = person_id("customer").to_string();
        for id in 1..=3 {
            assert_eq!(person_of_event(&database, id).await, customer);
        }
        assert_eq!(person_of_event(&database, 4).await, person_id("somebody else").to_string());
        let ids = "SELECT distinct_id, person_id FROM {db}.person_distinct_ids WHERE distinct_id != 'somebody else' \
                   ORDER BY distinct_id FORMAT CSV";
        let expected = format!("\"anon\",\"{customer}\"\n\"customer\",\"{customer}\"");
        assert_eq!(database.query(ids).await, expected);
    })
    .await;
}

#[tokio::test]
async fn an_id_stays_with_the_person_that_it_was_linked_to_first() {
    with_schema(|database| async move {
        database.event(Event { id: 1, who: "device", ..Event::default() }).await;
        database.event(Event { id: 2, who: "second", ..Event::default() }).await;
        database.link("second", "device", "identify", 9).await;
        database.link("first", "device", "identify", 3).await;
        assert_eq!(person_of_event(&database, 1).await, person_id("first").to_string());
        assert_eq!(person_of_event(&database, 2).await, person_id("second").to_string());
    })
    .await;
}

#[tokio::test]
async fn chains_are_followed_to_their_end_and_circles_are_one_person() {
    with_schema(|database| async move {
        let ids = ["a", "b", "c", "d", "e", "f"];
        for (id, who) in (1..).zip(ids) {
            database.event(Event { id, who, ..Event::default() }).await;
        }
        for (linked, kept, second) in [("a", "b", 7), ("b", "c", 6), ("c", "d", 5)] {
            database.link(kept, linked, "alias", second).await;
        }
        for (linked, kept) in [("e", "f"), ("f", "e")] {
            database.link(kept, linked, "merge", 5).await;
        }
        for id in 1..=4 {
            assert_eq!(person_of_event(&database, id).await, person_id("d").to_string());
        }
        let circle = person_of_event(&database, 5).await;
        assert_eq!(circle, person_of_event(&database, 6).await);
        assert!([person_id("e"), person_id("f")].map(|id| id.to_string()).contains(&circle));
    })
    .await;
}

#[tokio::test]
async fn an_id_that_is_known_is_folded_by_a_merge_only() {
    with_schema(|database| async move {
        for (id, who) in (1..).zip(["anon", "user", "other", "device"]) {
            database.event(Event { id, who, ..Event::default() }).await;
        }
        database.person("user", true, 1).await;
        database.link("user", "anon", "identify", 1).await;
        database.link("other", "user", "identify", 2).await;
        database.link("other", "anon", "alias", 2).await;
        assert_eq!(person_of_event(&database, 1).await, person_id("user").to_string());
        assert_eq!(person_of_event(&database, 2).await, person_id("user").to_string());
        database.link("other", "user", "merge", 3).await;
        for id in 1..=3 {
            assert_eq!(person_of_event(&database, id).await, person_id("other").to_string());
        }
        // That it was identified before its alias arrives later than the alias.
        database.link("user", "device", "alias", 5).await;
        assert_eq!(person_of_event(&database, 4).await, person_id("other").to_string());
        database.person("device", true, 4).await;
        assert_eq!(person_of_event(&database, 4).await, person_id("device").to_string());
    })
    .await;
}

#[tokio::test]
async fn unset_removes_what_came_before_and_a_later_set_once_fills_again() {
    with_schema(|database| async move {
        database.person("customer", true, 1).await;
        for key in ["gone", "set later", "filled again", "same event"] {
            database.set("customer", key, "1", 1, 1).await;
            database.set_once("customer", key, "2", 2, 2).await;
        }
        for key in ["gone", "set later", "filled again"] {
            database.unset("customer", key, 5, 3).await;
        }
        database.unset("customer", "same event", 1, 1).await;
        database.set("customer", "set later", "3", 6, 4).await;
        database.set_once("customer", "filled again", "5", 8, 6).await;
        database.set_once("customer", "filled again", "4", 7, 5).await;
        let expected = r#"{"filled again":4,"same event":2,"set later":3}"#;
        assert_eq!(database.properties_of("customer").await, expected);
        database.query("OPTIMIZE TABLE {db}.person_properties FINAL").await;
        assert_eq!(database.properties_of("customer").await, expected);
    })
    .await;
}

#[tokio::test]
async fn the_last_set_and_the_first_set_once_win_whatever_the_order_of_arrival() {
    with_schema(|database| async move {
        database.person("customer", true, 1).await;
        database.set("customer", "plan", "\"team\"", 5, 1).await;
        database.set("customer", "plan", "\"free\"", 4, 2).await;
        database.set_once("customer", "campaign", "\"summer\"", 9, 3).await;
        database.set_once("customer", "campaign", "\"spring\"", 8, 4).await;
        database.set_once("customer", "campaign", "\"spring\"", 8, 4).await;
        database.set("customer", "seats", "3", 5, 5).await;
        database.set_once("customer", "seats", "1", 1, 6).await;
        database.set("customer", "tie", "1", 5, 7).await;
        database.set("customer", "tie", "2", 5, 8).await;
        database.set("customer", "odd \"key\"", "null", 5, 9).await;
        let expected = r#"{"campaign":"spring","odd \"key\"":null,"plan":"team","seats":3,"tie":2}"#;
        assert_eq!(database.properties_of("customer").await, expected);
        database.query("OPTIMIZE TABLE {db}.person_properties FINAL").await;
        assert_eq!(database.properties_of("customer").await, expected);
    })
    .await;
}

#[tokio::test]
async fn properties_of_linked_ids_are_resolved_together() {
    with_schema(|database| async move {
        database.person("anon", false, 1).await;
        database.set("anon", "plan", "\"free\"", 1, 1).await;
        database.set_once("anon", "campaign", "\"spring\"", 1, 1).await;
        database.set("bystander", "plan", "\"none\"", 1, 7).await;
        database.person("bystander", false, 3).await;
        database.person("customer", true, 5).await;
        database.set("customer", "plan", "\"team\"", 5, 2).await;
        database.set_once("customer", "campaign", "\"summer\"", 5, 2).await;
        database.link("customer", "anon", "identify", 5).await;
        let expected = r#"{"campaign":"spring","plan":"team"}"#;
        assert_eq!(database.properties_of("customer").await, expected);
        let rows = "SELECT distinct_id, is_identified, toSecond(created_at), toSecond(last_seen_at), is_deleted, \
                    version = toUnixTimestamp64Micro(updated_at) FROM {db}.persons FINAL ORDER BY created_at FORMAT CSV";
        assert_eq!(database.query(rows).await, "\"customer\",1,1,5,0,1\n\"bystander\",0,3,3,0,1");
        // What was said later, without $identify, does not take it back.
        database.person("customer", false, 9).await;
        let state = "SELECT is_identified FROM {db}.persons WHERE distinct_id = 'customer'";
        assert_eq!(database.query(state).await, "1");
    })
    .await;
}

#[tokio::test]
async fn a_person_without_properties_has_an_empty_object() {
    with_schema(|database| async move {
        database.person("customer", true, 1).await;
        assert_eq!(database.properties_of("customer").await, "{}");
    })
    .await;
}
