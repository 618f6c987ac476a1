-- Statements of the dashboard of endpoints and limits. Each row belongs to one service, and names it: routes of several
-- services may have equal names. A job of Prometheus is the service's name, after its namespace and a slash if it has
-- one, which rows do not have.

-- name: room_by_limit
-- As otel_ratelimit.analytics.headroom: nearest-rank quantiles of the share used, refused requests as the whole limit.
WITH bins AS (
    SELECT
        service, endpoint, method, tier, limit_text, limit_value, bin.percent,
        sum(bin.requests)::bigint AS requests
    FROM otel_ratelimit.rate_limit_usage, unnest(utilization, utilization_n) AS bin (percent, requests)
    WHERE $__timeFilter(minute)
        AND (
            service ~ $match$^(?:${job:regex})\Z$match$
            OR service ~ regexp_replace($match$^(?:${job:regex})\Z$match$, '([:(|])[^|()]*\\?/', '\1', 'g')
        )
        AND tier ~ $match$^(?:${tier:regex})\Z$match$
        AND endpoint ~ $match$^(?:${route:regex})\Z$match$
    GROUP BY service, endpoint, method, tier, limit_text, limit_value, bin.percent
),
ranked AS (
    SELECT
        service, endpoint, method, tier, limit_text, limit_value, percent, requests,
        sum(requests) OVER (of_limit ORDER BY percent) AS up_to,
        sum(requests) OVER of_limit AS total
    FROM bins
    WINDOW of_limit AS (PARTITION BY service, endpoint, method, tier, limit_text, limit_value)
),
used AS (
    SELECT
        service, endpoint, method, tier, limit_text, limit_value,
        sum(requests)::bigint AS requests,
        coalesce(sum(requests) FILTER (WHERE percent > 100), 0)::bigint AS refused,
        least(min(percent) FILTER (WHERE up_to >= 0.5 * total), 100) AS p50,
        least(min(percent) FILTER (WHERE up_to >= 0.95 * total), 100) AS p95,
        least(min(percent) FILTER (WHERE up_to >= 0.99 * total), 100) AS p99,
        least(max(percent) FILTER (WHERE requests > 0), 100) AS highest
    FROM ranked
    GROUP BY service, endpoint, method, tier, limit_text, limit_value
    HAVING sum(requests) > 0
)
SELECT
    service AS "Service",
    endpoint AS "Route",
    method AS "Method",
    tier AS "Tier",
    limit_text AS "Limit",
    requests AS "Requests",
    refused AS "Refused",
    p50 / 100.0::double precision AS "Half use",
    p95 / 100.0::double precision AS "95 % use",
    p99 / 100.0::double precision AS "99 % use",
    highest / 100.0::double precision AS "Highest",
    (100 - p95) / 100.0::double precision AS "Room",
    limit_value - p95 * limit_value / 100 AS "Units left"
FROM used
ORDER BY (100 - p95), refused DESC, service, endpoint, method
LIMIT 50

-- name: limited_routes
SELECT
    service AS "Service",
    endpoint AS "Route",
    tier AS "Tier",
    coalesce(sum(n) FILTER (WHERE NOT shadow), 0)::bigint AS "Refused",
    coalesce(sum(n) FILTER (WHERE shadow), 0)::bigint AS "In shadow",
    count(DISTINCT (client, user_id)) AS "Clients",
    max(last_at) AS "Last"
FROM otel_ratelimit.rate_limit_analytics
WHERE $__timeFilter(occurred_at)
    AND (
        service ~ $match$^(?:${job:regex})\Z$match$
        OR service ~ regexp_replace($match$^(?:${job:regex})\Z$match$, '([:(|])[^|()]*\\?/', '\1', 'g')
    )
    AND tier ~ $match$^(?:${tier:regex})\Z$match$
    AND endpoint ~ $match$^(?:${route:regex})\Z$match$
GROUP BY service, endpoint, tier
ORDER BY sum(n) DESC, service, endpoint
LIMIT 20

-- name: limited_clients
SELECT
    service AS "Service",
    client AS "Client",
    coalesce(user_id, '') AS "User",
    coalesce(sum(n) FILTER (WHERE NOT shadow), 0)::bigint AS "Refused",
    coalesce(sum(n) FILTER (WHERE shadow), 0)::bigint AS "In shadow",
    count(DISTINCT endpoint) AS "Routes",
    max(last_at) AS "Last"
FROM otel_ratelimit.rate_limit_analytics
WHERE $__timeFilter(occurred_at)
    AND (
        service ~ $match$^(?:${job:regex})\Z$match$
        OR service ~ regexp_replace($match$^(?:${job:regex})\Z$match$, '([:(|])[^|()]*\\?/', '\1', 'g')
    )
    AND tier ~ $match$^(?:${tier:regex})\Z$match$
    AND endpoint ~ $match$^(?:${route:regex})\Z$match$
GROUP BY service, client, user_id
ORDER BY sum(n) DESC, service, client
LIMIT 20

-- name: refusals_by_limit
SELECT
    $__timeGroupAlias(occurred_at, '$__interval'),
    service || ', ' || tier || ': ' || limit_text AS metric,
    sum(n)::bigint AS value
FROM otel_ratelimit.rate_limit_analytics
WHERE $__timeFilter(occurred_at)
    AND (
        service ~ $match$^(?:${job:regex})\Z$match$
        OR service ~ regexp_replace($match$^(?:${job:regex})\Z$match$, '([:(|])[^|()]*\\?/', '\1', 'g')
    )
    AND tier ~ $match$^(?:${tier:regex})\Z$match$
    AND endpoint ~ $match$^(?:${route:regex})\Z$match$
GROUP BY 1, 2
ORDER BY 1

-- name: last_violations
-- The 50 that began last, which an index finds, in the order of their last occurrence.
SELECT
    last_at AS "Last",
    service AS "Service",
    endpoint AS "Route",
    method AS "Method",
    client AS "Client",
    coalesce(user_id, '') AS "User",
    tier AS "Tier",
    limit_text AS "Limit",
    current_count AS "Used",
    n AS "Times",
    CASE WHEN shadow THEN 'in shadow' ELSE 'refused' END AS "Outcome",
    coalesce(trace_id, '') AS "Trace"
FROM (
    SELECT
        last_at, service, endpoint, method, client, user_id, tier, limit_text, current_count, n, shadow, trace_id, id
    FROM otel_ratelimit.rate_limit_analytics
    WHERE $__timeFilter(occurred_at)
        AND (
            service ~ $match$^(?:${job:regex})\Z$match$
            OR service ~ regexp_replace($match$^(?:${job:regex})\Z$match$, '([:(|])[^|()]*\\?/', '\1', 'g')
        )
        AND tier ~ $match$^(?:${tier:regex})\Z$match$
        AND endpoint ~ $match$^(?:${route:regex})\Z$match$
    ORDER BY occurred_at DESC
    LIMIT 50
) AS newest
ORDER BY last_at DESC, id DESC
