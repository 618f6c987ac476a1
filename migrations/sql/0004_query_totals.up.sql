-- Counts that a sample of the queries cannot give: how often each template ran, and which requests ran a template
-- repeatedly.

CREATE TABLE otel_ratelimit.query_totals (
    minute        timestamptz NOT NULL,
    template_hash bigint      NOT NULL,
    database      text        NOT NULL,
    n             bigint      NOT NULL CHECK (n >= 0),
    failed        bigint      NOT NULL CHECK (failed >= 0),
    dropped       bigint      NOT NULL CHECK (dropped >= 0)
);
COMMENT ON TABLE otel_ratelimit.query_totals IS
    'Every execution, sampled or not, by template and minute. Several processes write a row each: sum them.';
COMMENT ON COLUMN otel_ratelimit.query_totals.template_hash IS 'A row of query_templates; 0 for texts that found no room.';
COMMENT ON COLUMN otel_ratelimit.query_totals.database IS 'Name of the database they ran in.';
COMMENT ON COLUMN otel_ratelimit.query_totals.n IS 'Executions, failed ones included.';
COMMENT ON COLUMN otel_ratelimit.query_totals.failed IS 'Those that ended in an error.';
COMMENT ON COLUMN otel_ratelimit.query_totals.dropped IS 'Those that were to be kept in query_logs and found no room.';
CREATE INDEX query_totals_minute ON otel_ratelimit.query_totals (minute);
COMMENT ON INDEX otel_ratelimit.query_totals_minute IS
    'A period; the oldest rows, which retention deletes a chunk at a time.';

CREATE TABLE otel_ratelimit.query_repeats (
    minute        timestamptz NOT NULL,
    endpoint      text        NOT NULL,
    template_hash bigint      NOT NULL,
    requests      bigint      NOT NULL CHECK (requests > 0),
    executions    bigint      NOT NULL CHECK (executions >= requests),
    most          bigint      NOT NULL CHECK (most > 0),
    trace_id      text
);
COMMENT ON TABLE otel_ratelimit.query_repeats IS
    'Requests that ran one template again and again (N+1). Several processes write a row each: sum them.';
COMMENT ON COLUMN otel_ratelimit.query_repeats.endpoint IS 'Route template of the requests, as http.route.';
COMMENT ON COLUMN otel_ratelimit.query_repeats.template_hash IS 'A row of query_templates.';
COMMENT ON COLUMN otel_ratelimit.query_repeats.requests IS 'Requests in which it ran at least five times.';
COMMENT ON COLUMN otel_ratelimit.query_repeats.executions IS 'Its executions in those requests.';
COMMENT ON COLUMN otel_ratelimit.query_repeats.most IS 'Executions in the worst of them.';
COMMENT ON COLUMN otel_ratelimit.query_repeats.trace_id IS 'Of the worst of them, 32 hex digits.';
CREATE INDEX query_repeats_minute ON otel_ratelimit.query_repeats (minute);
COMMENT ON INDEX otel_ratelimit.query_repeats_minute IS
    'A period; the oldest rows, which retention deletes a chunk at a time.';

COMMENT ON COLUMN otel_ratelimit.query_logs.in_txn IS
    'It ran in a transaction that had written before, or whose snapshot is older than the statement: its result is not for others.';
