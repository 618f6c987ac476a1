-- Statements of the plugin's health.

-- name: written_last
-- With traffic, each of these is written once a flush interval. A row of violations covers one minute, so the last one
-- is among those that began last, which an index finds.
SELECT what AS "Table", at AS "Last row", extract(epoch FROM now() - at)::double precision AS "Age"
FROM (
    SELECT 'rate_limit_usage' AS what, max(minute) AS at FROM otel_ratelimit.rate_limit_usage
    UNION ALL
    SELECT 'rate_limit_analytics', max(last_at)
    FROM otel_ratelimit.rate_limit_analytics
    WHERE occurred_at >= (SELECT max(occurred_at) FROM otel_ratelimit.rate_limit_analytics) - interval '1 minute'
    UNION ALL
    SELECT 'query_totals', max(minute) FROM otel_ratelimit.query_totals
    UNION ALL
    SELECT 'cache_analysis_daily', max(updated_at) FROM otel_ratelimit.cache_analysis_daily
) AS newest
WHERE at IS NOT NULL
ORDER BY what

-- name: table_sizes
-- Days of the query log are partitions: they count as one table.
SELECT
    coalesce(root.relname, part.relname) AS "Table",
    sum(pg_total_relation_size(part.oid))::bigint AS "Size",
    sum(greatest(part.reltuples, 0))::bigint AS "Rows"
FROM pg_class AS part
LEFT JOIN pg_inherits AS inherits ON inherits.inhrelid = part.oid
LEFT JOIN pg_class AS root ON root.oid = inherits.inhparent
WHERE part.relnamespace = to_regnamespace('otel_ratelimit') AND part.relkind = 'r'
GROUP BY 1
ORDER BY 2 DESC
LIMIT 7

-- name: last_reports
SELECT
    analysis_date::text AS "Day",
    updated_at AS "Made",
    mailed_at AS "Mailed",
    total_queries AS "Queries",
    CASE WHEN worthwhile THEN 'yes' ELSE 'no' END AS "A cache would pay"
FROM otel_ratelimit.cache_analysis_daily
ORDER BY analysis_date DESC
LIMIT 7
