-- name: wait_for_lock
-- Another process may be applying a long step.
SET LOCAL lock_timeout = '10min';
SELECT pg_advisory_xact_lock(%(lock)s)

-- name: limit_lock_wait
-- A step that waits for a table makes everybody else wait behind it. LOCAL: a pooler gives each transaction another
-- connection, and a setting of the session would stay on it.
SET LOCAL lock_timeout = '10s'

-- name: has_version
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_class
    WHERE relnamespace = to_regnamespace('otel_ratelimit') AND relname = 'schema_version'
)

-- name: version
SELECT version_num FROM otel_ratelimit.schema_version

-- name: has_schema
SELECT to_regnamespace('otel_ratelimit') IS NOT NULL

-- name: make_schema
CREATE SCHEMA otel_ratelimit;
COMMENT ON SCHEMA otel_ratelimit IS 'Made by otel-ratelimit; removed by its downgrade.'

-- name: drop_version
DROP TABLE IF EXISTS otel_ratelimit.schema_version

-- name: schema_is_ours
-- A schema that a database administrator created stays.
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_namespace
    WHERE nspname = 'otel_ratelimit'
    AND obj_description(oid, 'pg_namespace') = 'Made by otel-ratelimit; removed by its downgrade.'
)

-- name: drop_schema
DROP SCHEMA otel_ratelimit RESTRICT
