-- The table of versions stays. The downgrade command removes it after the first step is undone.
DROP TABLE otel_ratelimit.ingested_batches;
DROP TABLE otel_ratelimit.hash_keys;
DROP TABLE otel_ratelimit.rate_limit_usage;
DROP TABLE otel_ratelimit.rate_limit_analytics;
COMMENT ON TABLE otel_ratelimit.schema_version IS NULL;
