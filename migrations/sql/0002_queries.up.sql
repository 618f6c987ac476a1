-- Tables of the application's queries: the texts that ran (templates), the results a cache would have held (keys of
-- executions), and the writes in the same time. No query parameters are stored.

CREATE TABLE otel_ratelimit.query_templates (
    template_hash bigint      PRIMARY KEY,
    template      text        NOT NULL,
    operation     text        NOT NULL,
    tables        text[]      NOT NULL,
    first_seen    timestamptz NOT NULL,
    last_seen     timestamptz NOT NULL,
    CHECK (last_seen >= first_seen)
);
COMMENT ON TABLE otel_ratelimit.query_templates IS
    'Texts of queries without their literals. Rows of query_logs name them by hash; one may arrive later than they.';
COMMENT ON COLUMN otel_ratelimit.query_templates.template_hash IS 'The first 64 bits of the text''s hash, signed.';
COMMENT ON COLUMN otel_ratelimit.query_templates.template IS 'Normalised: no comments, no literals, lists collapsed.';
COMMENT ON COLUMN otel_ratelimit.query_templates.operation IS 'select, insert, update, delete and so on.';
COMMENT ON COLUMN otel_ratelimit.query_templates.tables IS 'Tables it names, with their schema where it gives one.';
COMMENT ON COLUMN otel_ratelimit.query_templates.last_seen IS 'When it was recorded last; one not seen for as long as rows are kept is deleted.';

CREATE TABLE otel_ratelimit.query_logs (
    ts            timestamptz      NOT NULL,
    template_hash bigint           NOT NULL,
    key_hash      bytea            NOT NULL CHECK (octet_length(key_hash) = 16),
    n             bigint           NOT NULL CHECK (n > 0),
    sample_rate   double precision NOT NULL CHECK (sample_rate > 0 AND sample_rate <= 1),
    tier          text             NOT NULL CHECK (tier IN ('hot', 'cold')),
    duration_us   bigint           NOT NULL CHECK (duration_us >= 0),
    rows          bigint,
    result_bytes  bigint,
    endpoint      text,
    trace_id      text,
    database      text             NOT NULL,
    op            text             NOT NULL,
    tables        text[]           NOT NULL,
    is_write      boolean          NOT NULL,
    in_txn        boolean          NOT NULL,
    volatile      boolean          NOT NULL,
    status        text             NOT NULL,
    buckets       integer[],
    process       text             NOT NULL
) PARTITION BY RANGE (ts);
COMMENT ON TABLE otel_ratelimit.query_logs IS
    'Executions of queries, sampled by execution key. A partition a day (UTC), query_logs_YYYYMMDD.';
COMMENT ON COLUMN otel_ratelimit.query_logs.ts IS 'When it began; where a row stands for several, the first.';
COMMENT ON COLUMN otel_ratelimit.query_logs.template_hash IS 'What code ran: a row of query_templates.';
COMMENT ON COLUMN otel_ratelimit.query_logs.key_hash IS 'What a cache would have held: keyed hash of database, role, search_path, text and parameters.';
COMMENT ON COLUMN otel_ratelimit.query_logs.n IS 'How many executions the row stands for as recorded; those not sampled come on top, see sample_rate.';
COMMENT ON COLUMN otel_ratelimit.query_logs.sample_rate IS 'Share of the keys of its tier that were kept: the row counts n / sample_rate.';
COMMENT ON COLUMN otel_ratelimit.query_logs.tier IS 'hot: a key frequent enough to be counted exactly (sample_rate is 1); cold: a sampled one.';
COMMENT ON COLUMN otel_ratelimit.query_logs.duration_us IS 'Microseconds; the mean where a row stands for several.';
COMMENT ON COLUMN otel_ratelimit.query_logs.rows IS 'Rows returned or touched; null where unknown.';
COMMENT ON COLUMN otel_ratelimit.query_logs.result_bytes IS 'Size of the result as received; null where not measured.';
COMMENT ON COLUMN otel_ratelimit.query_logs.endpoint IS 'Route template of the request that ran it, as http.route; null outside of requests.';
COMMENT ON COLUMN otel_ratelimit.query_logs.trace_id IS 'Of the first execution, 32 hex digits.';
COMMENT ON COLUMN otel_ratelimit.query_logs.database IS 'Name of the database it ran in.';
COMMENT ON COLUMN otel_ratelimit.query_logs.op IS 'select, insert, update, delete and so on.';
COMMENT ON COLUMN otel_ratelimit.query_logs.tables IS 'Tables it names, with their schema where it gives one.';
COMMENT ON COLUMN otel_ratelimit.query_logs.is_write IS 'It may change data, or locks rows: never to be cached.';
COMMENT ON COLUMN otel_ratelimit.query_logs.in_txn IS 'It ran in a transaction that had begun before, whose snapshot a cache does not know.';
COMMENT ON COLUMN otel_ratelimit.query_logs.volatile IS 'It calls now(), random() or the like: equal text, unequal results.';
COMMENT ON COLUMN otel_ratelimit.query_logs.status IS 'ok, or the SQLSTATE of its error.';
COMMENT ON COLUMN otel_ratelimit.query_logs.buckets IS 'Where a row stands for several: executions in each second from ts on; their sum is n.';
COMMENT ON COLUMN otel_ratelimit.query_logs.process IS 'Which process recorded it: service.instance.id, or host and process id.';

CREATE TABLE otel_ratelimit.query_logs_default PARTITION OF otel_ratelimit.query_logs DEFAULT;
COMMENT ON TABLE otel_ratelimit.query_logs_default IS
    'Rows of days that have no partition yet; maintenance moves them to one.';

CREATE INDEX query_logs_ts ON otel_ratelimit.query_logs USING brin (ts) WITH (pages_per_range = 32);
COMMENT ON INDEX otel_ratelimit.query_logs_ts IS
    'An hour of a day; costs next to nothing when written, as rows arrive nearly in order. Days are told apart by partition.';

CREATE TABLE otel_ratelimit.table_writes (
    minute     timestamptz NOT NULL,
    database   text        NOT NULL,
    table_name text        NOT NULL,
    op         text        NOT NULL,
    n          bigint      NOT NULL CHECK (n > 0)
);
COMMENT ON TABLE otel_ratelimit.table_writes IS
    'Writes by table and minute: a cached result dies when its table is written. Several processes write a row each: sum them.';
COMMENT ON COLUMN otel_ratelimit.table_writes.database IS 'Name of the database the table is in.';
COMMENT ON COLUMN otel_ratelimit.table_writes.table_name IS 'As in query_logs.tables.';
COMMENT ON COLUMN otel_ratelimit.table_writes.op IS 'insert, update, delete and so on.';
COMMENT ON COLUMN otel_ratelimit.table_writes.n IS 'Statements that wrote it.';
CREATE INDEX table_writes_minute ON otel_ratelimit.table_writes (minute);
COMMENT ON INDEX otel_ratelimit.table_writes_minute IS
    'A period; the oldest rows, which retention deletes a chunk at a time.';
