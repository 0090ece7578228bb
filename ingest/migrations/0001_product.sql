-- The tables of the `product` module, and the names that its readers use.
--
-- How to read this file:
--   * The ingest writes four tables: events_data, person_properties, person_facts, links. It reads none of them.
--   * Readers use five views: events, persons, person_distinct_ids, sessions, person_overrides.
--   * Every written table is idempotent: the same row inserted twice, in any order, by any number of writers, is one
--     row for readers. Each also remembers deduplication tokens, so that a retried block is not even stored twice.
--   * {database}, {on_cluster}, {definer} and {engine:...} are filled in by src/migrate/render.rs.
--   * A statement ends at a semicolon. Each can be repeated. Applied statements are never edited: add a migration.
--
-- All times are UTC with microseconds. All ids of persons are the pure function of a distinct id that the ingest
-- computes (SHA-1 of its bytes, first 16, version 5); only views know which of them are the same person.

-- Sorted and deduplicated by (UTC day, event name, distinct id, uuid). A block may span many months: writers send
-- max_partitions_per_insert_block = 0. Dates outside 2015 to 2039 share the first and the last partition, so that wrong
-- client clocks cannot make partitions without end.
CREATE TABLE IF NOT EXISTS {database}.events_data {on_cluster}
(
    uuid UUID COMMENT 'Id of the event, chosen by the client; a repeated uuid is one row for readers',
    api_key LowCardinality(String) COMMENT 'Name of the ingestion key that brought the event, never the key; empty when none was given',
    event LowCardinality(String) COMMENT 'Name of the event',
    distinct_id String COMMENT 'Who did it, as the client said',
    person_id UUID COMMENT 'Person of this distinct id alone, before links',
    session_id String COMMENT 'Session as the client said; empty when none',
    session_id_uuid Nullable(UUID) MATERIALIZED toUUIDOrNull(session_id) COMMENT 'session_id when it is a UUID',
    window_id String COMMENT 'Window as the client said; empty when none',
    window_id_uuid Nullable(UUID) MATERIALIZED toUUIDOrNull(window_id) COMMENT 'window_id when it is a UUID',
    elements_chain String COMMENT 'Chain of page elements of an autocaptured event',
    timestamp DateTime64(6, 'UTC') COMMENT 'When it happened, by the client, clamped to 1900 to 2299',
    inserted_at DateTime64(6, 'UTC') DEFAULT now64(6) COMMENT 'When the ingest accepted it, by the clock of the ingest',
    ip String COMMENT 'Address of the client as far as the IP policy keeps it',
    user_agent String COMMENT 'User-Agent header of the request',
    current_url String COMMENT 'Page; empty for events without one',
    host String COMMENT 'Host of the page',
    properties String COMMENT 'Properties as JSON text' CODEC(ZSTD(3)),
    is_deleted Int8 DEFAULT 0 COMMENT 'Reserved: 1 hides the event from sessions',
    INDEX distinct_id_filter distinct_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX session_id_filter session_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX window_id_filter window_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX inserted_at_range inserted_at TYPE minmax GRANULARITY 1
)
ENGINE = {engine:ReplacingMergeTree}
PARTITION BY toYYYYMM(least(greatest(timestamp, toDateTime64('2015-01-01 00:00:00', 6, 'UTC')), toDateTime64('2039-12-31 00:00:00', 6, 'UTC')))
ORDER BY (toDate(timestamp), event, cityHash64(distinct_id), uuid)
SAMPLE BY cityHash64(distinct_id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Events as accepted; written by the ingest, read through the view events';

-- One row for each (person, key) after merges. An inserted row carries one operation: $set fills set_v and leaves once_v
-- out or neutral, $set_once the other way round. The neutral values are the column defaults. The order of operations is
-- (time of the event, id of the event), so that it does not depend on which replica wrote first. The value is JSON text.
CREATE TABLE IF NOT EXISTS {database}.person_properties {on_cluster}
(
    person_id UUID COMMENT 'Person of the distinct id alone, before links',
    key String COMMENT 'Name of the property',
    set_v SimpleAggregateFunction(max, Tuple(DateTime64(6, 'UTC'), UUID, String)) DEFAULT (toDateTime64('1900-01-01 00:00:00', 6, 'UTC'), toUUID('00000000-0000-0000-0000-000000000000'), '') COMMENT 'Last $set: time of the event, id of the event, value as JSON text',
    once_v SimpleAggregateFunction(min, Tuple(DateTime64(6, 'UTC'), UUID, String)) DEFAULT (toDateTime64('2299-12-31 23:59:59.999999', 6, 'UTC'), toUUID('ffffffff-ffff-ffff-ffff-ffffffffffff'), '') COMMENT 'First $set_once: time of the event, id of the event, value as JSON text'
)
ENGINE = {engine:AggregatingMergeTree}
ORDER BY (person_id, key)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Facts about properties of persons; written by the ingest, read through the view persons';

-- One row for each person after merges; a row is inserted for each $identify and $set event.
CREATE TABLE IF NOT EXISTS {database}.person_facts {on_cluster}
(
    person_id UUID COMMENT 'Person of the distinct id alone, before links',
    distinct_id SimpleAggregateFunction(max, String) COMMENT 'The distinct id; the same for every row of a person',
    created_at SimpleAggregateFunction(min, DateTime64(6, 'UTC')) COMMENT 'Time of the earliest such event',
    updated_at SimpleAggregateFunction(max, DateTime64(6, 'UTC')) COMMENT 'Time of the latest such event',
    is_identified SimpleAggregateFunction(max, UInt8) COMMENT '1 once an $identify named this distinct id'
)
ENGINE = {engine:AggregatingMergeTree}
ORDER BY person_id
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Times and state of persons; written by the ingest, read through the view persons';

-- Edges between distinct ids. Which side is which only helps to choose the name of the joined person: distinct_id is the
-- one to keep ($identify: the known id; $create_alias: the original), linked_id joins it (the anonymous id; the alias).
CREATE TABLE IF NOT EXISTS {database}.links {on_cluster}
(
    distinct_id String COMMENT 'The id to keep',
    linked_id String COMMENT 'The id that is the same person from now on',
    kind Enum8('identify' = 1, 'alias' = 2, 'merge' = 3) COMMENT 'What asked for it',
    person_id UUID COMMENT 'Person of distinct_id alone',
    linked_person_id UUID COMMENT 'Person of linked_id alone',
    linked_by SimpleAggregateFunction(min, Tuple(DateTime64(6, 'UTC'), UUID)) COMMENT 'First event that said so: its time and id'
)
ENGINE = {engine:AggregatingMergeTree}
ORDER BY (distinct_id, linked_id, kind, person_id, linked_person_id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Which distinct ids are one person; written by the ingest, read through the view person_overrides';
