-- The tables of the `product` module, and the names that its readers use.
--
-- How to read this file:
--   * The ingest writes five tables: events_data, person_properties, person_set_once, person_facts, links. It reads none
--     of them.
--   * ClickHouse itself settles one more every minute: sessions_data.
--   * Readers use five views: events, persons, person_distinct_ids, sessions, person_overrides.
--   * Every written table is idempotent: the same row inserted twice, in any order, by any number of writers, is one
--     row for readers. Each also remembers deduplication tokens, so that a retried block is not even stored twice.
--   * {database}, {on_cluster}, {definer}, {table_definer} and {engine:...} are filled in by src/migrate/render.rs.
--   * A statement ends at a semicolon. Each can be repeated. Applied statements are never edited: add a migration.
--
-- All times are UTC with microseconds. All ids of persons are the pure function of a distinct id that the ingest
-- computes (SHA-1 of its bytes, first 16, version 5); only views know which of them are the same person.
--
-- Settled and fresh: sessions are computed once for events that are older than five minutes, and at each read for the
-- rest. So an acknowledged event is seen at once, nothing is paid at the insert, and a server that settles late, twice
-- or on each replica changes no answer. `stored_at` is the time of
-- ClickHouse's insert; five minutes is longer than any insert is under way and than replicas may lag behind.

-- Sorted and deduplicated by (day, event name, distinct id, uuid). The day is that of the time as the client sent it:
-- `timestamp` is corrected by the time of sending, which another try of the same event has another of. A minmax index
-- finds ranges of `timestamp`. A block may span many months: writers send max_partitions_per_insert_block = 0. Days
-- outside 2015 to 2039 share the first and the last partition, so that wrong client clocks cannot make partitions
-- without end.
--
-- What each choice costs, measured with 1,000,000 events of a browser (646 bytes of properties) in blocks of 10,000 on
-- 26.7 (CPU seconds of the insert; size on disk):
--     as below, without bloom filters       5.9 s   161 MiB
--     as below                              5.8 s   162 MiB   filters cost nothing that can be measured
--     properties with ZSTD(3)               7.0 s   167 MiB   slower and not smaller
--     properties with LZ4                   5.7 s   235 MiB
--     window_id and session_id also as UUID 9.0 s   197 MiB   with ZSTD(3): the view computes them instead
--     three properties as own columns      10.2 s   172 MiB   reads one property 25 times as fast (0.05 s, not 1.1 s)
--     properties as JSON type              45.4 s   158 MiB   reads one property 14 times as fast (0.08 s, not 1.1 s)
--     JSON type of at most 64 paths        49.9 s   158 MiB
--     user_agent, host as LowCardinality    6.4 s   153 MiB
--     sessions by a materialized view      18.8 s   208 MiB   settled every minute instead
-- So properties stay text. Who asks often for one property adds a column of it: ALTER TABLE ... ADD COLUMN ... MATERIALIZED.
CREATE TABLE IF NOT EXISTS {database}.events_data {on_cluster}
(
    uuid UUID COMMENT 'Id of the event, chosen by the client; a repeated uuid is one row for readers',
    api_key LowCardinality(String) COMMENT 'Name of the ingestion key that brought the event, never the key; empty when none was given',
    event LowCardinality(String) COMMENT 'Name of the event',
    distinct_id String COMMENT 'Who did it, as the client said',
    person_id UUID COMMENT 'Person of this distinct id alone, before links',
    session_id String COMMENT 'Session as the client said; empty when none',
    window_id String COMMENT 'Window as the client said; empty when none',
    elements_chain String COMMENT 'Chain of page elements of an autocaptured event',
    timestamp DateTime64(6, 'UTC') COMMENT 'When it happened, corrected by the time of sending, clamped to 1900 to 2299',
    client_day Date COMMENT 'Day of the time as the client sent it; never corrected',
    inserted_at DateTime64(6, 'UTC') DEFAULT now64(6) COMMENT 'When the ingest accepted it, by the clock of the ingest',
    stored_at DateTime('UTC') DEFAULT now() COMMENT 'When ClickHouse got it, by its own clock',
    ip String COMMENT 'Address of the client as far as the IP policy keeps it',
    user_agent String COMMENT 'User-Agent header of the request',
    current_url String COMMENT 'Page; empty for events without one',
    host String COMMENT 'Host of the page',
    properties String COMMENT 'Properties as JSON text' CODEC(ZSTD(1)),
    is_deleted Int8 DEFAULT 0 COMMENT 'Reserved: 1 hides the event from sessions',
    INDEX distinct_id_filter distinct_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX session_id_filter session_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX timestamp_range timestamp TYPE minmax GRANULARITY 1,
    INDEX inserted_at_range inserted_at TYPE minmax GRANULARITY 1,
    INDEX stored_at_range stored_at TYPE minmax GRANULARITY 1
)
ENGINE = {engine:ReplacingMergeTree}
PARTITION BY toYYYYMM(least(greatest(client_day, toDate('2015-01-01')), toDate('2039-12-31')))
ORDER BY (client_day, event, cityHash64(distinct_id), uuid)
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
    once_v SimpleAggregateFunction(min, Tuple(DateTime64(6, 'UTC'), UUID, String)) DEFAULT (toDateTime64('2299-12-31 23:59:59.999999', 6, 'UTC'), toUUID('ffffffff-ffff-ffff-ffff-ffffffffffff'), '') COMMENT 'First $set_once: time of the event, id of the event, value as JSON text',
    unset_by SimpleAggregateFunction(max, Tuple(DateTime64(6, 'UTC'), UUID)) DEFAULT (toDateTime64('1900-01-01 00:00:00', 6, 'UTC'), toUUID('00000000-0000-0000-0000-000000000000')) COMMENT 'Last $unset: time of the event, id of the event'
)
ENGINE = {engine:AggregatingMergeTree}
ORDER BY (person_id, key)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Facts about properties of persons; written by the ingest, read through the view persons';

-- Every $set_once. Only a key that was unset needs more than the first: the first one after the last $unset.
CREATE TABLE IF NOT EXISTS {database}.person_set_once {on_cluster}
(
    person_id UUID COMMENT 'Person of the distinct id alone, before links',
    key String COMMENT 'Name of the property',
    at DateTime64(6, 'UTC') COMMENT 'Time of the event',
    event_id UUID COMMENT 'Id of the event',
    value String COMMENT 'Value as JSON text'
)
ENGINE = {engine:ReplacingMergeTree}
ORDER BY (person_id, key, at, event_id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Log of $set_once; written by the ingest, read through the view persons for keys that were unset';

-- One row for each person after merges; a row is inserted for each event that identifies or changes a person.
CREATE TABLE IF NOT EXISTS {database}.person_facts {on_cluster}
(
    person_id UUID COMMENT 'Person of the distinct id alone, before links',
    distinct_id SimpleAggregateFunction(max, String) COMMENT 'The distinct id; the same for every row of a person',
    created_at SimpleAggregateFunction(min, DateTime64(6, 'UTC')) COMMENT 'Time of the earliest such event',
    updated_at SimpleAggregateFunction(max, DateTime64(6, 'UTC')) COMMENT 'Time of the latest such event',
    identified_by SimpleAggregateFunction(min, Tuple(DateTime64(6, 'UTC'), UUID)) DEFAULT (toDateTime64('2299-12-31 23:59:59.999999', 6, 'UTC'), toUUID('ffffffff-ffff-ffff-ffff-ffffffffffff')) COMMENT 'First $identify that named this distinct id: its time and id'
)
ENGINE = {engine:AggregatingMergeTree}
ORDER BY person_id
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Times and state of persons; written by the ingest, read through the view persons';

-- Edges between distinct ids: distinct_id is the one to keep ($identify: the known id; $create_alias: the original),
-- linked_id joins it (the anonymous id; the alias). Every edge is kept, refused ones too: a late fact may change that.
CREATE TABLE IF NOT EXISTS {database}.links {on_cluster}
(
    distinct_id String COMMENT 'The id to keep',
    linked_id String COMMENT 'The id that is the same person from now on',
    kind Enum8('identify' = 1, 'alias' = 2, 'merge' = 3) COMMENT 'What asked for it',
    person_id UUID COMMENT 'Person of distinct_id alone',
    linked_person_id UUID COMMENT 'Person of linked_id alone',
    linked_by SimpleAggregateFunction(min, Tuple(DateTime64(6, 'UTC'), UUID)) COMMENT 'First event that said so: its time and id',
    last_linked_by SimpleAggregateFunction(max, Tuple(DateTime64(6, 'UTC'), UUID)) DEFAULT linked_by COMMENT 'Last event that said so: its time and id'
)
ENGINE = {engine:AggregatingMergeTree}
ORDER BY (linked_person_id, person_id, kind, linked_id, distinct_id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Which distinct ids are one person; written by the ingest, read through the view person_overrides';

-- The person that each linked person was folded into, as far as the link was accepted; the rules are told in
-- src/identity.rs. The last merge of an id counts, else its first link, unless the id was known before: named by an
-- $identify, or the id to keep of another link.
CREATE OR REPLACE VIEW {database}.person_parents {on_cluster} {definer} AS
WITH
    known AS
    (
        SELECT id, min(known_by) AS known_by, true AS is_found
        FROM
        (
            SELECT person_id AS id, edge.linked_by AS known_by
            FROM {database}.links AS edge
            WHERE person_id IN (SELECT linked_person_id FROM {database}.links)
            UNION ALL
            SELECT person_id AS id, fact.identified_by AS known_by
            FROM {database}.person_facts AS fact
            WHERE person_id IN (SELECT linked_person_id FROM {database}.links)
        )
        GROUP BY id
    ),
    merged AS
    (
        SELECT linked_person_id AS id, max((edge.last_linked_by, edge.person_id)).2 AS parent, true AS is_found
        FROM {database}.links AS edge
        WHERE edge.kind = 'merge'
        GROUP BY id
    )
SELECT source.id AS person_id, if(merged.is_found, merged.parent, source.first.2) AS parent_person_id
FROM
(
    SELECT linked_person_id AS id, min((edge.linked_by, edge.person_id)) AS first
    FROM {database}.links AS edge
    GROUP BY id
) AS source
LEFT ANY JOIN known ON known.id = source.id
LEFT ANY JOIN merged ON merged.id = source.id
WHERE merged.is_found OR NOT known.is_found OR source.first.1 < known.known_by
COMMENT 'Accepted links: for each folded person the one that it was folded into; part of person_overrides';

-- Chains are followed to their end; in a circle, which only merges can make, the smallest person of it stands for all.
-- Most parents have none themselves, and are done at once. For the others each step doubles the way that is covered, so
-- that a chain of a million takes 20 steps.
--
-- Cost with 1,000,000 links of 500,000 persons: 8.5 CPU seconds and 1 GiB in each query that asks for persons; with
-- none 0.08 s.
CREATE OR REPLACE VIEW {database}.person_overrides {on_cluster} {definer} AS
WITH RECURSIVE
    inner_links AS
    (
        SELECT person_id AS child, parent_person_id AS parent
        FROM {database}.person_parents
        WHERE person_id IN (SELECT person_id FROM {database}.links)
    ),
    chase AS
    (
        SELECT child, parent, parent AS smallest, 0 AS step FROM inner_links
        UNION ALL
        SELECT
            near.child AS child,
            if(far.is_found, far.parent, near.parent) AS parent,
            if(far.is_found, least(near.smallest, far.smallest), near.smallest) AS smallest,
            near.step + 1 AS step
        FROM chase AS near
        LEFT ANY JOIN (SELECT child, parent, smallest, true AS is_found FROM chase) AS far ON far.child = near.parent
        WHERE near.step < (SELECT ceil(log2(count() + 1)) FROM inner_links)
    ),
    ends AS
    (
        SELECT child, argMax(parent, step) AS end, argMax(smallest, step) AS smallest, true AS is_circle
        FROM chase
        GROUP BY child
    ),
    -- An end that has a parent itself lies in a circle, and has seen all of it.
    roots AS
    (
        SELECT ends.child AS child, if(circle.is_circle, circle.smallest, ends.end) AS root, true AS is_found
        FROM ends
        LEFT ANY JOIN ends AS circle ON circle.child = ends.end
    )
SELECT
    linked.person_id AS person_id,
    if(roots.is_found, roots.root, linked.parent_person_id) AS canonical_person_id
FROM {database}.person_parents AS linked
LEFT ANY JOIN roots ON roots.child = linked.parent_person_id
WHERE person_id != canonical_person_id
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
    toUUIDOrNull(event_row.session_id) AS session_id_uuid,
    event_row.window_id AS window_id,
    toUUIDOrNull(event_row.window_id) AS window_id_uuid,
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

-- A key has its last $set, unless an $unset came after it; else its first $set_once, or the first one after the last
-- $unset, from the log of $set_once, which is read only for keys that were unset. Values are JSON, so no type is lost.
CREATE OR REPLACE VIEW {database}.persons {on_cluster} {definer} AS
WITH
    (toDateTime64('1900-01-01 00:00:00', 6, 'UTC'), toUUID('00000000-0000-0000-0000-000000000000')) AS not_once,
    (toDateTime64('2299-12-31 23:59:59.999999', 6, 'UTC'), toUUID('ffffffff-ffff-ffff-ffff-ffffffffffff')) AS never,
    override AS
    (
        SELECT person_id AS linked_person_id, canonical_person_id, true AS is_linked FROM {database}.person_overrides
    ),
    property AS
    (
        SELECT
            if(override.is_linked, override.canonical_person_id, fact.person_id) AS id,
            fact.key AS key,
            max(fact.set_v) AS last_set,
            min(fact.once_v) AS first_once,
            max(fact.unset_by) AS last_unset
        FROM {database}.person_properties AS fact
        LEFT ANY JOIN override ON override.linked_person_id = fact.person_id
        GROUP BY id, key
    ),
    again AS
    (
        SELECT id, key, argMinIf(value, (at, event_id), is_once AND (at, event_id) > last_unset) AS value
        FROM
        (
            SELECT id, key, at, event_id, value, is_once, max(if(is_once, not_once, (at, event_id))) OVER (PARTITION BY id, key) AS last_unset
            FROM
            (
                SELECT
                    if(override.is_linked, override.canonical_person_id, operation.person_id) AS id,
                    operation.key AS key, operation.at AS at, operation.event_id AS event_id, operation.value AS value,
                    operation.is_once AS is_once
                FROM
                (
                    SELECT person_id, key, at, event_id, value, true AS is_once
                    FROM {database}.person_set_once
                    WHERE key IN (SELECT key FROM {database}.person_properties AS fact WHERE fact.unset_by > not_once)
                    UNION ALL
                    SELECT person_id, key, fact.unset_by.1, fact.unset_by.2, '', false
                    FROM {database}.person_properties AS fact
                    WHERE fact.unset_by > not_once
                ) AS operation
                LEFT ANY JOIN override ON override.linked_person_id = operation.person_id
            )
        )
        GROUP BY id, key
    ),
    object AS
    (
        SELECT id, arraySort(groupArray(concat(toJSONString(key), ':', value))) AS members
        FROM
        (
            SELECT
                property.id AS id,
                property.key AS key,
                multiIf(
                    property.last_set.3 != '' AND (property.last_set.1, property.last_set.2) > property.last_unset,
                    property.last_set.3,
                    property.last_unset = not_once,
                    property.first_once.3,
                    again.value
                ) AS value
            FROM property
            LEFT ANY JOIN again ON again.id = property.id AND again.key = property.key
        )
        WHERE value != ''
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
            min(fact.identified_by) < never AS is_identified
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

-- One row for each session after merges. Every column is idempotent: an event that is counted twice changes nothing.
CREATE TABLE IF NOT EXISTS {database}.sessions_data {on_cluster}
(
    session_id String COMMENT 'Session as the client said',
    started_at SimpleAggregateFunction(min, DateTime64(6, 'UTC')) COMMENT 'Time of the first event',
    ended_at SimpleAggregateFunction(max, DateTime64(6, 'UTC')) COMMENT 'Time of the last event',
    last_event SimpleAggregateFunction(max, Tuple(DateTime64(6, 'UTC'), UUID, String, String, UUID, String)) COMMENT 'Last event: time, id, api_key, distinct_id, person_id before links, host',
    entry SimpleAggregateFunction(min, Tuple(DateTime64(6, 'UTC'), UUID, String)) COMMENT 'First event with a page: time, id, page',
    exit SimpleAggregateFunction(max, Tuple(DateTime64(6, 'UTC'), UUID, String)) COMMENT 'Last event with a page: time, id, page',
    urls AggregateFunction(groupUniqArray(2000), String) COMMENT 'Pages',
    event_names AggregateFunction(groupUniqArray(2000), String) COMMENT 'Names of events',
    events AggregateFunction(uniq, UUID) COMMENT 'Ids of events',
    pageviews AggregateFunction(uniq, UUID) COMMENT 'Ids of $pageview events',
    autocaptures AggregateFunction(uniq, UUID) COMMENT 'Ids of $autocapture events',
    settled_until SimpleAggregateFunction(max, DateTime('UTC')) COMMENT 'Events stored before this time are in the row, or in another one of the session'
)
ENGINE = {engine:AggregatingMergeTree}
ORDER BY session_id
COMMENT 'Sessions of events that were stored more than five minutes ago; written by sessions_settle, read through the view sessions';

-- Sessions of the events that are not in sessions_data yet, in the same columns.
CREATE OR REPLACE VIEW {database}.sessions_fresh {on_cluster} {definer} AS
SELECT
    session_id,
    stored_at < toDateTime(now(), 'UTC') - INTERVAL 5 MINUTE AS is_settling,
    min(timestamp) AS started_at,
    max(timestamp) AS ended_at,
    max((timestamp, uuid, toString(api_key), distinct_id, person_id, host)) AS last_event,
    min(if(
        current_url != '',
        (timestamp, uuid, current_url),
        (toDateTime64('2299-12-31 23:59:59.999999', 6, 'UTC'), toUUID('ffffffff-ffff-ffff-ffff-ffffffffffff'), '')
    )) AS entry,
    max(if(
        current_url != '',
        (timestamp, uuid, current_url),
        (toDateTime64('1900-01-01 00:00:00', 6, 'UTC'), toUUID('00000000-0000-0000-0000-000000000000'), '')
    )) AS exit,
    groupUniqArrayState(2000)(current_url) AS urls,
    groupUniqArrayState(2000)(toString(event)) AS event_names,
    uniqState(uuid) AS events,
    uniqStateIf(uuid, event = '$pageview') AS pageviews,
    uniqStateIf(uuid, event = '$autocapture') AS autocaptures
FROM {database}.events_data
WHERE session_id != '' AND is_deleted = 0
    AND stored_at >= (SELECT max(settled_until) FROM {database}.sessions_data)
GROUP BY session_id, is_settling
COMMENT 'Sessions of events that are not settled; part of sessions';

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.sessions_settle {on_cluster}
REFRESH EVERY 1 MINUTE APPEND TO {database}.sessions_data
{table_definer} AS
SELECT
    session_id, started_at, ended_at, last_event, entry, exit, urls, event_names, events, pageviews, autocaptures,
    toDateTime(now(), 'UTC') - INTERVAL 5 MINUTE AS settled_until
FROM {database}.sessions_fresh
WHERE is_settling
COMMENT 'Settles sessions every minute';

-- A session is one id, whatever keys its events came with. Events without a page take no part in its URLs. Counts are
-- of different events: exact up to some thousands in a session, within a percent or so beyond.
CREATE OR REPLACE VIEW {database}.sessions {on_cluster} {definer} AS
SELECT
    session.last_event.3 AS api_key,
    session.session_id AS session_id,
    session.last_event.4 AS distinct_id,
    if(override.is_linked, override.canonical_person_id, session.last_event.5) AS person_id,
    session.last_event.6 AS host,
    toDateTime64(session.started_at, 6, 'UTC') AS started_at,
    toDateTime64(session.ended_at, 6, 'UTC') AS ended_at,
    dateDiff('second', session.started_at, session.ended_at) AS duration_seconds,
    arrayFilter(url -> url != '', session.urls) AS urls,
    session.event_names AS event_names,
    session.entry.3 AS entry_url,
    session.exit.3 AS exit_url,
    session.event_count AS event_count,
    session.pageview_count AS pageview_count,
    session.autocapture_count AS autocapture_count
FROM
(
    SELECT
        session_id,
        min(part.started_at) AS started_at,
        max(part.ended_at) AS ended_at,
        max(part.last_event) AS last_event,
        min(part.entry) AS entry,
        max(part.exit) AS exit,
        groupUniqArrayMerge(2000)(part.urls) AS urls,
        groupUniqArrayMerge(2000)(part.event_names) AS event_names,
        uniqMerge(part.events) AS event_count,
        uniqMerge(part.pageviews) AS pageview_count,
        uniqMerge(part.autocaptures) AS autocapture_count
    FROM
    (
        SELECT session_id, started_at, ended_at, last_event, entry, exit, urls, event_names, events, pageviews, autocaptures
        FROM {database}.sessions_data
        UNION ALL
        SELECT session_id, started_at, ended_at, last_event, entry, exit, urls, event_names, events, pageviews, autocaptures
        FROM {database}.sessions_fresh
    ) AS part
    GROUP BY session_id
) AS session
LEFT ANY JOIN
(
    SELECT person_id AS linked_person_id, canonical_person_id, true AS is_linked FROM {database}.person_overrides
) AS override ON override.linked_person_id = session.last_event.5
COMMENT 'Sessions: settled ones and what came since';
