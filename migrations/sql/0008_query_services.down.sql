COMMENT ON TABLE otel_ratelimit.service_retention IS
    'How long each service wants its rows kept, as its processes say once an hour. The longest of a service counts; the longest of all counts for tables without a service.';
ALTER TABLE otel_ratelimit.service_retention DROP COLUMN queries_deleted_before;
ALTER TABLE otel_ratelimit.table_writes DROP COLUMN service;
ALTER TABLE otel_ratelimit.query_repeats DROP COLUMN service;
ALTER TABLE otel_ratelimit.query_totals DROP COLUMN service;
ALTER TABLE otel_ratelimit.query_logs DROP COLUMN service;
