-- name: announce
INSERT INTO otel_ratelimit.service_retention AS known (service, retention, seen_at)
VALUES (%(service)s, %(retention)s, clock_timestamp())
ON CONFLICT (service, retention) DO UPDATE SET seen_at = excluded.seen_at

-- name: seen_in_the_future
-- Announcements that the service's processes made while the clock was ahead count as made now.
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
-- Removes services whose rows have all been deleted, and retentions that only an earlier deployment of a service had.
-- Runs only after old rows were deleted: a wrong clock must not remove a service either. An announcement that was made
-- while the clock was ahead does not count as later than others.
DELETE FROM otel_ratelimit.service_retention AS said
WHERE said.seen_at < %(now)s - least(said.retention, %(longest)s) - %(margin)s
    OR EXISTS (
        SELECT FROM otel_ratelimit.service_retention AS other
        WHERE other.service = said.service
            AND other.seen_at > said.seen_at + %(superseded)s AND other.seen_at <= %(now)s
    )
