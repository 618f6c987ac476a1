-- Statements of the query cache advisor. The report of a day covers a database, whichever services use it.

-- name: verdict
SELECT CASE WHEN worthwhile THEN 1 ELSE 0 END AS "Would pay" FROM otel_ratelimit.cache_analysis_latest

-- name: reason
SELECT
    analysis_date::text AS "Day",
    reason AS "Reason",
    details #>> '{cost,certainty}' AS "Certainty"
FROM otel_ratelimit.cache_analysis_latest

-- name: hit_potential
SELECT hit_potential AS "Hits" FROM otel_ratelimit.cache_analysis_latest

-- name: recommended_ttl
SELECT recommended_ttl_seconds AS "TTL" FROM otel_ratelimit.cache_analysis_latest

-- name: estimated_memory
SELECT estimated_memory_bytes AS "Memory" FROM otel_ratelimit.cache_analysis_latest

-- name: load_reduction
SELECT (details #>> '{cost,load_reduction}')::double precision AS "Load"
FROM otel_ratelimit.cache_analysis_latest

-- name: break_even
SELECT (details #>> '{cost,break_even_executions_a_day}')::double precision AS "Executions"
FROM otel_ratelimit.cache_analysis_latest

-- name: report_age
SELECT extract(epoch FROM now() - updated_at)::double precision AS "Age"
FROM otel_ratelimit.cache_analysis_latest

-- name: most_worth
-- Where nothing is worth caching: the queries that repeat most, and why they are not worth it.
WITH latest AS (
    SELECT
        details #> '{analysis,most_repeated}' AS repeated,
        jsonb_path_query_array(details, '$.analysis.most_worth[*] ? (@.advice != null)') AS worth
    FROM otel_ratelimit.cache_analysis_latest
)
SELECT
    item ->> 'template' AS "Query",
    CASE WHEN item -> 'advice' = 'null' THEN 'no' ELSE 'yes' END AS "Worth it",
    (item #>> '{advice,at,ttl_seconds}')::double precision AS "TTL",
    (item #>> '{advice,at,hit_ratio}')::double precision AS "Hits",
    (item ->> 'executions')::double precision AS "Executions",
    (item ->> 'duplicates')::double precision AS "Repeats",
    (item ->> 'mean_duration_ms')::double precision AS "Takes",
    (item #>> '{advice,at,latency_saved_ms}')::double precision AS "Saves a day",
    (item #>> '{advice,at,peak_bytes}')::double precision AS "Memory",
    CASE (item #>> '{advice,invalidate}')
        WHEN 'true' THEN 'TTL, and drop on write'
        WHEN 'false' THEN 'TTL alone'
        ELSE 'do not cache it'
    END AS "How",
    coalesce(item #>> '{advice,reason}', item ->> 'not_worth') AS "Why"
FROM
    latest,
    jsonb_array_elements(CASE WHEN worth = '[]' THEN repeated ELSE worth END) WITH ORDINALITY AS listed (item, place)
ORDER BY place
LIMIT 10

-- name: comparison
SELECT
    CASE item ->> 'name'
        WHEN 'database_queries' THEN 'Queries to the database a day'
        WHEN 'database_time' THEN 'Time of the database a day'
        WHEN 'query_time' THEN 'Time that queries take a day'
        WHEN 'memory' THEN 'Memory of the cache'
        WHEN 'monthly_cost' THEN 'Cost of the cache a month'
        WHEN 'monthly_value' THEN 'Worth of what it saves a month'
        WHEN 'monthly_balance' THEN 'Balance a month'
    END AS "What",
    (item ->> 'without_cache')::double precision AS "Without",
    (item ->> 'with_cache')::double precision AS "With",
    (item ->> 'with_cache')::double precision - (item ->> 'without_cache')::double precision AS "Difference",
    CASE item ->> 'unit' WHEN 'money' THEN currency ELSE item ->> 'unit' END AS "Unit"
FROM
    otel_ratelimit.cache_analysis_latest,
    jsonb_array_elements(
        CASE jsonb_typeof(details #> '{comparison,figures}') WHEN 'array' THEN details #> '{comparison,figures}' ELSE '[]' END
    ) WITH ORDINALITY AS listed (item, place)
ORDER BY place

-- name: hit_potential_by_day
SELECT
    period_start AS "time",
    hit_potential AS "Hits of the planned cache",
    duplicate_percentage / 100 AS "Asked before on that day"
FROM otel_ratelimit.cache_analysis_daily
WHERE $__timeFilter(period_start)
ORDER BY period_start

-- name: money_by_day
SELECT
    period_start AS "time",
    monthly_cost::double precision AS "Costs a month",
    (details #>> '{cost,monthly_benefit}')::double precision AS "Brings a month"
FROM otel_ratelimit.cache_analysis_daily
WHERE $__timeFilter(period_start)
ORDER BY period_start

-- name: memory_by_day
SELECT period_start AS "time", estimated_memory_bytes AS "Memory at the peak"
FROM otel_ratelimit.cache_analysis_daily
WHERE $__timeFilter(period_start)
ORDER BY period_start

-- name: executions_by_day
SELECT
    period_start AS "time",
    total_queries AS "A cache could answer",
    duplicate_queries AS "Asked before",
    (details #>> '{cost,break_even_executions_a_day}')::double precision AS "Break-even"
FROM otel_ratelimit.cache_analysis_daily
WHERE $__timeFilter(period_start)
ORDER BY period_start

-- name: hit_ratio_by_ttl
SELECT
    CASE
        WHEN ttl < 60 THEN ttl::double precision || ' s'
        WHEN ttl < 3600 THEN round(ttl / 60, 1)::double precision || ' min'
        ELSE round(ttl / 3600, 1)::double precision || ' h'
    END AS "TTL",
    hits AS "Writes drop nothing",
    hits_dropping AS "Writes drop what they touch"
FROM (
    SELECT
        (item ->> 'ttl_seconds')::numeric AS ttl,
        (item ->> 'hit_ratio')::double precision AS hits,
        (item ->> 'hit_ratio_dropped')::double precision AS hits_dropping
    FROM
        otel_ratelimit.cache_analysis_latest,
        jsonb_array_elements(details #> '{analysis,by_ttl}') AS item
) AS by_ttl
ORDER BY ttl

-- name: prices
SELECT item ->> 0 AS "Cache", (item ->> 1)::double precision AS "A month", currency AS "Currency"
FROM
    otel_ratelimit.cache_analysis_latest,
    jsonb_array_elements(details #> '{cost,by_price}') WITH ORDINALITY AS listed (item, place)
ORDER BY place

-- name: not_cacheable
SELECT
    CASE item ->> 'reason'
        WHEN 'writes' THEN 'it writes'
        WHEN 'no_read' THEN 'it reads nothing'
        WHEN 'volatile' THEN 'it calls now(), random() or the like'
        WHEN 'catalogue' THEN 'it reads the catalogue'
        WHEN 'no_table' THEN 'it reads no table'
        WHEN 'failed' THEN 'it failed'
        WHEN 'in_transaction' THEN 'its transaction had written'
        ELSE item ->> 'reason'
    END AS "Reason",
    (item ->> 'share')::double precision AS "Share",
    (item ->> 'executions')::double precision AS "Executions",
    item ->> 'example' AS "Example"
FROM
    otel_ratelimit.cache_analysis_latest,
    jsonb_array_elements(details #> '{analysis,not_cacheable}') AS item
ORDER BY 2 DESC

-- name: repeats
-- Rows of a version that did not record the service are shown if all Jobs are chosen.
SELECT
    CASE repeats.service WHEN '' THEN 'not known' ELSE repeats.service END AS "Service",
    repeats.endpoint AS "Route",
    coalesce(templates.template, 'not known yet') AS "Query",
    sum(repeats.requests)::bigint AS "Requests",
    sum(repeats.executions)::double precision / sum(repeats.requests) AS "In each",
    max(repeats.most) AS "In the worst",
    coalesce((array_agg(repeats.trace_id ORDER BY repeats.most DESC))[1], '') AS "Trace"
FROM otel_ratelimit.query_repeats AS repeats
LEFT JOIN otel_ratelimit.query_templates AS templates USING (template_hash)
WHERE $__timeFilter(repeats.minute)
    AND (
        repeats.service ~ $match$^(?:${job:regex})\Z$match$
        OR repeats.service ~ regexp_replace($match$^(?:${job:regex})\Z$match$, '([:(|])[^|()]*\\?/', '\1', 'g')
        OR (repeats.service = '' AND $match$${job:regex}$match$ = '.+')
    )
    AND repeats.endpoint ~ $match$^(?:${route:regex})\Z$match$
GROUP BY repeats.service, repeats.endpoint, template_hash, templates.template
ORDER BY sum(repeats.executions) DESC, repeats.service, repeats.endpoint
LIMIT 10
