-- name: partitions
SELECT child.relname
FROM pg_catalog.pg_inherits
JOIN pg_catalog.pg_class AS child ON child.oid = inhrelid
WHERE inhparent = to_regclass('otel_ratelimit.query_logs')
ORDER BY child.relname

-- name: make_default_partition
CREATE TABLE otel_ratelimit.query_logs_default PARTITION OF otel_ratelimit.query_logs DEFAULT;
COMMENT ON TABLE otel_ratelimit.query_logs_default IS
    'Rows of days that have no partition yet; maintenance moves them to one.'

-- name: days_without_partition
SELECT DISTINCT (ts AT TIME ZONE 'UTC')::date AS day
FROM otel_ratelimit.query_logs_default
WHERE ts >= %(start)s AND ts < %(end)s
ORDER BY day

-- name: make_partition
-- Not CREATE ... PARTITION OF, which blocks readers. With the constraint ATTACH need not scan the rows.
CREATE TABLE {partition} (LIKE otel_ratelimit.query_logs INCLUDING ALL);
ALTER TABLE {partition} ADD CONSTRAINT day CHECK (ts >= %(start)s AND ts < %(end)s)

-- name: move_rows
WITH moved AS (
    DELETE FROM otel_ratelimit.query_logs_default WHERE ts >= %(start)s AND ts < %(end)s
    RETURNING *
)
INSERT INTO {partition} SELECT * FROM moved

-- name: hold_writers
-- A writer that chose the default partition before ATTACH and writes after it would get an error; so no write may be in
-- progress. New writers wait for this lock, and then find the new partition.
LOCK TABLE ONLY otel_ratelimit.query_logs IN SHARE ROW EXCLUSIVE MODE

-- name: attach_partition
ALTER TABLE otel_ratelimit.query_logs ATTACH PARTITION {partition} FOR VALUES FROM (%(start)s) TO (%(end)s);
ALTER TABLE {partition} DROP CONSTRAINT day

-- name: drop_partition
DROP TABLE {partition}
