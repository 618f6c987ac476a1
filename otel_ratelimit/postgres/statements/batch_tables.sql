-- name: batch_sent
-- As many seconds as rows are stamped too early, where the clock of the host that stamped them is wrong; whole minutes,
-- so that what begins with a minute still does. 0 where the clocks agree. And as many as it was for the batch before.
sent AS MATERIALIZED (
    SELECT now, shift, coalesce(%(former)s, shift) AS former
    FROM (SELECT extract(epoch FROM clock_timestamp())::double precision) AS database (now)
    CROSS JOIN LATERAL (
        SELECT CASE WHEN abs(now - %(sent_at)s) > %(tolerance)s THEN round((now - %(sent_at)s) / 60) * 60 ELSE 0 END
    ) AS clocks (shift)
)

-- name: at
-- Where the host's clock was set since the batch before, a row may be stamped by the clock as it was then: what is
-- nearer to now is taken.
({stamp} + CASE
    WHEN abs({stamp} + sent.shift - sent.now) <= abs({stamp} + sent.former - sent.now) THEN sent.shift
    ELSE sent.former
END)

-- name: batch_once
batch AS (
    INSERT INTO otel_ratelimit.ingested_batches (id) SELECT %(id)s::uuid {condition}
    ON CONFLICT (id) DO NOTHING
    RETURNING id
)

-- name: batch_always
-- Where somebody has dropped the table of batches.
batch AS (SELECT %(id)s::uuid AS id {condition})

-- name: secret_in_use
-- Compared as a hash: what is sent may be seen in a log of the server.
(SELECT encode(sha256(secret), 'hex') FROM otel_ratelimit.hash_keys ORDER BY id LIMIT 1) IS NOT DISTINCT FROM %(secret)s

-- name: dropped_tables
-- Those that a migration has made and that are not there any more.
SELECT made.name
FROM unnest(%(tables)s::text[], %(steps)s::text[]) AS made (name, step)
WHERE to_regclass('otel_ratelimit.' || made.name) IS NULL
    AND made.step <= (SELECT max(version_num) FROM otel_ratelimit.schema_version)
