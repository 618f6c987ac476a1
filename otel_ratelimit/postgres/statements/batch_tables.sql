-- name: batch_sent
-- By how many seconds rows are stamped too early because the clock of the host is wrong: whole minutes, so that the
-- beginning of a minute stays one; 0 if the clocks agree. And the same for the previous batch.
sent AS MATERIALIZED (
    SELECT now, shift, coalesce(%(former)s, shift) AS former
    FROM (SELECT extract(epoch FROM clock_timestamp())::double precision) AS database (now)
    CROSS JOIN LATERAL (
        SELECT CASE WHEN abs(now - %(sent_at)s) > %(tolerance)s THEN round((now - %(sent_at)s) / 60) * 60 ELSE 0 END
    ) AS clocks (shift)
)

-- name: at
-- If the host's clock was set since the previous batch, a row may be stamped with the time before that: the shift that
-- leads closer to now is used.
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
-- If somebody has dropped the table of batches.
batch AS (SELECT %(id)s::uuid AS id {condition})

-- name: secret_in_use
-- Compared as a hash, because the server may log what is sent.
(SELECT encode(sha256(secret), 'hex') FROM otel_ratelimit.hash_keys ORDER BY id LIMIT 1) IS NOT DISTINCT FROM %(secret)s

-- name: dropped_tables
-- Tables that a migration created and that do not exist any more.
SELECT made.name
FROM unnest(%(tables)s::text[], %(steps)s::text[]) AS made (name, step)
WHERE to_regclass('otel_ratelimit.' || made.name) IS NULL
    AND made.step <= (SELECT max(version_num) FROM otel_ratelimit.schema_version)
