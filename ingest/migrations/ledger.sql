-- What `migrate` keeps for itself, made before the first migration. Same rules as for migrations: statements can be
-- repeated and are never edited.

-- One row for each statement that has run. A version is complete when as many rows as `statements` are there.
CREATE TABLE IF NOT EXISTS {database}.schema_migrations {on_cluster}
(
    version UInt32 COMMENT 'Number of the migration',
    statement UInt32 COMMENT 'Position of the statement in it, from 1',
    statements UInt32 COMMENT 'How many statements the migration had',
    name String COMMENT 'Name of the migration',
    checksum String COMMENT 'SHA-256 of the statement before its placeholders are filled in, without comments and spacing',
    applied_at DateTime64(6, 'UTC') DEFAULT now64(6) COMMENT 'When it had run, by the clock of ClickHouse',
    binary_version String COMMENT 'Version of weir-ingest that ran it',
    run_id UUID COMMENT 'The run that ran it'
)
ENGINE = {engine:ReplacingMergeTree}
ORDER BY (version, statement)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Ledger of weir-ingest migrate';

-- Insert-only: a run claims, repeats its claim while it lives, and releases it. The oldest live claim holds the lock.
CREATE TABLE IF NOT EXISTS {database}.schema_migration_claims {on_cluster}
(
    run_id UUID COMMENT 'The run',
    host String COMMENT 'Where it runs, for people',
    is_released UInt8 COMMENT '1 once it is over',
    at DateTime64(6, 'UTC') DEFAULT now64(6) COMMENT 'When it said so, by the clock of ClickHouse'
)
ENGINE = {engine:MergeTree}
ORDER BY (run_id, at)
TTL toDateTime(at) + INTERVAL 7 DAY
COMMENT 'Lock of weir-ingest migrate';
