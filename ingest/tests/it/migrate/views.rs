//! Events and sessions as readers see them.

use super::database::rows::Event;
use super::database::with_schema;

const SEED_EVENTS: &str = "uuid,api_key,event,distinct_id,person_id,session_id,session_id_uuid,window_id,window_id_uuid,\
                           elements_chain,timestamp,inserted_at,ip,user_agent,current_url,host,properties,is_deleted";

#[tokio::test]
async fn the_views_have_the_columns_of_the_seed() {
    with_schema(|database| async move {
        for (view, columns) in [
            ("events", SEED_EVENTS),
            ("persons", "distinct_id,id,properties,created_at,updated_at,last_seen_at,is_identified,is_deleted,version"),
            ("person_distinct_ids", "distinct_id,person_id,created_at,is_deleted,version"),
            (
                "sessions",
                "api_key,session_id,distinct_id,person_id,host,started_at,ended_at,duration_seconds,urls,event_names,\
                 entry_url,exit_url,event_count,pageview_count,autocapture_count",
            ),
        ] {
            let names = "SELECT arrayStringConcat(groupArray(name), ',') FROM (SELECT name FROM system.columns \
                         WHERE database = '{name}' AND table = '";
            let got = database.query(&format!("{names}{view}' ORDER BY position)")).await;
            assert_eq!(got, columns);
        }
        let odd = "SELECT table, name, type FROM system.columns WHERE database = '{name}' AND type LIKE '%Aggregate%' \
                   AND table IN ('events', 'persons', 'person_distinct_ids', 'sessions', 'person_overrides')";
        assert_eq!(database.query(odd).await, "");
        let types = "SELECT arrayStringConcat(groupArray(type), '|') FROM (SELECT type FROM system.columns WHERE \
                     database = '{name}' AND table = 'persons' ORDER BY position) FORMAT TSVRaw";
        let time = "DateTime64(6, 'UTC')";
        let expected = format!("String|UUID|String|{time}|{time}|{time}|Int8|Int8|Int64");
        assert_eq!(database.query(types).await, expected);
    })
    .await;
}

#[tokio::test]
async fn a_repeated_uuid_is_one_event_for_readers() {
    with_schema(|database| async move {
        // Different bytes: a block of the same bytes would not even be stored.
        for url in ["/1", "/2", "/3"] {
            database.event(Event { id: 1, session: "s", url, ..Event::default() }).await;
        }
        database.event(Event { id: 2, session: "s", ..Event::default() }).await;
        assert_eq!(database.query("SELECT count() FROM {db}.events_data").await, "4");
        assert_eq!(
            database.query("SELECT count(), uniqExact(uuid) FROM {db}.events FORMAT CSV").await,
            "2,2"
        );
        assert_eq!(database.query("SELECT event_count FROM {db}.sessions").await, "2");
    })
    .await;
}

#[tokio::test]
async fn dates_that_no_clock_should_have_share_two_partitions() {
    with_schema(|database| async move {
        let insert = "INSERT INTO {db}.events_data (uuid, event, timestamp, client_day) SELECT generateUUIDv4(number), 'x', \
                      toDateTime64('1900-01-01 00:00:00', 6, 'UTC') + toIntervalMonth(number) AS at, \
                      toDate(least(greatest(toDate32(at), toDate32('1970-01-01')), toDate32('2149-06-06'))) \
                      FROM numbers(4700) \
                      SETTINGS max_partitions_per_insert_block = 0";
        database.query(insert).await;
        assert_eq!(database.query("SELECT count(), min(timestamp) FROM {db}.events").await, "4700\t1900-01-01 00:00:00.000000");
        let partitions = "SELECT uniqExact(partition) FROM system.parts WHERE table = 'events_data' AND database = '{name}' \
                          AND active";
        assert_eq!(database.query(partitions).await, "300");
    })
    .await;
}

#[tokio::test]
async fn a_session_is_one_row_whatever_its_keys_and_pages() {
    with_schema(|database| async move {
        let event = Event { who: "customer", session: "s", ..Event::default() };
        database.event(Event { id: 1, second: 1, name: "custom", ..event }).await;
        database.event(Event { id: 2, second: 2, name: "$pageview", url: "/first", key: "web", ..event }).await;
        database.event(Event { id: 3, second: 3, name: "$autocapture", url: "/last", key: "web", ..event }).await;
        database.event(Event { id: 4, second: 11, name: "custom", key: "server", ..event }).await;
        let sql = "SELECT api_key, session_id, distinct_id, host, duration_seconds, arraySort(urls), \
                   arraySort(event_names), entry_url, exit_url, event_count, pageview_count, autocapture_count \
                   FROM {db}.sessions FORMAT TSVRaw";
        let expected = "server\ts\tcustomer\ta.example\t10\t['/first','/last']\t\
                        ['$autocapture','$pageview','custom']\t/first\t/last\t4\t1\t1";
        assert_eq!(database.query(sql).await, expected);
    })
    .await;
}

#[tokio::test]
async fn a_session_or_window_that_is_a_uuid_is_one() {
    with_schema(|database| async move {
        let session = "019a0f2e-7bf0-7d22-9b13-52c7e1d5bb21";
        database.event(Event { id: 1, session, ..Event::default() }).await;
        database.event(Event { id: 2, session: "not one", ..Event::default() }).await;
        let sql = "SELECT session_id_uuid, window_id_uuid FROM {db}.events ORDER BY uuid FORMAT TSV";
        assert_eq!(database.query(sql).await, format!("{session}\t\\N\n\\N\t\\N"));
    })
    .await;
}
