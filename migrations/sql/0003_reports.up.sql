-- Tables of conclusions: one analysis a day of what a cache would have saved, and the alerts somebody has acknowledged.

CREATE TABLE otel_ratelimit.cache_analysis_daily (
    analysis_date           date             PRIMARY KEY,
    total_queries           bigint           NOT NULL CHECK (total_queries >= 0),
    unique_queries          bigint           NOT NULL CHECK (unique_queries >= 0),
    duplicate_queries       bigint           NOT NULL CHECK (duplicate_queries >= 0),
    duplicate_percentage    double precision NOT NULL CHECK (duplicate_percentage BETWEEN 0 AND 100),
    hit_potential           double precision NOT NULL CHECK (hit_potential BETWEEN 0 AND 1),
    recommended_ttl_seconds double precision CHECK (recommended_ttl_seconds > 0),
    estimated_memory_bytes  bigint           NOT NULL CHECK (estimated_memory_bytes >= 0),
    latency_saved_ms        double precision NOT NULL,
    monthly_cost            numeric(14, 2)   NOT NULL,
    worthwhile              boolean          NOT NULL,
    details                 jsonb            NOT NULL DEFAULT '{}',
    created_at              timestamptz      NOT NULL DEFAULT now(),
    updated_at              timestamptz      NOT NULL DEFAULT now()
);
COMMENT ON TABLE otel_ratelimit.cache_analysis_daily IS
    'What caching the queries of one day would have brought. A day that is analysed again replaces its row.';
COMMENT ON COLUMN otel_ratelimit.cache_analysis_daily.analysis_date IS 'The day analysed, UTC.';
COMMENT ON COLUMN otel_ratelimit.cache_analysis_daily.total_queries IS 'Executions that a cache could answer, estimated from the sample.';
COMMENT ON COLUMN otel_ratelimit.cache_analysis_daily.unique_queries IS 'Different execution keys among them.';
COMMENT ON COLUMN otel_ratelimit.cache_analysis_daily.duplicate_queries IS 'Executions whose key had been executed before on that day.';
COMMENT ON COLUMN otel_ratelimit.cache_analysis_daily.duplicate_percentage IS 'Of total_queries, 0 to 100.';
COMMENT ON COLUMN otel_ratelimit.cache_analysis_daily.hit_potential IS 'Share of executions that a cache with the recommended TTL would have answered, 0 to 1.';
COMMENT ON COLUMN otel_ratelimit.cache_analysis_daily.recommended_ttl_seconds IS 'Null where no TTL pays.';
COMMENT ON COLUMN otel_ratelimit.cache_analysis_daily.estimated_memory_bytes IS 'Peak of that cache.';
COMMENT ON COLUMN otel_ratelimit.cache_analysis_daily.latency_saved_ms IS 'Milliseconds saved over the day, all queries together; negative where a cache would cost time.';
COMMENT ON COLUMN otel_ratelimit.cache_analysis_daily.monthly_cost IS 'Of that cache, in the currency of the configured prices.';
COMMENT ON COLUMN otel_ratelimit.cache_analysis_daily.worthwhile IS 'Whether it would pay.';
COMMENT ON COLUMN otel_ratelimit.cache_analysis_daily.details IS 'The reason, intervals, hit ratio by TTL, top queries.';

CREATE VIEW otel_ratelimit.cache_analysis_latest AS
SELECT
    analysis_date, total_queries, unique_queries, duplicate_queries, duplicate_percentage, hit_potential,
    recommended_ttl_seconds, estimated_memory_bytes, latency_saved_ms, monthly_cost, worthwhile, details,
    created_at, updated_at
FROM otel_ratelimit.cache_analysis_daily
ORDER BY analysis_date DESC
LIMIT 1;
COMMENT ON VIEW otel_ratelimit.cache_analysis_latest IS 'The last day of cache_analysis_daily; no row before the first.';

CREATE TABLE otel_ratelimit.alert_acknowledgements (
    id              bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint     text        NOT NULL CHECK (fingerprint <> ''),
    alert_name      text        NOT NULL,
    labels          jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(labels) = 'object'),
    acknowledged_by text        NOT NULL,
    comment         text        NOT NULL DEFAULT '',
    acknowledged_at timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz CHECK (expires_at > acknowledged_at),
    withdrawn_at    timestamptz CHECK (withdrawn_at >= acknowledged_at),
    withdrawn_by    text,
    CHECK ((withdrawn_at IS NULL) = (withdrawn_by IS NULL))
);
COMMENT ON TABLE otel_ratelimit.alert_acknowledgements IS
    'Who looks after which alert. Kept when withdrawn, so that one can see who did what.';
COMMENT ON COLUMN otel_ratelimit.alert_acknowledgements.fingerprint IS 'Of the alert''s labels: equal labels, equal fingerprint.';
COMMENT ON COLUMN otel_ratelimit.alert_acknowledgements.alert_name IS 'The label alertname.';
COMMENT ON COLUMN otel_ratelimit.alert_acknowledgements.labels IS 'The alert''s labels, names to values.';
COMMENT ON COLUMN otel_ratelimit.alert_acknowledgements.acknowledged_by IS 'As the caller names themselves.';
COMMENT ON COLUMN otel_ratelimit.alert_acknowledgements.expires_at IS 'When it expires; null: it is valid until withdrawn.';
COMMENT ON COLUMN otel_ratelimit.alert_acknowledgements.withdrawn_at IS 'When it was withdrawn; null while it is valid.';
CREATE UNIQUE INDEX alert_acknowledgements_standing
    ON otel_ratelimit.alert_acknowledgements (fingerprint) WHERE withdrawn_at IS NULL;
COMMENT ON INDEX otel_ratelimit.alert_acknowledgements_standing IS
    'At most one is not withdrawn for each alert; finds it, expired or not.';
