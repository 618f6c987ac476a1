-- Statements of the overview. Values of variables are in dollar quotes, as escaped regular expressions: no value
-- of a variable can end them.

-- name: clients_refused
SELECT count(DISTINCT (client, user_id)) AS "Clients"
FROM otel_ratelimit.rate_limit_analytics
WHERE $__timeFilter(occurred_at)
    AND NOT shadow
    AND (
        service ~ $match$^(?:${job:regex})\Z$match$
        OR service ~ regexp_replace($match$^(?:${job:regex})\Z$match$, '([:(|])[^|()]*\\?/', '\1', 'g')
    )
    AND tier ~ $match$^(?:${tier:regex})\Z$match$
    AND endpoint ~ $match$^(?:${route:regex})\Z$match$
