-- name: write_query_templates
-- Templates are in the order of their hashes, so that two processes with the same templates do not deadlock; a template
-- that was seen within the last hour is not updated.
templates AS (
    INSERT INTO otel_ratelimit.query_templates AS known (template_hash, template, operation, tables, first_seen, last_seen)
    SELECT t.hash, t.template, t.operation, t.tables, to_timestamp({at %(now)s}), to_timestamp({at %(now)s})
    FROM batch, sent, jsonb_to_recordset(%(templates)s::jsonb) AS t (
        hash bigint, template text, operation text, tables text[]
    )
    ORDER BY t.hash
    ON CONFLICT (template_hash) DO UPDATE SET last_seen = excluded.last_seen
    WHERE known.last_seen < excluded.last_seen - interval '1 hour'
)

-- name: write_query_logs
logs AS (
    INSERT INTO otel_ratelimit.query_logs (
        ts, template_hash, key_hash, n, sample_rate, tier, duration_us, rows, result_bytes, endpoint, trace_id,
        database, op, tables, is_write, in_txn, volatile, status, buckets, process, service
    )
    SELECT
        to_timestamp({at r.ts}), r.template, decode(r.key, 'hex'), r.n, r.sample_rate, r.tier, r.duration_us, r.rows,
        r.result_bytes, r.endpoint, r.trace_id, r.database, t.operation, t.tables, t.is_write, r.in_txn, t.volatile,
        r.status, r.buckets, %(process)s, %(service)s
    FROM batch, sent, jsonb_to_recordset(%(rows)s::jsonb) AS r (
        ts double precision, template bigint, key text, n bigint, sample_rate double precision, tier text,
        duration_us bigint, rows bigint, result_bytes bigint, endpoint text, trace_id text, database text,
        in_txn boolean, status text, buckets integer[]
    )
    JOIN jsonb_to_recordset(%(templates)s::jsonb) AS t (
        hash bigint, operation text, tables text[], is_write boolean, volatile boolean
    ) ON t.hash = r.template
)

-- name: write_query_totals
totals AS (
    INSERT INTO otel_ratelimit.query_totals (minute, template_hash, database, n, failed, dropped, service)
    SELECT to_timestamp({at c.minute}), c.template, c.database, c.n, c.failed, c.dropped, %(service)s
    FROM batch, sent, jsonb_to_recordset(%(totals)s::jsonb) AS c (
        minute double precision, template bigint, database text, n bigint, failed bigint, dropped bigint
    )
)

-- name: write_table_writes
writes AS (
    INSERT INTO otel_ratelimit.table_writes (minute, database, table_name, op, n, service)
    SELECT to_timestamp({at w.minute}), w.database, w.table_name, w.op, w.n, %(service)s
    FROM batch, sent, jsonb_to_recordset(%(writes)s::jsonb) AS w (
        minute double precision, database text, table_name text, op text, n bigint
    )
)

-- name: write_query_repeats
repeats AS (
    INSERT INTO otel_ratelimit.query_repeats (
        minute, endpoint, template_hash, requests, executions, most, trace_id, service
    )
    SELECT
        to_timestamp({at p.minute}), p.endpoint, p.template, p.requests, p.executions, p.most, p.trace_id, %(service)s
    FROM batch, sent, jsonb_to_recordset(%(repeats)s::jsonb) AS p (
        minute double precision, endpoint text, template bigint, requests bigint, executions bigint, most bigint,
        trace_id text
    )
)

-- name: services
-- The services with queries in a period and their executions; with null for both ends, at any time. The service is empty
-- in rows of a version that did not record it.
SELECT service, sum(n)::bigint FROM otel_ratelimit.query_totals
WHERE minute >= coalesce(%(start)s::timestamptz, '-infinity') AND minute < coalesce(%(end)s::timestamptz, 'infinity')
GROUP BY service
ORDER BY service

-- name: repeats_in_requests
-- N+1 patterns of a period, the worst first.
SELECT
    p.endpoint, coalesce(t.template, ''), p.template_hash, sum(p.requests)::bigint, sum(p.executions)::bigint,
    max(p.most), (array_agg(p.trace_id ORDER BY p.most DESC))[1]
FROM otel_ratelimit.query_repeats AS p
LEFT JOIN otel_ratelimit.query_templates AS t USING (template_hash)
WHERE p.minute >= %(start)s AND p.minute < %(end)s
    AND (%(endpoint)s::text[] IS NULL OR p.endpoint = ANY(%(endpoint)s::text[]))
    AND (%(service)s::text IS NULL OR p.service = %(service)s)
GROUP BY p.endpoint, t.template, p.template_hash
ORDER BY sum(p.executions) - sum(p.requests) DESC, p.endpoint, p.template_hash
LIMIT %(limit)s

-- name: repeats_in_time
-- Executions that repeated a query from at most so many seconds before. Rows that stand for several executions are split
-- into seconds; within one second all executions but the first are repeats.
WITH executions AS (
    SELECT l.template_hash, l.key_hash, l.sample_rate, extract(epoch FROM l.ts) + b.second AS at, b.n
    FROM otel_ratelimit.query_logs AS l
    CROSS JOIN LATERAL (
        SELECT 0 AS second, l.n WHERE l.buckets IS NULL
        UNION ALL
        SELECT (place - 1)::integer, n FROM unnest(l.buckets) WITH ORDINALITY AS u (n, place) WHERE n > 0
    ) AS b (second, n)
    WHERE l.ts >= %(start)s AND l.ts < %(end)s
        AND (%(endpoint)s::text[] IS NULL OR l.endpoint = ANY(%(endpoint)s::text[]))
        AND (%(service)s::text IS NULL OR l.service = %(service)s)
        AND l.op IN ('select', 'values', 'table') AND NOT l.is_write AND NOT l.volatile AND NOT l.in_txn AND l.status = 'ok'
),
apart AS (
    SELECT template_hash, key_hash, sample_rate, n,
        at - lag(at) OVER (PARTITION BY template_hash, key_hash ORDER BY at) AS since
    FROM executions
)
SELECT
    coalesce(t.template, ''), a.template_hash, sum(a.n / a.sample_rate)::double precision,
    sum((a.n - CASE WHEN a.since <= %(seconds)s THEN 0 ELSE 1 END) / a.sample_rate)::double precision
FROM apart AS a
LEFT JOIN otel_ratelimit.query_templates AS t USING (template_hash)
GROUP BY t.template, a.template_hash
HAVING sum(a.n - CASE WHEN a.since <= %(seconds)s THEN 0 ELSE 1 END) > 0
ORDER BY 4 DESC, a.template_hash
LIMIT %(limit)s
