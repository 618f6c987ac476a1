-- Which service ran the queries, where several record to one database.
--
-- A column with a constant default is written to the catalogue only, however many rows there are: each table is locked
-- for an instant. No index: a service's rows are a part of a day that is read by time, and what is too old is found
-- between two moments.

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

-- A request that goes on, such as a stream, is counted once a minute; what it repeats after that is written is added.
ALTER TABLE otel_ratelimit.query_repeats
    DROP CONSTRAINT query_repeats_requests_check,
    ADD CONSTRAINT query_repeats_requests_check CHECK (requests >= 0);
COMMENT ON COLUMN otel_ratelimit.query_repeats.requests IS
    'Requests in which it ran at least five times without a pause; none where a row before this one has counted them.';
