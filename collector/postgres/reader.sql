-- The read-only role for dashboards. It reads all tables except hash_keys, which holds the secret of the hashes.
-- Run this with psql as the owner of the schema, and again after each `otel-ratelimit db upgrade` that adds tables.
--
--     POSTGRES_READER_PASSWORD=... psql --set=ON_ERROR_STOP=1 --file=reader.sql

\getenv password POSTGRES_READER_PASSWORD

SELECT 'CREATE ROLE otel_ratelimit_reader LOGIN CONNECTION LIMIT 10'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'otel_ratelimit_reader') \gexec

ALTER ROLE otel_ratelimit_reader PASSWORD :'password';
ALTER ROLE otel_ratelimit_reader SET default_transaction_read_only = on;
ALTER ROLE otel_ratelimit_reader SET statement_timeout = '15s';

GRANT USAGE ON SCHEMA otel_ratelimit TO otel_ratelimit_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA otel_ratelimit TO otel_ratelimit_reader;
REVOKE ALL ON otel_ratelimit.hash_keys FROM otel_ratelimit_reader;
