-- Statements about queries of one service. {table} and {time} are a table and its column of time, see `aged_tables`.

-- name: oldest_of_service
SELECT min({time}) FROM {table}
WHERE {time} >= %(since)s AND {time} < %(before)s AND service = %(service)s

-- name: delete_of_service
DELETE FROM {table}
WHERE {time} >= %(since)s AND {time} < %(before)s AND service = %(service)s

-- name: next
SELECT min({time}) FROM {table} WHERE {time} >= %(since)s AND {time} < %(before)s

-- name: next_query_logs
-- A day with a partition counts as one with rows, because only reading all of it would tell.
SELECT min(at) FROM (
    SELECT greatest(day, %(since)s) AS at FROM unnest(%(days)s::timestamptz[]) AS day
    WHERE day + interval '24 hours' > %(since)s AND day < %(before)s
    UNION ALL
    SELECT min(ts) FROM otel_ratelimit.query_logs_default WHERE ts >= %(since)s AND ts < %(before)s
) AS rows
WHERE at < %(before)s
