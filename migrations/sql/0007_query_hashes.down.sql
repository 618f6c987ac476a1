-- Whoever found one too dear may have dropped it.
DROP INDEX IF EXISTS otel_ratelimit.query_logs_key_hash;
DROP INDEX IF EXISTS otel_ratelimit.query_logs_template_hash;
