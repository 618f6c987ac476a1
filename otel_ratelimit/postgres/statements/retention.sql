-- name: announce
INSERT INTO otel_ratelimit.service_retention AS known (service, retention, seen_at)
VALUES (%(service)s, %(retention)s, clock_timestamp())
ON CONFLICT (service, retention) DO UPDATE SET seen_at = excluded.seen_at

-- name: seen_in_the_future
-- What the service's processes have said while the clock was ahead: they have said it by now.
UPDATE otel_ratelimit.service_retention SET seen_at = clock_timestamp()
WHERE service = %(service)s AND seen_at > clock_timestamp()

-- name: retentions
SELECT
    service, max(retention),
    CASE WHEN count(queries_deleted_before) = count(*) THEN min(queries_deleted_before) END
FROM otel_ratelimit.service_retention
GROUP BY service
ORDER BY service

-- name: queries_deleted
UPDATE otel_ratelimit.service_retention SET queries_deleted_before = %(before)s WHERE service = %(service)s

-- name: forget
-- Services whose rows have all gone, and retentions that only an earlier deployment of a service had. Only where old
-- rows were deleted: a clock that is wrong must not make a service be forgotten either. What was said while the clock
-- was ahead is no later word than others.
DELETE FROM otel_ratelimit.service_retention AS said
WHERE said.seen_at < %(now)s - least(said.retention, %(longest)s) - %(margin)s
    OR EXISTS (
        SELECT FROM otel_ratelimit.service_retention AS other
        WHERE other.service = said.service
            AND other.seen_at > said.seen_at + %(superseded)s AND other.seen_at <= %(now)s
    )

-- name: state
SELECT last_run_at, notices, last_notice_at, overdue_since, overdue_at, overdue FROM otel_ratelimit.maintenance_state

-- name: held
INSERT INTO otel_ratelimit.maintenance_state AS state (
    last_run_at, notices, last_notice_at, overdue_since, overdue_at, overdue
)
VALUES (%(now)s, %(notices)s, %(last)s, %(since)s, %(at)s, %(overdue)s::jsonb)
ON CONFLICT (id) DO UPDATE SET last_run_at = excluded.last_run_at, notices = excluded.notices,
    last_notice_at = excluded.last_notice_at, overdue_since = excluded.overdue_since,
    overdue_at = excluded.overdue_at, overdue = excluded.overdue

-- name: looked_through
INSERT INTO otel_ratelimit.maintenance_state AS state (last_run_at) VALUES (%(now)s)
ON CONFLICT (id) DO UPDATE SET last_run_at = excluded.last_run_at, notices = 0, last_notice_at = NULL,
    overdue_since = NULL, overdue_at = NULL, overdue = excluded.overdue

-- name: not_looked_through
-- As before the first run: what is old is said before it is deleted.
DELETE FROM otel_ratelimit.maintenance_state

-- name: amount_rate_limit_analytics
SELECT r.service, count(*)
FROM otel_ratelimit.rate_limit_analytics AS r
LEFT JOIN unnest(%(services)s::text[], %(cutoffs)s::timestamptz[]) AS kept (service, before) USING (service)
WHERE r.occurred_at < %(latest)s AND r.occurred_at < coalesce(kept.before, %(before)s)
GROUP BY r.service

-- name: amount_rate_limit_usage
SELECT r.service, count(*)
FROM otel_ratelimit.rate_limit_usage AS r
LEFT JOIN unnest(%(services)s::text[], %(cutoffs)s::timestamptz[]) AS kept (service, before) USING (service)
WHERE r.minute < %(latest)s AND r.minute < coalesce(kept.before, %(before)s)
GROUP BY r.service

-- name: amount_table_writes
SELECT r.service, count(*)
FROM otel_ratelimit.table_writes AS r
LEFT JOIN unnest(%(services)s::text[], %(cutoffs)s::timestamptz[]) AS kept (service, before) USING (service)
WHERE r.minute < %(latest)s AND r.minute < coalesce(kept.before, %(before)s)
GROUP BY r.service

-- name: amount_query_totals
SELECT r.service, count(*)
FROM otel_ratelimit.query_totals AS r
LEFT JOIN unnest(%(services)s::text[], %(cutoffs)s::timestamptz[]) AS kept (service, before) USING (service)
WHERE r.minute < %(latest)s AND r.minute < coalesce(kept.before, %(before)s)
GROUP BY r.service

-- name: amount_query_repeats
SELECT r.service, count(*)
FROM otel_ratelimit.query_repeats AS r
LEFT JOIN unnest(%(services)s::text[], %(cutoffs)s::timestamptz[]) AS kept (service, before) USING (service)
WHERE r.minute < %(latest)s AND r.minute < coalesce(kept.before, %(before)s)
GROUP BY r.service

-- name: amount_query_logs
-- Of days without a partition; the others are weighed.
SELECT r.service, count(*)
FROM otel_ratelimit.query_logs_default AS r
LEFT JOIN unnest(%(services)s::text[], %(cutoffs)s::timestamptz[]) AS kept (service, before) USING (service)
WHERE r.ts < %(latest)s AND r.ts < coalesce(kept.before, %(before)s)
GROUP BY r.service

-- name: amount_query_templates
SELECT '', count(*) FROM otel_ratelimit.query_templates WHERE last_seen < %(before)s

-- name: amount_partitions
-- Bytes rather than rows, which are too many to count: a table grows where rows are put into it. Of all services.
SELECT '', coalesce(sum(pg_relation_size(to_regclass('otel_ratelimit.' || name))), 0)::bigint
FROM unnest(%(partitions)s::text[]) AS name

-- name: oldest_rate_limit_analytics
SELECT min(oldest) FROM (
    SELECT (
        SELECT occurred_at FROM otel_ratelimit.rate_limit_analytics AS r
        WHERE (r.service, r.occurred_at) >= (kept.service, timestamptz '-infinity')
            AND (r.service, r.occurred_at) < (kept.service, kept.before)
        ORDER BY r.service, r.occurred_at LIMIT 1
    ) AS oldest
    FROM unnest(%(services)s::text[], %(cutoffs)s::timestamptz[]) AS kept (service, before)
    UNION ALL
    SELECT min(occurred_at) FROM otel_ratelimit.rate_limit_analytics
    WHERE occurred_at < %(before)s AND service <> ALL (%(services)s::text[])
) AS each

-- name: oldest_rate_limit_usage
SELECT min(oldest) FROM (
    SELECT (
        SELECT minute FROM otel_ratelimit.rate_limit_usage AS r
        WHERE (r.service, r.minute) >= (kept.service, timestamptz '-infinity')
            AND (r.service, r.minute) < (kept.service, kept.before)
        ORDER BY r.service, r.minute LIMIT 1
    ) AS oldest
    FROM unnest(%(services)s::text[], %(cutoffs)s::timestamptz[]) AS kept (service, before)
    UNION ALL
    SELECT min(minute) FROM otel_ratelimit.rate_limit_usage
    WHERE minute < %(before)s AND service <> ALL (%(services)s::text[])
) AS each

-- name: oldest_table_writes
SELECT min(minute) FROM otel_ratelimit.table_writes WHERE minute < %(before)s

-- name: oldest_query_totals
SELECT min(minute) FROM otel_ratelimit.query_totals WHERE minute < %(before)s

-- name: oldest_query_repeats
SELECT min(minute) FROM otel_ratelimit.query_repeats WHERE minute < %(before)s

-- name: oldest_query_logs
SELECT min(ts) FROM otel_ratelimit.query_logs_default WHERE ts < %(before)s

-- name: oldest_query_templates
SELECT min(last_seen) FROM otel_ratelimit.query_templates WHERE last_seen < %(before)s

-- name: oldest_table_writes_of_service
SELECT min(minute) FROM otel_ratelimit.table_writes
WHERE minute >= %(since)s AND minute < %(before)s AND service = %(service)s

-- name: oldest_query_totals_of_service
SELECT min(minute) FROM otel_ratelimit.query_totals
WHERE minute >= %(since)s AND minute < %(before)s AND service = %(service)s

-- name: oldest_query_repeats_of_service
SELECT min(minute) FROM otel_ratelimit.query_repeats
WHERE minute >= %(since)s AND minute < %(before)s AND service = %(service)s

-- name: oldest_query_logs_of_service
SELECT min(ts) FROM otel_ratelimit.query_logs
WHERE ts >= %(since)s AND ts < %(before)s AND service = %(service)s

-- name: next_table_writes
SELECT min(minute) FROM otel_ratelimit.table_writes WHERE minute >= %(since)s AND minute < %(before)s

-- name: next_query_totals
SELECT min(minute) FROM otel_ratelimit.query_totals WHERE minute >= %(since)s AND minute < %(before)s

-- name: next_query_repeats
SELECT min(minute) FROM otel_ratelimit.query_repeats WHERE minute >= %(since)s AND minute < %(before)s

-- name: next_query_logs
-- A day with a partition counts as one with rows: only reading it all would tell.
SELECT min(at) FROM (
    SELECT greatest(day, %(since)s) AS at FROM unnest(%(days)s::timestamptz[]) AS day
    WHERE day + interval '24 hours' > %(since)s AND day < %(before)s
    UNION ALL
    SELECT min(ts) FROM otel_ratelimit.query_logs_default WHERE ts >= %(since)s AND ts < %(before)s
) AS rows
WHERE at < %(before)s
