-- name: services
-- The services that recorded anything in a period; with null for both ends, at any time.
SELECT service FROM otel_ratelimit.rate_limit_usage
WHERE minute >= coalesce(%(start)s::timestamptz, '-infinity') AND minute < coalesce(%(end)s::timestamptz, 'infinity')
UNION
SELECT service FROM otel_ratelimit.rate_limit_analytics
WHERE occurred_at >= coalesce(%(start)s::timestamptz, '-infinity')
    AND occurred_at < coalesce(%(end)s::timestamptz, 'infinity')
ORDER BY service

-- name: violations
-- Groups of violations; each row also has the number of groups and of violations on all pages.
WITH found AS (
    SELECT
        CASE %(group_by)s
            WHEN 'endpoint' THEN endpoint
            WHEN 'client' THEN client
            WHEN 'user' THEN coalesce(user_id, '')
            WHEN 'tier' THEN tier
            WHEN 'hour' THEN to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24":00:00Z"')
            WHEN 'day' THEN to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
        END AS key,
        n, shadow, client, endpoint, occurred_at, last_at
    FROM otel_ratelimit.rate_limit_analytics
    WHERE occurred_at >= %(start)s AND occurred_at < %(end)s
        AND (%(endpoint)s::text[] IS NULL OR endpoint = ANY(%(endpoint)s::text[]))
        AND (%(service)s::text IS NULL OR service = %(service)s)
),
groups AS (
    SELECT
        key, sum(n)::bigint AS violations, coalesce(sum(n) FILTER (WHERE shadow), 0)::bigint AS shadow,
        count(DISTINCT client) AS clients, count(DISTINCT endpoint) AS endpoints,
        min(occurred_at) AS first_at, max(last_at) AS last_at
    FROM found
    GROUP BY key
),
page AS (
    SELECT * FROM groups
    ORDER BY CASE WHEN %(group_by)s IN ('hour', 'day') THEN key END, violations DESC, key
    LIMIT %(limit)s OFFSET %(offset)s
)
-- The totals are returned even if the page is empty.
SELECT totals.groups, totals.violations, page.*
FROM (SELECT count(*) AS groups, coalesce(sum(violations), 0)::bigint AS violations FROM groups) AS totals
LEFT JOIN page ON true
ORDER BY CASE WHEN %(group_by)s IN ('hour', 'day') THEN page.key END, page.violations DESC, page.key

-- name: requests
SELECT endpoint, method, tier, decision, sum(requests)::bigint
FROM otel_ratelimit.rate_limit_usage
WHERE minute >= %(start)s AND minute < %(end)s
    AND (%(endpoint)s::text[] IS NULL OR endpoint = ANY(%(endpoint)s::text[]))
    AND (%(service)s::text IS NULL OR service = %(service)s)
GROUP BY endpoint, method, tier, decision
HAVING sum(requests) > 0
ORDER BY endpoint, method, tier, decision

-- name: limits
-- The histograms, summed: a row for each percent of each limit.
SELECT
    endpoint, method, tier, limit_text, limit_value, limit_seconds, bin.percent,
    sum(bin.requests)::bigint, sum(bin.clients)::bigint
FROM otel_ratelimit.rate_limit_usage,
    unnest(utilization, utilization_n, clients_n) AS bin (percent, requests, clients)
WHERE minute >= %(start)s AND minute < %(end)s
    AND (%(endpoint)s::text[] IS NULL OR endpoint = ANY(%(endpoint)s::text[]))
    AND (%(service)s::text IS NULL OR service = %(service)s)
GROUP BY endpoint, method, tier, limit_text, limit_value, limit_seconds, bin.percent
ORDER BY endpoint, method, tier, limit_seconds, limit_value, limit_text, bin.percent

-- name: excess
-- The number of client windows by number of refused requests. Clients that are not distinguished are left out.
SELECT endpoint, method, tier, limit_text, limit_value, limit_seconds, refused, count(*)
FROM (
    SELECT
        endpoint, method, tier, limit_text, limit_value, limit_seconds, client, user_id,
        floor(extract(epoch FROM occurred_at) / limit_seconds) AS limit_window, sum(n)::bigint AS refused
    FROM otel_ratelimit.rate_limit_analytics
    WHERE occurred_at >= %(start)s AND occurred_at < %(end)s
        AND (%(endpoint)s::text[] IS NULL OR endpoint = ANY(%(endpoint)s::text[]))
        AND (%(service)s::text IS NULL OR service = %(service)s)
        AND client <> %(others)s AND limit_seconds > 0
    GROUP BY endpoint, method, tier, limit_text, limit_value, limit_seconds, client, user_id, limit_window
) AS by_window
GROUP BY endpoint, method, tier, limit_text, limit_value, limit_seconds, refused
ORDER BY endpoint, method, tier, limit_seconds, limit_value, limit_text, refused
