-- This also drops all partitions.
DROP TABLE otel_ratelimit.query_logs;
DROP TABLE otel_ratelimit.query_templates;
DROP TABLE otel_ratelimit.table_writes;
