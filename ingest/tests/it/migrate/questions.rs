//! The questions that people ask of product analytics, as the queries that answer them.

use super::database::Database;
use super::database::rows::Event;
use super::database::with_schema;

/// Two people: one who signed up after browsing anonymously, and one who only looked.
async fn tell_story(database: &Database) {
    let anon = Event { who: "anon", session: "s1", ..Event::default() };
    let customer = Event { who: "customer", session: "s1", ..Event::default() };
    database.event(Event { id: 1, second: 1, name: "$pageview", url: "/", ..anon }).await;
    database.event(Event { id: 2, second: 5, name: "signup", ..customer }).await;
    database.event(Event { id: 3, second: 9, name: "purchase", ..customer }).await;
    database
        .event(Event { id: 4, second: 3, name: "$pageview", who: "visitor", session: "s2", ..anon })
        .await;
    database.link("customer", "anon", "identify", 5).await;
    database.person("customer", true, 5).await;
    database.set("customer", "plan", "\"team\"", 5, 2).await;
}

#[tokio::test]
async fn each_question_has_a_query() {
    let questions = [
        (
            "events and unique people per day",
            "SELECT toDate(timestamp) AS day, count(), uniqExact(person_id) FROM {db}.events GROUP BY day",
            "\"2026-05-06\",4,2",
        ),
        (
            "event names by volume",
            "SELECT event, count() AS volume FROM {db}.events WHERE timestamp > '2026-05-01 00:00:00' GROUP BY event \
             ORDER BY volume DESC, event",
            "\"$pageview\",2\n\"purchase\",1\n\"signup\",1",
        ),
        (
            "first seen, last seen, pageviews and events of each person",
            "SELECT toSecond(min(timestamp)), toSecond(max(timestamp)), countIf(event = '$pageview'), count() \
             FROM {db}.events GROUP BY person_id ORDER BY count() DESC",
            "1,9,1,3\n3,3,1,1",
        ),
        (
            "recent sessions",
            "SELECT session_id, toSecond(started_at), toSecond(ended_at), duration_seconds, pageview_count, \
             autocapture_count, event_count FROM {db}.sessions ORDER BY session_id",
            "\"s1\",1,9,8,1,0,3\n\"s2\",3,3,0,1,0,1",
        ),
        (
            "a funnel of two steps",
            "SELECT count(), countIf(done > 0) FROM (SELECT person_id, minIf(timestamp, event = '$pageview') AS start, \
             countIf(event = 'purchase') AS done FROM {db}.events GROUP BY person_id)",
            "2,1",
        ),
        (
            "people by a property",
            "SELECT JSONExtractString(properties, 'plan') AS plan, count() FROM {db}.persons GROUP BY plan",
            "\"team\",1",
        ),
        (
            "recent events with the person's properties of today",
            "SELECT e.event, JSONExtractString(p.properties, 'plan') FROM {db}.events AS e LEFT JOIN {db}.persons AS p \
             ON p.id = e.person_id ORDER BY e.timestamp DESC LIMIT 2",
            "\"purchase\",\"team\"\n\"signup\",\"team\"",
        ),
        (
            "distinct ids of a person",
            "SELECT arraySort(groupArray(distinct_id)) FROM {db}.person_distinct_ids GROUP BY person_id \
             ORDER BY count() DESC",
            "\"['anon','customer']\"\n\"['visitor']\"",
        ),
        (
            "properties by JSON functions",
            "SELECT countIf(JSONHas(properties, '$browser')), max(JSONExtractInt(properties, 'n')) FROM {db}.events",
            "4,4",
        ),
        (
            "the profile of one distinct id",
            "SELECT p.distinct_id, p.properties FROM {db}.persons AS p INNER JOIN {db}.person_distinct_ids AS d \
             ON d.person_id = p.id WHERE d.distinct_id = 'anon'",
            "\"customer\",\"{\"\"plan\"\":\"\"team\"\"}\"",
        ),
    ];
    with_schema(move |database| async move {
        tell_story(&database).await;
        for (question, sql, answer) in questions {
            assert_eq!(database.query(&format!("{sql} FORMAT CSV")).await, answer, "{question}");
        }
    })
    .await;
}
