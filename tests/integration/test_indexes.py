"""On a million rows the planner takes the index that was made for a question."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest

from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.maintenance import maintain
from otel_ratelimit.postgres.migrate import downgrade, upgrade
from otel_ratelimit.postgres.statements import statements

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
    ("table", "index"),
    [
        ("rate_limit_analytics", "rate_limit_analytics_occurred_at"),
        ("rate_limit_usage", "rate_limit_usage_minute"),
    ],
)
def test_retention_finds_the_oldest_rows_by_index(full, table, index):
    chunk = {"before": "2026-05-10 00:00+00", "chunk": 10_000}
    found = plan(full, statements("maintenance")[f"delete_{table}"], chunk)
    assert f"Index Scan using {index}" in found, found
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


BEFORE_HASHES = "0005"
INDEXES_OF_THE_LOG = """
SELECT indrelid::regclass::text, pg_get_indexdef(indexrelid), indisvalid, inhparent::regclass::text
FROM pg_index
JOIN pg_class AS t ON t.oid = indrelid
LEFT JOIN pg_inherits ON inhrelid = indexrelid
WHERE t.relname ~ '^query_logs' AND pg_get_indexdef(indexrelid) ~ '_hash'
ORDER BY indexrelid
"""


def test_days_that_were_there_before_the_hashes_were_indexed_are_indexed_and_so_are_later_ones(database):
    today = datetime.now(UTC)
    downgrade(database, revision=BEFORE_HASHES)
    with closing(Database(database)) as analytics:
        maintain(analytics, now=today - timedelta(days=2), retention=timedelta(days=30), days_ahead=2)
        upgrade(database)
        maintain(analytics, now=today, retention=timedelta(days=30), days_ahead=1)

    with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(INDEXES_OF_THE_LOG)
        found = cursor.fetchall()

    days = [f"query_logs_{today + timedelta(days=ahead):%Y%m%d}" for ahead in (-2, -1, 0, 1)]
    tables = [f"otel_ratelimit.{name}" for name in (*days, "query_logs_default", "query_logs")]
    for index in ("template_hash", "key_hash"):
        of_index = {table: (valid, parent) for table, made, valid, parent in found if f" ({index}" in made}
        assert sorted(of_index) == sorted(tables)
        assert {valid for valid, _ in of_index.values()} == {True}
        parents = {parent for table, (_, parent) in of_index.items() if table != "otel_ratelimit.query_logs"}
        assert parents == {f"otel_ratelimit.query_logs_{index}"}
    # Writers of today's wait for its own indexes only.
    assert found[0][0] == tables[0]
    made_by_the_step = [table for table, *_ in found if table != tables[3]]
    assert made_by_the_step[-4:] == [*2 * [tables[2]], *2 * ["otel_ratelimit.query_logs"]]


HOUR_OF_QUERIES = """
INSERT INTO otel_ratelimit.query_logs
SELECT
    timestamptz '2026-05-01 00:00+00' + i * interval '36 ms', floor(power(401, random())),
    decode(md5(i::text), 'hex'), 1, 1, 'cold', 500, 1, NULL, '/thing', md5(i::text), 'shop', 'select',
    '{jobs}', false, false, false, 'ok', NULL, 'a'
FROM generate_series(1, 100000) AS i
"""


def pages_read(cursor, query):
    """How many, and by which indexes."""
    cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}")
    [([explained],)] = cursor.fetchall()
    top = explained["Plan"]
    return top["Shared Hit Blocks"] + top["Shared Read Blocks"], str(top)


@pytest.mark.full
def test_a_template_and_a_key_are_looked_up_by_index(database):
    with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("SELECT setseed(0.5)")
        cursor.execute(HOUR_OF_QUERIES)
        cursor.execute("VACUUM ANALYZE otel_ratelimit.query_logs")
        cursor.execute("SELECT relpages FROM pg_class WHERE relname = 'query_logs_default'")
        [(all_pages,)] = cursor.fetchall()
        of_template, how = pages_read(
            cursor, "SELECT ts, endpoint FROM otel_ratelimit.query_logs WHERE template_hash = 300"
        )
        # Of so few rows the server may rather read all.
        cursor.execute("SET enable_seqscan = off")
        of_key, how_key = pages_read(
            cursor, "SELECT ts FROM otel_ratelimit.query_logs WHERE key_hash = decode(md5('77'), 'hex')"
        )
    assert all_pages > 2_000
    assert "query_logs_default_template_hash_idx" in how
    assert of_template < all_pages / 10
    assert "query_logs_default_key_hash_idx" in how_key
    assert of_key < all_pages / 10
