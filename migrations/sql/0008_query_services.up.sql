-- Which service ran the queries, since several may record to one database.
--
-- A column with a constant default changes only the catalogue, however many rows there are, so each table is locked
-- only briefly. No index is needed: a service's rows are read by time, and rows that are too old are found between two
-- times.

ALTER TABLE otel_ratelimit.query_logs ADD COLUMN service text NOT NULL DEFAULT '';
ALTER TABLE otel_ratelimit.query_totals ADD COLUMN service text NOT NULL DEFAULT '';
ALTER TABLE otel_ratelimit.query_repeats ADD COLUMN service text NOT NULL DEFAULT '';
ALTER TABLE otel_ratelimit.table_writes ADD COLUMN service text NOT NULL DEFAULT '';
COMMENT ON COLUMN otel_ratelimit.query_logs.service IS
    'service.name of the application that ran it; empty in rows of a version that did not record it.';
COMMENT ON COLUMN otel_ratelimit.query_totals.service IS
    'service.name of the application that ran them; empty in rows of a version that did not record it.';
COMMENT ON COLUMN otel_ratelimit.query_repeats.service IS
    'service.name of the application that ran them; empty in rows of a version that did not record it.';
COMMENT ON COLUMN otel_ratelimit.table_writes.service IS
    'service.name of the application that wrote; empty in rows of a version that did not record it.';

ALTER TABLE otel_ratelimit.service_retention ADD COLUMN queries_deleted_before timestamptz;
COMMENT ON COLUMN otel_ratelimit.service_retention.queries_deleted_before IS
    'Queries of the service that are older were deleted, so that they are not looked for again; null: none were.';
COMMENT ON TABLE otel_ratelimit.service_retention IS
    'How long each service wants its rows kept, as its processes say once an hour. The longest of a service counts; the longest of all counts for rows without a service.';

-- A long request, such as a stream, is counted once a minute; repetitions that are written later are added to it.
ALTER TABLE otel_ratelimit.query_repeats
    DROP CONSTRAINT query_repeats_requests_check,
    ADD CONSTRAINT query_repeats_requests_check CHECK (requests >= 0);
COMMENT ON COLUMN otel_ratelimit.query_repeats.requests IS
    'Requests in which it ran at least five times without a pause; none where a row before this one has counted them.';
