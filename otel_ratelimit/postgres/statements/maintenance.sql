-- name: begin
-- Whatever the session is set to, rows that arrived meanwhile are seen, and a table in use is left alone rather than
-- waited for, because writers would wait behind us.
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
SET LOCAL lock_timeout = '1s';
SET LOCAL statement_timeout = %(milliseconds)s

-- name: clock
SELECT clock_timestamp()

-- name: partitions
SELECT child.relname
FROM pg_catalog.pg_inherits
JOIN pg_catalog.pg_class AS child ON child.oid = inhrelid
WHERE inhparent = to_regclass('otel_ratelimit.query_logs')
ORDER BY child.relname

-- name: make_default_partition
CREATE TABLE otel_ratelimit.query_logs_default PARTITION OF otel_ratelimit.query_logs DEFAULT;
COMMENT ON TABLE otel_ratelimit.query_logs_default IS
    'Rows of days that have no partition yet; maintenance moves them to one.'

-- name: days_without_partition
SELECT DISTINCT (ts AT TIME ZONE 'UTC')::date AS day
FROM otel_ratelimit.query_logs_default
WHERE ts >= %(start)s AND ts < %(end)s
ORDER BY day

-- name: make_partition
-- Not CREATE ... PARTITION OF, which locks readers out. The constraint saves ATTACH a look at every row.
CREATE TABLE {partition} (LIKE otel_ratelimit.query_logs INCLUDING ALL);
ALTER TABLE {partition} ADD CONSTRAINT day CHECK (ts >= %(start)s AND ts < %(end)s)

-- name: move_rows
WITH moved AS (
    DELETE FROM otel_ratelimit.query_logs_default WHERE ts >= %(start)s AND ts < %(end)s
    RETURNING *
)
INSERT INTO {partition} SELECT * FROM moved

-- name: hold_writers
-- A writer that had chosen the default partition before and writes after ATTACH would be refused; so none may be
-- under way. Those who come now wait here, and then find the new partition.
LOCK TABLE ONLY otel_ratelimit.query_logs IN SHARE ROW EXCLUSIVE MODE

-- name: attach_partition
ALTER TABLE otel_ratelimit.query_logs ATTACH PARTITION {partition} FOR VALUES FROM (%(start)s) TO (%(end)s);
ALTER TABLE {partition} DROP CONSTRAINT day

-- name: drop_partition
DROP TABLE {partition}

-- name: delete_rate_limit_analytics
-- Those of each service by its own retention; those of services that nobody runs any more by the longest. Rows are
-- compared as a whole, because only the index by service answers that: the one by time would be read through all rows
-- of services that keep theirs longer.
DELETE FROM otel_ratelimit.rate_limit_analytics WHERE ctid = ANY (ARRAY(
    SELECT old.id
    FROM unnest(%(services)s::text[], %(cutoffs)s::timestamptz[]) AS kept (service, before)
    CROSS JOIN LATERAL (
        SELECT r.ctid AS id FROM otel_ratelimit.rate_limit_analytics AS r
        WHERE (r.service, r.occurred_at) >= (kept.service, timestamptz '-infinity')
            AND (r.service, r.occurred_at) < (kept.service, kept.before)
        ORDER BY r.service, r.occurred_at LIMIT %(chunk)s
    ) AS old
    UNION ALL
    (
        SELECT ctid FROM otel_ratelimit.rate_limit_analytics
        WHERE occurred_at < %(before)s AND service <> ALL (%(services)s::text[])
        ORDER BY occurred_at LIMIT %(chunk)s
    )
    LIMIT %(chunk)s
))

-- name: delete_rate_limit_usage
-- Those of each service by its own retention; those of services that nobody runs any more by the longest. Rows are
-- compared as a whole, because only the index by service answers that: the one by time would be read through all rows
-- of services that keep theirs longer.
DELETE FROM otel_ratelimit.rate_limit_usage WHERE ctid = ANY (ARRAY(
    SELECT old.id
    FROM unnest(%(services)s::text[], %(cutoffs)s::timestamptz[]) AS kept (service, before)
    CROSS JOIN LATERAL (
        SELECT r.ctid AS id FROM otel_ratelimit.rate_limit_usage AS r
        WHERE (r.service, r.minute) >= (kept.service, timestamptz '-infinity')
            AND (r.service, r.minute) < (kept.service, kept.before)
        ORDER BY r.service, r.minute LIMIT %(chunk)s
    ) AS old
    UNION ALL
    (
        SELECT ctid FROM otel_ratelimit.rate_limit_usage
        WHERE minute < %(before)s AND service <> ALL (%(services)s::text[])
        ORDER BY minute LIMIT %(chunk)s
    )
    LIMIT %(chunk)s
))

-- name: delete_table_writes
DELETE FROM otel_ratelimit.table_writes WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM otel_ratelimit.table_writes
    WHERE minute < %(before)s ORDER BY minute LIMIT %(chunk)s
))

-- name: delete_query_totals
DELETE FROM otel_ratelimit.query_totals WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM otel_ratelimit.query_totals
    WHERE minute < %(before)s ORDER BY minute LIMIT %(chunk)s
))

-- name: delete_query_repeats
DELETE FROM otel_ratelimit.query_repeats WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM otel_ratelimit.query_repeats
    WHERE minute < %(before)s ORDER BY minute LIMIT %(chunk)s
))

-- name: delete_query_logs
-- Those of days that never had a partition; the others go with theirs.
DELETE FROM otel_ratelimit.query_logs_default WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM otel_ratelimit.query_logs_default WHERE ts < %(before)s LIMIT %(chunk)s
))

-- name: delete_query_templates
DELETE FROM otel_ratelimit.query_templates WHERE template_hash = ANY (ARRAY(
    SELECT template_hash FROM otel_ratelimit.query_templates WHERE last_seen < %(before)s LIMIT %(chunk)s
))

-- name: delete_ingested_batches
DELETE FROM otel_ratelimit.ingested_batches WHERE id = ANY (ARRAY(
    SELECT id FROM otel_ratelimit.ingested_batches
    WHERE ingested_at < %(before)s ORDER BY ingested_at LIMIT %(chunk)s
))

-- name: delete_table_writes_of_service
DELETE FROM otel_ratelimit.table_writes
WHERE minute >= %(since)s AND minute < %(before)s AND service = %(service)s

-- name: delete_query_totals_of_service
DELETE FROM otel_ratelimit.query_totals
WHERE minute >= %(since)s AND minute < %(before)s AND service = %(service)s

-- name: delete_query_repeats_of_service
DELETE FROM otel_ratelimit.query_repeats
WHERE minute >= %(since)s AND minute < %(before)s AND service = %(service)s

-- name: delete_query_logs_of_service
DELETE FROM otel_ratelimit.query_logs
WHERE ts >= %(since)s AND ts < %(before)s AND service = %(service)s
