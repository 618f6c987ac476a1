-- Tables of decisions: one for refusals with client and route, one that sums up every decision by the minute.

CREATE TABLE otel_ratelimit.rate_limit_analytics (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    occurred_at   timestamptz NOT NULL,
    last_at       timestamptz NOT NULL,
    service       text        NOT NULL,
    endpoint      text        NOT NULL,
    method        text        NOT NULL,
    client        text        NOT NULL,
    user_id       text,
    tier          text        NOT NULL,
    limit_text    text        NOT NULL,
    limit_value   bigint      NOT NULL,
    limit_seconds bigint      NOT NULL,
    current_count bigint      NOT NULL,
    user_agent    text,
    trace_id      text,
    shadow        boolean     NOT NULL,
    n             bigint      NOT NULL CHECK (n > 0),
    CHECK (last_at >= occurred_at)
);
COMMENT ON TABLE otel_ratelimit.rate_limit_analytics IS
    'Violations: requests that a limit refused, or would have in shadow. Equal ones within a minute share a row.';
COMMENT ON COLUMN otel_ratelimit.rate_limit_analytics.occurred_at IS 'The first of the row''s violations.';
COMMENT ON COLUMN otel_ratelimit.rate_limit_analytics.last_at IS 'The last of them.';
COMMENT ON COLUMN otel_ratelimit.rate_limit_analytics.service IS 'service.name of the application.';
COMMENT ON COLUMN otel_ratelimit.rate_limit_analytics.endpoint IS 'Route template, as http.route; <unmatched> for requests that matched none.';
COMMENT ON COLUMN otel_ratelimit.rate_limit_analytics.client IS 'Address: whole, masked or hashed by [analytics] client_addresses; <other> for those beyond what is told apart in a minute.';
COMMENT ON COLUMN otel_ratelimit.rate_limit_analytics.user_id IS 'The verified user, if there was one.';
COMMENT ON COLUMN otel_ratelimit.rate_limit_analytics.limit_text IS 'The limit that refused: 10 per 1 minute.';
COMMENT ON COLUMN otel_ratelimit.rate_limit_analytics.limit_value IS 'Its amount, units.';
COMMENT ON COLUMN otel_ratelimit.rate_limit_analytics.limit_seconds IS 'Its window, seconds.';
COMMENT ON COLUMN otel_ratelimit.rate_limit_analytics.current_count IS 'Units used when it refused; the highest of the row''s violations.';
COMMENT ON COLUMN otel_ratelimit.rate_limit_analytics.user_agent IS 'Of the first, cut to 256 characters.';
COMMENT ON COLUMN otel_ratelimit.rate_limit_analytics.trace_id IS 'Of the first, 32 hex digits.';
COMMENT ON COLUMN otel_ratelimit.rate_limit_analytics.shadow IS 'Only observed; the request was let through.';
COMMENT ON COLUMN otel_ratelimit.rate_limit_analytics.n IS 'How many violations the row stands for.';

CREATE TABLE otel_ratelimit.rate_limit_usage (
    minute        timestamptz NOT NULL,
    service       text        NOT NULL,
    endpoint      text        NOT NULL,
    method        text        NOT NULL,
    tier          text        NOT NULL,
    decision      text        NOT NULL
        CHECK (decision IN ('allowed', 'blocked', 'shadow_blocked', 'exempt', 'error')),
    limit_text    text        NOT NULL,
    limit_value   bigint      NOT NULL,
    limit_seconds bigint      NOT NULL,
    requests      bigint      NOT NULL CHECK (requests >= 0),
    utilization   smallint[]  NOT NULL,
    utilization_n bigint[]    NOT NULL,
    clients_n     bigint[]    NOT NULL,
    CHECK (cardinality(utilization) = cardinality(utilization_n)),
    CHECK (cardinality(utilization) = cardinality(clients_n))
);
COMMENT ON TABLE otel_ratelimit.rate_limit_usage IS
    'Decisions summed up by minute, endpoint, tier, decision and limit. Several processes write a row each: sum them.';
COMMENT ON COLUMN otel_ratelimit.rate_limit_usage.decision IS 'As the attribute otel_ratelimit.decision.';
COMMENT ON COLUMN otel_ratelimit.rate_limit_usage.limit_text IS 'Empty where no limit was measured: exempt, or the store failed.';
COMMENT ON COLUMN otel_ratelimit.rate_limit_usage.requests IS 'Requests that this limit decided or was the tightest of; each request stands in one row, so the sum is the number of requests.';
COMMENT ON COLUMN otel_ratelimit.rate_limit_usage.utilization IS 'Histogram: share of the limit used after a request, percent rounded up, 0 to 100; 101 where the limit refused it.';
COMMENT ON COLUMN otel_ratelimit.rate_limit_usage.utilization_n IS 'Requests measured at that share, whether or not this limit was the tightest.';
COMMENT ON COLUMN otel_ratelimit.rate_limit_usage.clients_n IS 'Of those, how many were the first of their client in its window to reach that share.';

-- The secret of keyed hashes. The role that dashboards read with may not read it.
CREATE TABLE otel_ratelimit.hash_keys (
    id         integer     GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    secret     bytea       NOT NULL CHECK (octet_length(secret) >= 32),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE otel_ratelimit.hash_keys IS 'Secrets of keyed hashes; not for readers of dashboards.';
REVOKE ALL ON otel_ratelimit.hash_keys FROM PUBLIC;

-- A batch is sent again if its answer was lost; it must not count twice.
CREATE TABLE otel_ratelimit.ingested_batches (
    id          uuid        PRIMARY KEY,
    ingested_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE otel_ratelimit.ingested_batches IS 'Batches already written, so that one sent twice counts once.';

CREATE INDEX rate_limit_analytics_occurred_at ON otel_ratelimit.rate_limit_analytics (occurred_at);
CREATE INDEX rate_limit_analytics_endpoint ON otel_ratelimit.rate_limit_analytics (endpoint, occurred_at);
CREATE INDEX rate_limit_analytics_client ON otel_ratelimit.rate_limit_analytics (client, occurred_at);
CREATE INDEX rate_limit_usage_minute ON otel_ratelimit.rate_limit_usage (minute);
CREATE INDEX rate_limit_usage_endpoint ON otel_ratelimit.rate_limit_usage (endpoint, minute);
COMMENT ON INDEX otel_ratelimit.rate_limit_analytics_occurred_at IS 'A period over all endpoints; the oldest rows, which retention deletes a chunk at a time.';
COMMENT ON INDEX otel_ratelimit.rate_limit_analytics_endpoint IS 'A period of one endpoint.';
COMMENT ON INDEX otel_ratelimit.rate_limit_analytics_client IS 'What one client ran into.';
COMMENT ON INDEX otel_ratelimit.rate_limit_usage_minute IS 'A period over all endpoints; the oldest rows, which retention deletes a chunk at a time.';
COMMENT ON INDEX otel_ratelimit.rate_limit_usage_endpoint IS 'A period of one endpoint.';

CREATE INDEX ingested_batches_ingested_at ON otel_ratelimit.ingested_batches (ingested_at);
COMMENT ON INDEX otel_ratelimit.ingested_batches_ingested_at IS 'Batches of more than a day ago, which are forgotten.';

COMMENT ON TABLE otel_ratelimit.schema_version IS 'The last migration that was carried out.';
