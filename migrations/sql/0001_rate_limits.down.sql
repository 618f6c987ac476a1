-- The table of versions stays: whoever undoes the first step removes it.
DROP TABLE otel_ratelimit.ingested_batches;
DROP TABLE otel_ratelimit.hash_keys;
DROP TABLE otel_ratelimit.rate_limit_usage;
DROP TABLE otel_ratelimit.rate_limit_analytics;
COMMENT ON TABLE otel_ratelimit.schema_version IS NULL;
