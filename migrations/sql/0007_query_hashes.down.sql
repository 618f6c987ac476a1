-- An operator may have dropped an index that cost too much.
DROP INDEX IF EXISTS otel_ratelimit.query_logs_key_hash;
DROP INDEX IF EXISTS otel_ratelimit.query_logs_template_hash;
