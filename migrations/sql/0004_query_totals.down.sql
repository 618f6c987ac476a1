COMMENT ON COLUMN otel_ratelimit.query_logs.in_txn IS 'It ran in a transaction that had begun before, whose snapshot a cache does not know.';
DROP TABLE otel_ratelimit.query_repeats;
DROP TABLE otel_ratelimit.query_totals;
