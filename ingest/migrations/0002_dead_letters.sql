-- Events that ClickHouse refused for their content, kept so that nothing a client sent is thrown away unseen.
--
-- Written by the ingest before it answers the request that brought them; `weir-ingest dead-letters replay` inserts the
-- rows again once the reason is gone, and then marks the letter with a row of a later replayed_at. Read it with FINAL.
CREATE TABLE IF NOT EXISTS {database}.dead_letters {on_cluster}
(
    uuid UUID COMMENT 'Id of the event',
    table_name LowCardinality(String) COMMENT 'Table that refused its rows',
    api_key LowCardinality(String) COMMENT 'Name of the ingestion key that brought the event',
    event String COMMENT 'Name of the event',
    distinct_id String COMMENT 'Who did it, as the client said',
    received_at DateTime64(6, 'UTC') COMMENT 'When the ingest accepted the event, by the clock of the ingest',
    refused_at DateTime64(6, 'UTC') DEFAULT now64(6) COMMENT 'When it was refused last, by the clock of ClickHouse',
    code Int32 COMMENT 'Number of the exception',
    reason LowCardinality(String) COMMENT 'Name of the exception',
    detail String COMMENT 'Text of the exception; it may quote the event',
    columns String COMMENT 'Columns of the rows, in their order' CODEC(ZSTD(3)),
    rows String COMMENT 'The refused rows in the format RowBinary' CODEC(ZSTD(3)),
    replayed_at DateTime64(6, 'UTC') DEFAULT toDateTime64(0, 6, 'UTC') COMMENT 'When the rows were inserted after all; 1970 until then'
)
ENGINE = {engine:ReplacingMergeTree(replayed_at)}
ORDER BY (table_name, uuid)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Events that ClickHouse refused for their content; written by the ingest, replayed by weir-ingest dead-letters';
