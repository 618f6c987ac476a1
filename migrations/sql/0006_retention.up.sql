-- How long the rows of each service are kept, since several may share these tables, and the state of deletion.

CREATE TABLE otel_ratelimit.service_retention (
    service   text        NOT NULL,
    retention interval    NOT NULL CHECK (retention > interval '0'),
    seen_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (service, retention)
);
COMMENT ON TABLE otel_ratelimit.service_retention IS
    'How long each service wants its rows kept, as its processes say once an hour. The longest of a service counts; the longest of all counts for tables without a service.';
COMMENT ON COLUMN otel_ratelimit.service_retention.service IS 'service.name of the application.';
COMMENT ON COLUMN otel_ratelimit.service_retention.retention IS '[analytics] retention of its policy.';
COMMENT ON COLUMN otel_ratelimit.service_retention.seen_at IS
    'When a process said so last. A service counts for as long as its rows are kept after that, and two days; a retention that was changed, for one day.';

CREATE TABLE otel_ratelimit.maintenance_state (
    id             boolean     PRIMARY KEY DEFAULT true CHECK (id),
    last_run_at    timestamptz NOT NULL,
    notices        integer     NOT NULL DEFAULT 0 CHECK (notices >= 0),
    last_notice_at timestamptz,
    overdue_since  timestamptz,
    overdue_at     timestamptz,
    overdue        jsonb       NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE otel_ratelimit.maintenance_state IS
    'State of the deletion of old rows; one row, none before the first run.';
COMMENT ON COLUMN otel_ratelimit.maintenance_state.last_run_at IS
    'When old rows were last searched for, by the clock of the database.';
COMMENT ON COLUMN otel_ratelimit.maintenance_state.notices IS
    'How many notices have said that rows are overdue and nothing is deleted yet; at most one a day.';
COMMENT ON COLUMN otel_ratelimit.maintenance_state.last_notice_at IS 'When the last notice was given.';
COMMENT ON COLUMN otel_ratelimit.maintenance_state.overdue_since IS 'When the first notice was given.';
COMMENT ON COLUMN otel_ratelimit.maintenance_state.overdue_at IS
    'The notices are for rows that are too old at this time. It advances with the clock, but not when the clock jumps.';
COMMENT ON COLUMN otel_ratelimit.maintenance_state.overdue IS
    'How much was too old at the first notice: table to service to rows (bytes of partitions). If it is more later, notices start again.';

CREATE INDEX rate_limit_analytics_service ON otel_ratelimit.rate_limit_analytics (service, occurred_at);
CREATE INDEX rate_limit_usage_service ON otel_ratelimit.rate_limit_usage (service, minute);
COMMENT ON INDEX otel_ratelimit.rate_limit_analytics_service IS
    'The oldest rows of a service, whose retention may be shorter than that of others.';
COMMENT ON INDEX otel_ratelimit.rate_limit_usage_service IS
    'The oldest rows of a service, whose retention may be shorter than that of others.';
