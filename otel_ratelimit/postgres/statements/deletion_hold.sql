-- name: state
SELECT last_run_at, notices, last_notice_at, overdue_since, overdue_at, overdue FROM otel_ratelimit.maintenance_state

-- name: save_notices
INSERT INTO otel_ratelimit.maintenance_state AS state (
    last_run_at, notices, last_notice_at, overdue_since, overdue_at, overdue
)
VALUES (%(now)s, %(notices)s, %(last)s, %(since)s, %(at)s, %(overdue)s::jsonb)
ON CONFLICT (id) DO UPDATE SET last_run_at = excluded.last_run_at, notices = excluded.notices,
    last_notice_at = excluded.last_notice_at, overdue_since = excluded.overdue_since,
    overdue_at = excluded.overdue_at, overdue = excluded.overdue

-- name: deleted
INSERT INTO otel_ratelimit.maintenance_state AS state (last_run_at) VALUES (%(now)s)
ON CONFLICT (id) DO UPDATE SET last_run_at = excluded.last_run_at, notices = 0, last_notice_at = NULL,
    overdue_since = NULL, overdue_at = NULL, overdue = excluded.overdue

-- name: forget_state
-- As before the first run: overdue rows are announced before they are deleted.
DELETE FROM otel_ratelimit.maintenance_state
