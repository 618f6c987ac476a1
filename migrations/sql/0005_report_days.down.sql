-- PostgreSQL can add columns to a view but cannot remove any, so the view is dropped and created again.
DROP VIEW otel_ratelimit.cache_analysis_latest;
ALTER TABLE otel_ratelimit.cache_analysis_daily
    DROP COLUMN period_start,
    DROP COLUMN period_end,
    DROP COLUMN time_zone,
    DROP COLUMN currency,
    DROP COLUMN reason,
    DROP COLUMN mailed_at;
CREATE VIEW otel_ratelimit.cache_analysis_latest AS
SELECT
    analysis_date, total_queries, unique_queries, duplicate_queries, duplicate_percentage, hit_potential,
    recommended_ttl_seconds, estimated_memory_bytes, latency_saved_ms, monthly_cost, worthwhile, details,
    created_at, updated_at
FROM otel_ratelimit.cache_analysis_daily
ORDER BY analysis_date DESC
LIMIT 1;
COMMENT ON VIEW otel_ratelimit.cache_analysis_latest IS 'The last day of cache_analysis_daily; no row before the first.';
COMMENT ON COLUMN otel_ratelimit.cache_analysis_daily.analysis_date IS 'The day analysed, UTC.';
COMMENT ON COLUMN otel_ratelimit.cache_analysis_daily.monthly_cost IS
    'Of that cache, in the currency of the configured prices.';
