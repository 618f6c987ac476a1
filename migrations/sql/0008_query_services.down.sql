UPDATE otel_ratelimit.query_repeats SET requests = 1 WHERE requests = 0;
ALTER TABLE otel_ratelimit.query_repeats
    DROP CONSTRAINT query_repeats_requests_check,
    ADD CONSTRAINT query_repeats_requests_check CHECK (requests > 0);
COMMENT ON COLUMN otel_ratelimit.query_repeats.requests IS 'Requests in which it ran at least five times.';
COMMENT ON TABLE otel_ratelimit.service_retention IS
    'How long each service wants its rows kept, as its processes say once an hour. The longest of a service counts; the longest of all counts for tables without a service.';
ALTER TABLE otel_ratelimit.service_retention DROP COLUMN queries_deleted_before;
ALTER TABLE otel_ratelimit.table_writes DROP COLUMN service;
ALTER TABLE otel_ratelimit.query_repeats DROP COLUMN service;
ALTER TABLE otel_ratelimit.query_totals DROP COLUMN service;
ALTER TABLE otel_ratelimit.query_logs DROP COLUMN service;
