-- name: begin
-- All statements see the same snapshot, whatever is written meanwhile.
-- The time limits of the application's transactions do not apply here, because one connection waits for the other, and
-- both wait for the analysis. They are set here, because a pooler may not allow them when connecting.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL work_mem = %(work_memory)s;
SET LOCAL statement_timeout = %(longest_ms)s;
SET LOCAL idle_in_transaction_session_timeout = 0

-- name: no_transaction_timeout
-- The setting exists since PostgreSQL 17.
SELECT set_config(name, '0', true) FROM pg_settings WHERE name = 'transaction_timeout'

-- name: snapshot
-- For a second connection with the same snapshot.
SELECT pg_export_snapshot()

-- name: templates
-- Templates with the mean size of their results. The size is measured for one result in four if the query took less than
-- a millisecond, and for every result if it took longer; each measured result is weighted accordingly.
SELECT
    coalesce(l.template_hash, c.template_hash), coalesce(l.database, c.database),
    coalesce(t.template, ''), coalesce(t.operation, l.op, 'other'), coalesce(t.tables, '{}'),
    coalesce(l.mean_bytes, 0), coalesce(l.lowest_rate, 1), coalesce(c.n, -1), coalesce(c.failed, 0), coalesce(c.dropped, 0)
FROM (
    SELECT
        template_hash, database, min(op) AS op,
        sum(result_bytes * CASE WHEN duration_us < 1000 THEN 4 ELSE 1 END / sample_rate)
            / nullif(sum(CASE WHEN duration_us < 1000 THEN 4 ELSE 1 END / sample_rate)
                FILTER (WHERE result_bytes IS NOT NULL), 0) AS mean_bytes,
        min(sample_rate) FILTER (WHERE tier = 'cold') AS lowest_rate
    FROM otel_ratelimit.query_logs
    WHERE ts >= %(start)s AND ts < %(end)s AND (%(service)s::text IS NULL OR service = %(service)s)
    GROUP BY template_hash, database
) AS l
FULL JOIN (
    SELECT
        template_hash, database, sum(n)::bigint AS n, sum(failed)::bigint AS failed, sum(dropped)::bigint AS dropped
    FROM otel_ratelimit.query_totals
    WHERE minute >= %(start)s AND minute < %(end)s AND (%(service)s::text IS NULL OR service = %(service)s)
    GROUP BY template_hash, database
) AS c USING (template_hash, database)
LEFT JOIN otel_ratelimit.query_templates AS t ON t.template_hash = coalesce(l.template_hash, c.template_hash)
ORDER BY 1, 2

-- name: writes
-- Of all services: a cached result is stale whichever service has written the table.
SELECT database, table_name, extract(epoch FROM minute)::bigint, sum(n)::bigint
FROM otel_ratelimit.table_writes
WHERE minute >= %(start)s AND minute < %(end)s
GROUP BY database, table_name, minute
ORDER BY database, table_name, minute

-- name: cold
-- Rows of keys that were never hot, by key and time; no column is ever null, so that all rows have the same length.
COPY (
    WITH hot AS MATERIALIZED (
        SELECT DISTINCT key_hash FROM otel_ratelimit.query_logs
        WHERE ts >= %(start)s AND ts < %(end)s AND tier = 'hot'
            AND (%(service)s::text IS NULL OR service = %(service)s)
    )
    SELECT
        l.key_hash, l.ts, l.template_hash, array_position(%(databases)s::text[], l.database)::integer,
        least(l.n, 2147483647)::integer, l.sample_rate::double precision, least(l.duration_us, 2147483647)::integer,
        least(coalesce(l.result_bytes, -1), 2147483647)::integer,
        (CASE l.tier WHEN 'hot' THEN 1 ELSE 0 END + CASE WHEN l.is_write THEN 2 ELSE 0 END
            + CASE WHEN l.volatile THEN 4 ELSE 0 END + CASE WHEN l.in_txn THEN 8 ELSE 0 END
            + CASE l.status WHEN 'ok' THEN 0 ELSE 16 END)::integer
    FROM otel_ratelimit.query_logs AS l
    WHERE l.ts >= %(start)s AND l.ts < %(end)s AND NOT EXISTS (SELECT FROM hot WHERE hot.key_hash = l.key_hash)
        AND (%(service)s::text IS NULL OR l.service = %(service)s)
    ORDER BY l.key_hash, l.ts
) TO STDOUT (FORMAT binary)

-- name: hot
-- All rows of the other keys, by time. If a row stands for several executions, ts is the beginning of a second.
COPY (
    WITH hot AS MATERIALIZED (
        SELECT DISTINCT key_hash FROM otel_ratelimit.query_logs
        WHERE ts >= %(start)s AND ts < %(end)s AND tier = 'hot'
            AND (%(service)s::text IS NULL OR service = %(service)s)
    )
    SELECT
        l.key_hash, l.ts, l.template_hash, array_position(%(databases)s::text[], l.database)::integer,
        least(l.n, 2147483647)::integer, l.sample_rate::double precision, least(l.duration_us, 2147483647)::integer,
        least(coalesce(l.result_bytes, -1), 2147483647)::integer,
        (CASE l.tier WHEN 'hot' THEN 1 ELSE 0 END + CASE WHEN l.is_write THEN 2 ELSE 0 END
            + CASE WHEN l.volatile THEN 4 ELSE 0 END + CASE WHEN l.in_txn THEN 8 ELSE 0 END
            + CASE l.status WHEN 'ok' THEN 0 ELSE 16 END)::integer,
        coalesce(nullif(l.buckets, '{}'), ARRAY[least(l.n, 2147483647)::integer])
    FROM otel_ratelimit.query_logs AS l
    WHERE l.ts >= %(start)s AND l.ts < %(end)s AND EXISTS (SELECT FROM hot WHERE hot.key_hash = l.key_hash)
        AND (%(service)s::text IS NULL OR l.service = %(service)s)
    ORDER BY l.ts
) TO STDOUT (FORMAT binary)
