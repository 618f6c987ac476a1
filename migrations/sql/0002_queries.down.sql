-- With all its partitions.
DROP TABLE otel_ratelimit.query_logs;
DROP TABLE otel_ratelimit.query_templates;
DROP TABLE otel_ratelimit.table_writes;
