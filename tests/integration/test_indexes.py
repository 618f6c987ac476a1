"""On a million rows the planner takes the index that was made for a question."""

from __future__ import annotations

import psycopg2
import pytest

from otel_ratelimit.postgres.aged_tables import AGED_TABLES
from otel_ratelimit.postgres.sql_files import statements

# 30 days. Endpoints as unlike as they are: a few are refused all the time, most of them hardly ever.
VIOLATIONS = """
INSERT INTO otel_ratelimit.rate_limit_analytics (
    occurred_at, last_at, service, endpoint, method, client, tier, limit_text, limit_value, limit_seconds,
    current_count, shadow, n
)
SELECT at, at, 'shop', '/thing/' || floor(ln(1 + i::bigint * 7919 % 1000000) * 7), 'GET',
    '198.51.100.' || i::bigint * 7919 % 20000, 'default', '10 per 1 minute', 10, 60, 10, false, 1
FROM generate_series(1, 1000000) AS i,
LATERAL (SELECT timestamptz '2026-05-01 00:00+00' + i * interval '2.592 s') AS t (at)
"""
USAGE = """
INSERT INTO otel_ratelimit.rate_limit_usage
SELECT timestamptz '2026-05-01 00:00+00' + i / 24 * interval '1 minute', 'shop',
    '/thing/' || i::bigint * 7919 % 200, 'GET', 'default', 'allowed', '10 per 1 minute', 10, 60, 100,
    '{10,20}', '{60,40}', '{1,1}'
FROM generate_series(1, 1000000) AS i
"""


@pytest.fixture(scope="module")
def full(postgres, migrated_template):
    """A cursor on a database with a million rows in each of the two tables."""
    maker = psycopg2.connect(postgres.dsn())
    maker.autocommit = True
    maker.cursor().execute(f"CREATE DATABASE indexes TEMPLATE {migrated_template(postgres)}")
    connection = psycopg2.connect(postgres.dsn("indexes"))
    connection.autocommit = True
    cursor = connection.cursor()
    # Made again when the rows are in, as that is much quicker.
    cursor.execute(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index WHERE NOT indisprimary"
        " AND indrelid IN ('otel_ratelimit.rate_limit_analytics'::regclass,"
        " 'otel_ratelimit.rate_limit_usage'::regclass)"
    )
    indexes = dict(cursor.fetchall())
    cursor.execute(f"DROP INDEX {', '.join(indexes)}")
    for table in ("rate_limit_analytics", "rate_limit_usage"):
        cursor.execute(f"ALTER TABLE otel_ratelimit.{table} SET UNLOGGED")
    cursor.execute(VIOLATIONS)
    cursor.execute(USAGE)
    for definition in indexes.values():
        cursor.execute(definition)
    cursor.execute("ANALYZE otel_ratelimit.rate_limit_analytics, otel_ratelimit.rate_limit_usage")
    yield cursor
    connection.close()
    maker.cursor().execute("DROP DATABASE indexes WITH (FORCE)")
    maker.close()


def plan(cursor, query, parameters=None):
    cursor.execute(f"EXPLAIN {query}", parameters)
    return "\n".join(line for (line,) in cursor.fetchall())


VIOLATIONS_OF_A_DAY = """
SELECT client, sum(n) FROM otel_ratelimit.rate_limit_analytics
WHERE occurred_at >= '2026-05-20 00:00+00' AND occurred_at < '2026-05-21 00:00+00' GROUP BY client
"""
VIOLATIONS_OF_AN_ENDPOINT = """
SELECT client, sum(n) FROM otel_ratelimit.rate_limit_analytics
WHERE endpoint = '/thing/50' AND occurred_at >= '2026-05-01 00:00+00' AND occurred_at < '2026-05-31 00:00+00'
GROUP BY client
"""
VIOLATIONS_OF_A_CLIENT = """
SELECT endpoint, sum(n) FROM otel_ratelimit.rate_limit_analytics
WHERE client = '198.51.100.77'
AND occurred_at >= '2026-05-01 00:00+00' AND occurred_at < '2026-05-31 00:00+00' GROUP BY endpoint
"""
USAGE_OF_A_DAY = """
SELECT endpoint, sum(requests) FROM otel_ratelimit.rate_limit_usage
WHERE minute >= '2026-05-20 00:00+00' AND minute < '2026-05-21 00:00+00' GROUP BY endpoint
"""
USAGE_OF_AN_ENDPOINT = """
SELECT sum(requests) FROM otel_ratelimit.rate_limit_usage
WHERE endpoint = '/thing/50' AND minute >= '2026-05-01 00:00+00' AND minute < '2026-05-31 00:00+00'
"""


@pytest.mark.full
@pytest.mark.parametrize(
    ("question", "index"),
    [
        (VIOLATIONS_OF_A_DAY, "rate_limit_analytics_occurred_at"),
        (VIOLATIONS_OF_AN_ENDPOINT, "rate_limit_analytics_endpoint"),
        (VIOLATIONS_OF_A_CLIENT, "rate_limit_analytics_client"),
        (USAGE_OF_A_DAY, "rate_limit_usage_minute"),
        (USAGE_OF_AN_ENDPOINT, "rate_limit_usage_endpoint"),
    ],
    ids=["violations", "violations-endpoint", "violations-client", "usage", "usage-endpoint"],
)
def test_a_question_is_answered_by_the_index_made_for_it(full, question, index):
    found = plan(full, question)
    assert index in found, found
    assert "Seq Scan" not in found, found


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "indexes"),
    [
        ("rate_limit_analytics", ("rate_limit_analytics_service", "rate_limit_analytics_occurred_at")),
        ("rate_limit_usage", ("rate_limit_usage_service", "rate_limit_usage_minute")),
    ],
)
def test_retention_finds_the_oldest_rows_by_index(full, name, indexes):
    table = next(table for table in AGED_TABLES if table.name == name)
    named = statements("old_rows")
    asked = {
        "services": ["shop", "batch"],
        "cutoffs": ["2026-05-10 00:00+00"] * 2,
        "before": "2026-05-10 00:00+00",
        "chunk": 10_000,
    }
    for statement in (named[table.delete], named[table.oldest]):
        found = plan(full, table.fill(statement).as_string(full), asked)
        for index in indexes:
            assert f"Scan using {index}" in found, found
        assert "Seq Scan" not in found, found


def test_an_hour_of_queries_reads_one_partition(database):
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        for day in (1, 2, 3):
            cursor.execute(
                f"CREATE TABLE otel_ratelimit.query_logs_2026050{day} PARTITION OF otel_ratelimit.query_logs"
                f" FOR VALUES FROM ('2026-05-0{day} 00:00+00') TO ('2026-05-0{day + 1} 00:00+00')"
            )
        found = plan(
            cursor,
            "SELECT sum(n) FROM otel_ratelimit.query_logs"
            " WHERE ts >= '2026-05-02 10:00+00' AND ts < '2026-05-02 11:00+00'",
        )
    connection.close()
    assert "query_logs_20260502" in found
    assert found.count(" on query_logs_2026") == 1, found
