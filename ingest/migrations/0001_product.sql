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

-- Edges between distinct ids: distinct_id is the one to keep ($identify: the known id; $create_alias: the original),
-- linked_id joins it (the anonymous id; the alias). Every edge is kept, though only the first of a linked id counts.
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
ORDER BY (linked_person_id, person_id, kind, linked_id, distinct_id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Which distinct ids are one person; written by the ingest, read through the view person_overrides';

-- An id belongs to the person of the first id that it was linked to; later links of the same id are refused, so that two
-- known people who shared a device stay two people. Chains (an alias of an id that was itself linked) are followed to
-- their end, up to 16 steps; in a circle the smallest person of it stands for all. Cost: about 0.1 s for 100,000 links.
CREATE OR REPLACE VIEW {database}.person_overrides {on_cluster} {definer} AS
WITH RECURSIVE
    -- The few linked ids that other ids are linked to.
    inner_links AS
    (
        SELECT linked_person_id AS child, argMin(link.person_id, link.linked_by) AS parent
        FROM {database}.links AS link
        WHERE linked_person_id != person_id AND linked_person_id IN (SELECT person_id FROM {database}.links)
        GROUP BY linked_person_id
    ),
    chase AS
    (
        SELECT child, parent, 1 AS depth FROM inner_links
        UNION ALL
        SELECT chase.child AS child, inner_links.parent AS parent, chase.depth + 1 AS depth
        FROM chase INNER JOIN inner_links ON inner_links.child = chase.parent
        WHERE chase.depth < 16
    ),
    roots AS
    (
        SELECT child, if(max(depth) < 16, argMax(parent, depth), minIf(parent, depth > 8)) AS root, true AS is_found
        FROM chase
        GROUP BY child
    )
SELECT linked.child AS person_id, if(roots.is_found, roots.root, linked.parent) AS canonical_person_id
FROM
(
    SELECT linked_person_id AS child, argMin(link.person_id, link.linked_by) AS parent
    FROM {database}.links AS link
    WHERE linked_person_id != person_id
    GROUP BY linked_person_id
) AS linked
LEFT ANY JOIN roots ON roots.child = linked.parent
COMMENT 'For each person that was linked to another one: the person that stands for both';

-- FINAL makes a repeated uuid one row. Duplicates are always in one partition, so partitions need no merging among them.
CREATE OR REPLACE VIEW {database}.events {on_cluster} {definer} AS
SELECT
    event_row.uuid AS uuid,
    event_row.api_key AS api_key,
    event_row.event AS event,
    event_row.distinct_id AS distinct_id,
    if(override.is_linked, override.canonical_person_id, event_row.person_id) AS person_id,
    event_row.session_id AS session_id,
    event_row.session_id_uuid AS session_id_uuid,
    event_row.window_id AS window_id,
    event_row.window_id_uuid AS window_id_uuid,
    event_row.elements_chain AS elements_chain,
    event_row.timestamp AS timestamp,
    event_row.inserted_at AS inserted_at,
    event_row.ip AS ip,
    event_row.user_agent AS user_agent,
    event_row.current_url AS current_url,
    event_row.host AS host,
    event_row.properties AS properties,
    event_row.is_deleted AS is_deleted
FROM {database}.events_data AS event_row FINAL
LEFT ANY JOIN
(
    SELECT person_id AS linked_person_id, canonical_person_id, true AS is_linked FROM {database}.person_overrides
) AS override ON override.linked_person_id = event_row.person_id
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Events, each uuid once, with the person that links make of them';

-- A key that was ever $set has its last $set value, else its first $set_once value. Values are JSON, so no type is lost.
-- Comparing facts of several ids is the slow part, and is done only for persons of which more than one id has facts.
CREATE OR REPLACE VIEW {database}.persons {on_cluster} {definer} AS
WITH
    override AS
    (
        SELECT person_id AS linked_person_id, canonical_person_id, true AS is_linked FROM {database}.person_overrides
    ),
    linked_with_facts AS
    (
        SELECT linked_person_id, canonical_person_id
        FROM override
        WHERE linked_person_id IN (SELECT person_id FROM {database}.person_properties)
    ),
    member AS
    (
        SELECT linked_person_id AS member_id, canonical_person_id FROM linked_with_facts
        UNION DISTINCT
        SELECT canonical_person_id AS member_id, canonical_person_id FROM linked_with_facts
    ),
    property AS
    (
        SELECT person_id AS id, key, set_v.3 AS last_set, once_v.3 AS first_once
        FROM {database}.person_properties FINAL
        WHERE person_id NOT IN (SELECT member_id FROM member)
        UNION ALL
        SELECT member.canonical_person_id AS id, fact.key AS key, max(fact.set_v).3 AS last_set, min(fact.once_v).3 AS first_once
        FROM {database}.person_properties AS fact
        INNER JOIN member ON member.member_id = fact.person_id
        GROUP BY id, key
    ),
    object AS
    (
        SELECT
            id,
            arraySort(groupArray(concat(toJSONString(key), ':', if(last_set != '', last_set, first_once)))) AS members
        FROM property
        WHERE last_set != '' OR first_once != ''
        GROUP BY id
    ),
    person AS
    (
        SELECT
            if(override.is_linked, override.canonical_person_id, fact.person_id) AS id,
            -- The id that the others were linked to comes first.
            anyIf(fact.distinct_id, fact.person_id = id) AS own_distinct_id,
            if(own_distinct_id != '', own_distinct_id, min(fact.distinct_id)) AS distinct_id,
            min(fact.created_at) AS created_at,
            max(fact.updated_at) AS updated_at,
            max(fact.is_identified) AS is_identified
        FROM {database}.person_facts AS fact
        LEFT ANY JOIN override ON override.linked_person_id = fact.person_id
        GROUP BY id
    )
SELECT
    -- The conversions take off SimpleAggregateFunction, which is no type for readers.
    toString(person.distinct_id) AS distinct_id,
    person.id AS id,
    concat('{', arrayStringConcat(object.members, ','), '}') AS properties,
    toDateTime64(person.created_at, 6, 'UTC') AS created_at,
    toDateTime64(person.updated_at, 6, 'UTC') AS updated_at,
    toDateTime64(person.updated_at, 6, 'UTC') AS last_seen_at,
    toInt8(person.is_identified) AS is_identified,
    toInt8(0) AS is_deleted,
    toUnixTimestamp64Micro(person.updated_at) AS version
FROM person
LEFT ANY JOIN object ON object.id = person.id
COMMENT 'Persons that were identified or got properties, with their properties as JSON text';

CREATE OR REPLACE VIEW {database}.person_distinct_ids {on_cluster} {definer} AS
SELECT
    seen.distinct_id AS distinct_id,
    if(override.is_linked, override.canonical_person_id, seen.own_person_id) AS person_id,
    seen.first_seen_at AS created_at,
    toInt8(0) AS is_deleted,
    toUnixTimestamp64Micro(seen.first_seen_at) AS version
FROM
(
    SELECT distinct_id, any(own_person_id) AS own_person_id, min(seen_at) AS first_seen_at
    FROM
    (
        SELECT distinct_id, person_id AS own_person_id, timestamp AS seen_at FROM {database}.events_data
        UNION ALL
        SELECT distinct_id, person_id AS own_person_id, linked_by.1 AS seen_at FROM {database}.links
        UNION ALL
        SELECT linked_id AS distinct_id, linked_person_id AS own_person_id, linked_by.1 AS seen_at FROM {database}.links
    )
    GROUP BY distinct_id
) AS seen
LEFT ANY JOIN
(
    SELECT person_id AS linked_person_id, canonical_person_id, true AS is_linked FROM {database}.person_overrides
) AS override ON override.linked_person_id = seen.own_person_id
COMMENT 'Every distinct id that was seen, and its person';

-- A session is one id, whatever keys its events came with. Events without a page take no part in its URLs.
-- Events are ordered by (timestamp, uuid), as one number: comparing tuples costs ten times as much.
CREATE OR REPLACE VIEW {database}.sessions {on_cluster} {definer} AS
SELECT
    last_event.1 AS api_key,
    session_id,
    last_event.2 AS distinct_id,
    last_event.3 AS person_id,
    last_event.4 AS host,
    started_at,
    ended_at,
    dateDiff('second', started_at, ended_at) AS duration_seconds,
    urls,
    event_names,
    entry_url,
    exit_url,
    event_count,
    pageview_count,
    autocapture_count
FROM
(
    SELECT
        session_id,
        argMax((api_key, distinct_id, person_id, host), position) AS last_event,
        min(timestamp) AS started_at,
        max(timestamp) AS ended_at,
        groupUniqArrayIf(2000)(current_url, current_url != '') AS urls,
        groupUniqArray(2000)(event) AS event_names,
        argMinIf(current_url, position, current_url != '') AS entry_url,
        argMaxIf(current_url, position, current_url != '') AS exit_url,
        count() AS event_count,
        countIf(event = '$pageview') AS pageview_count,
        countIf(event = '$autocapture') AS autocapture_count
    FROM
    (
        SELECT
            api_key, event, distinct_id, person_id, session_id, timestamp, current_url, host,
            bitShiftLeft(toUInt256(toUnixTimestamp64Micro(timestamp) + 2208988800000000), 128)
                + reinterpretAsUInt128(uuid) AS position
        FROM {database}.events
        WHERE session_id != '' AND is_deleted = 0
    )
    GROUP BY session_id
)
COMMENT 'Sessions, computed from the events view at each read';
