-- Statements about rows that are too old. {table} and {time} are a table and its column of time, see `aged_tables`.

-- name: count_by_service
SELECT r.service, count(*)
FROM {table} AS r
LEFT JOIN unnest(%(services)s::text[], %(cutoffs)s::timestamptz[]) AS kept (service, before) USING (service)
WHERE r.{time} < %(latest)s AND r.{time} < coalesce(kept.before, %(before)s)
GROUP BY r.service

-- name: count_of_all
SELECT '', count(*) FROM {table} WHERE {time} < %(before)s

-- name: partition_bytes
-- Bytes and not rows, which are too many to count: a table grows when rows are added. Of all services.
SELECT '', coalesce(sum(pg_relation_size(to_regclass('otel_ratelimit.' || name))), 0)::bigint
FROM unnest(%(partitions)s::text[]) AS name

-- name: oldest
SELECT min({time}) FROM {table} WHERE {time} < %(before)s

-- name: oldest_by_service_index
-- Rows are compared as a whole, so that PostgreSQL uses the index by service and time.
SELECT min(oldest) FROM (
    SELECT (
        SELECT {time} FROM {table} AS r
        WHERE (r.service, r.{time}) >= (kept.service, timestamptz '-infinity')
            AND (r.service, r.{time}) < (kept.service, kept.before)
        ORDER BY r.service, r.{time} LIMIT 1
    ) AS oldest
    FROM unnest(%(services)s::text[], %(cutoffs)s::timestamptz[]) AS kept (service, before)
    UNION ALL
    SELECT min({time}) FROM {table}
    WHERE {time} < %(before)s AND service <> ALL (%(services)s::text[])
) AS each

-- name: delete
DELETE FROM {table} WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM {table} WHERE {time} < %(before)s ORDER BY {time} LIMIT %(chunk)s
))

-- name: delete_by_service_index
-- The rows of each service by its own retention; those of services that nobody runs any more by the longest. Rows are
-- compared as a whole, so that PostgreSQL uses the index by service and time: with the one by time it would read all
-- rows of services that keep theirs longer.
DELETE FROM {table} WHERE ctid = ANY (ARRAY(
    SELECT old.id
    FROM unnest(%(services)s::text[], %(cutoffs)s::timestamptz[]) AS kept (service, before)
    CROSS JOIN LATERAL (
        SELECT r.ctid AS id FROM {table} AS r
        WHERE (r.service, r.{time}) >= (kept.service, timestamptz '-infinity')
            AND (r.service, r.{time}) < (kept.service, kept.before)
        ORDER BY r.service, r.{time} LIMIT %(chunk)s
    ) AS old
    UNION ALL
    (
        SELECT ctid FROM {table}
        WHERE {time} < %(before)s AND service <> ALL (%(services)s::text[])
        ORDER BY {time} LIMIT %(chunk)s
    )
    LIMIT %(chunk)s
))

-- name: delete_query_logs
-- Rows of days that never had a partition; the others are deleted with theirs.
DELETE FROM otel_ratelimit.query_logs_default WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM otel_ratelimit.query_logs_default WHERE ts < %(before)s LIMIT %(chunk)s
))

-- name: delete_query_templates
DELETE FROM otel_ratelimit.query_templates WHERE template_hash = ANY (ARRAY(
    SELECT template_hash FROM otel_ratelimit.query_templates WHERE last_seen < %(before)s LIMIT %(chunk)s
))

-- name: delete_batches
DELETE FROM otel_ratelimit.ingested_batches WHERE id = ANY (ARRAY(
    SELECT id FROM otel_ratelimit.ingested_batches
    WHERE ingested_at < %(before)s ORDER BY ingested_at LIMIT %(chunk)s
))
