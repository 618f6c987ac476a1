-- A report's day begins and ends at midnight in a configured time zone, and its report is mailed once.

ALTER TABLE otel_ratelimit.cache_analysis_daily
    ADD COLUMN period_start timestamptz,
    ADD COLUMN period_end   timestamptz,
    ADD COLUMN time_zone    text NOT NULL DEFAULT 'UTC',
    ADD COLUMN currency     text NOT NULL DEFAULT 'USD' CHECK (currency ~ '^[A-Z]{3}$'),
    ADD COLUMN reason       text NOT NULL DEFAULT '',
    ADD COLUMN mailed_at    timestamptz;
UPDATE otel_ratelimit.cache_analysis_daily
SET period_start = analysis_date::timestamp AT TIME ZONE 'UTC',
    period_end = (analysis_date + 1)::timestamp AT TIME ZONE 'UTC';
ALTER TABLE otel_ratelimit.cache_analysis_daily
    ALTER COLUMN period_start SET NOT NULL,
    ALTER COLUMN period_end SET NOT NULL,
    ADD CHECK (period_start < period_end);
COMMENT ON COLUMN otel_ratelimit.cache_analysis_daily.analysis_date IS 'The day analysed, in its time_zone.';
COMMENT ON COLUMN otel_ratelimit.cache_analysis_daily.period_start IS 'Midnight in that zone.';
COMMENT ON COLUMN otel_ratelimit.cache_analysis_daily.period_end IS
    'The next midnight: 23 or 25 hours later where the clocks were changed.';
COMMENT ON COLUMN otel_ratelimit.cache_analysis_daily.time_zone IS 'Its name in IANA''s database.';
COMMENT ON COLUMN otel_ratelimit.cache_analysis_daily.monthly_cost IS 'Of that cache, in currency.';
COMMENT ON COLUMN otel_ratelimit.cache_analysis_daily.currency IS 'Of the configured prices, as in ISO 4217.';
COMMENT ON COLUMN otel_ratelimit.cache_analysis_daily.reason IS 'Why worthwhile is what it is.';
COMMENT ON COLUMN otel_ratelimit.cache_analysis_daily.mailed_at IS 'When a mail server took the report; null until then.';

CREATE OR REPLACE VIEW otel_ratelimit.cache_analysis_latest AS
SELECT
    analysis_date, total_queries, unique_queries, duplicate_queries, duplicate_percentage, hit_potential,
    recommended_ttl_seconds, estimated_memory_bytes, latency_saved_ms, monthly_cost, worthwhile, details,
    created_at, updated_at, period_start, period_end, time_zone, currency, reason, mailed_at
FROM otel_ratelimit.cache_analysis_daily
ORDER BY analysis_date DESC
LIMIT 1;
