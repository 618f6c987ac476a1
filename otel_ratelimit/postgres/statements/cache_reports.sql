-- name: save
-- A report that replaces another keeps the times when the first one was made and mailed.
INSERT INTO otel_ratelimit.cache_analysis_daily (
    analysis_date, total_queries, unique_queries, duplicate_queries, duplicate_percentage, hit_potential,
    recommended_ttl_seconds, estimated_memory_bytes, latency_saved_ms, monthly_cost, worthwhile, details,
    period_start, period_end, time_zone, currency, reason
) VALUES (
    %(analysis_date)s, %(total_queries)s, %(unique_queries)s, %(duplicate_queries)s, %(duplicate_percentage)s,
    %(hit_potential)s, %(recommended_ttl_seconds)s, %(estimated_memory_bytes)s, %(latency_saved_ms)s,
    %(monthly_cost)s, %(worthwhile)s, %(details)s::jsonb, %(period_start)s, %(period_end)s, %(time_zone)s,
    %(currency)s, %(reason)s
)
ON CONFLICT (analysis_date) DO UPDATE SET
    total_queries = excluded.total_queries,
    unique_queries = excluded.unique_queries,
    duplicate_queries = excluded.duplicate_queries,
    duplicate_percentage = excluded.duplicate_percentage,
    hit_potential = excluded.hit_potential,
    recommended_ttl_seconds = excluded.recommended_ttl_seconds,
    estimated_memory_bytes = excluded.estimated_memory_bytes,
    latency_saved_ms = excluded.latency_saved_ms,
    monthly_cost = excluded.monthly_cost,
    worthwhile = excluded.worthwhile,
    details = excluded.details,
    period_start = excluded.period_start,
    period_end = excluded.period_end,
    time_zone = excluded.time_zone,
    currency = excluded.currency,
    reason = excluded.reason,
    updated_at = now()

-- name: latest
-- A row without the report in `details` was not written by this program.
SELECT details, updated_at, mailed_at
FROM otel_ratelimit.cache_analysis_daily
WHERE analysis_date BETWEEN %(first)s AND %(last)s AND details ? 'analysis'
ORDER BY analysis_date DESC
LIMIT 1

-- name: trend
SELECT
    analysis_date, total_queries, unique_queries, duplicate_queries, duplicate_percentage, hit_potential,
    recommended_ttl_seconds, estimated_memory_bytes, latency_saved_ms, monthly_cost::double precision, worthwhile,
    currency
FROM otel_ratelimit.cache_analysis_daily
WHERE analysis_date BETWEEN %(first)s AND %(last)s
ORDER BY analysis_date

-- name: reported
-- A report without queries does not count if queries of its day have been recorded since.
SELECT analysis_date
FROM otel_ratelimit.cache_analysis_daily AS report
WHERE details #>> '{analysis,all_executions}' IS DISTINCT FROM '0'
    OR NOT EXISTS (
        SELECT FROM otel_ratelimit.query_totals WHERE minute >= report.period_start AND minute < report.period_end
    )

-- name: first_query
-- When the first query ran that is still recorded.
SELECT min(minute) FROM otel_ratelimit.query_totals

-- name: recording_began
-- The minute of the first query that is still recorded. Executions are counted when they end, so the log may have the
-- same ones with a slightly earlier time.
WITH counted AS MATERIALIZED (SELECT min(minute) AS first FROM otel_ratelimit.query_totals)
SELECT least(first, (
    SELECT date_trunc('minute', min(ts)) FROM otel_ratelimit.query_logs
    WHERE ts >= (SELECT first FROM counted) - interval '10 minutes' AND ts < (SELECT first FROM counted)
))
FROM counted

-- name: mailed
UPDATE otel_ratelimit.cache_analysis_daily SET mailed_at = now() WHERE analysis_date = %(day)s
