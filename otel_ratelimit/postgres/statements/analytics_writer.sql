-- name: write_rate_limit_analytics
-- JSON, because rows have arrays of different lengths, which unnest cannot split.
violations AS (
    INSERT INTO otel_ratelimit.rate_limit_analytics (
        occurred_at, last_at, service, endpoint, method, client, user_id, tier, limit_text, limit_value,
        limit_seconds, current_count, user_agent, trace_id, shadow, n
    )
    SELECT
        to_timestamp({at v.occurred_at}), to_timestamp(greatest({at v.last_at}, {at v.occurred_at})),
        %(service)s,
        v.endpoint, v.method, v.client, v.user_id, v.tier, v.limit_text, v.limit_value, v.limit_seconds,
        v.current_count, v.user_agent, v.trace_id, v.shadow, v.n
    FROM batch, sent, jsonb_to_recordset(%(violations)s::jsonb) AS v (
        occurred_at double precision, last_at double precision, endpoint text, method text, client text,
        user_id text, tier text, limit_text text, limit_value bigint, limit_seconds bigint,
        current_count bigint, user_agent text, trace_id text, shadow boolean, n bigint
    )
)

-- name: write_rate_limit_usage
usage AS (
    INSERT INTO otel_ratelimit.rate_limit_usage (
        minute, service, endpoint, method, tier, decision, limit_text, limit_value, limit_seconds, requests,
        utilization, utilization_n, clients_n
    )
    SELECT
        to_timestamp({at u.minute}), %(service)s, u.endpoint, u.method, u.tier, u.decision, u.limit_text, u.limit_value,
        u.limit_seconds, u.requests, u.utilization, u.utilization_n, u.clients_n
    FROM batch, sent, jsonb_to_recordset(%(usage)s::jsonb) AS u (
        minute double precision, endpoint text, method text, tier text, decision text, limit_text text,
        limit_value bigint, limit_seconds bigint, requests bigint, utilization smallint[], utilization_n bigint[],
        clients_n bigint[]
    )
)

-- name: make_hash_key
-- If several processes create a key, the first one wins. Without the lock the key with the lowest id need not be the
-- first one that is visible, and a process would use the second. The letters of the lock's key are `otelrl`.
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
SELECT pg_advisory_xact_lock(x'6F74656C726C0003'::bigint);
INSERT INTO otel_ratelimit.hash_keys (secret)
SELECT %(secret)s::bytea WHERE NOT EXISTS (SELECT FROM otel_ratelimit.hash_keys)

-- name: hash_key
SELECT secret FROM otel_ratelimit.hash_keys ORDER BY id LIMIT 1
