"""The query log is looked up by its hashes: who runs a query, and when."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta

import psycopg2
import pytest
from clocked import NOW

from otel_ratelimit.postgres.migrate import downgrade, upgrade
from otel_ratelimit.postgres.migration_steps import Steps

INDEXES = """
SELECT indrelid::regclass::text, pg_get_indexdef(indexrelid), indisvalid, inhparent::regclass::text
FROM pg_index
JOIN pg_class AS t ON t.oid = indrelid
LEFT JOIN pg_inherits ON inhrelid = indexrelid
WHERE t.relname ~ '^query_logs' AND pg_get_indexdef(indexrelid) ~ '_hash'
ORDER BY indexrelid
"""
HOUR_OF_QUERIES = """
INSERT INTO otel_ratelimit.query_logs
SELECT
    timestamptz '2026-05-01 00:00+00' + i * interval '36 ms', floor(power(401, random())),
    decode(md5(i::text), 'hex'), 1, 1, 'cold', 500, 1, NULL, '/thing', md5(i::text), 'shop', 'select',
    '{jobs}', false, false, false, 'ok', NULL, 'a'
FROM generate_series(1, 100000) AS i
"""


@pytest.fixture
def cursor(database):
    with closing(psycopg2.connect(database)) as connection:
        connection.autocommit = True
        yield connection.cursor()


def before_the_hashes():
    """The step before the one that makes their indexes."""
    names = Steps().names
    [place] = [place for place, name in enumerate(names) if name.endswith("_query_hashes")]
    return names[place - 1]


def test_days_that_were_there_before_the_indexes_have_them_and_so_have_later_ones(database, clocked, cursor):
    downgrade(database, revision=before_the_hashes())
    today = NOW.replace(hour=0, minute=0)
    days = [today + timedelta(days=ahead) for ahead in (-2, -1, 0, 1)]
    tables = [f"otel_ratelimit.query_logs_{day:%Y%m%d}" for day in days]
    for table, day in zip(tables[:3], days[:3], strict=True):
        cursor.execute(
            f"CREATE TABLE {table} PARTITION OF otel_ratelimit.query_logs FOR VALUES FROM (%s) TO (%s)",
            (day, day + timedelta(days=1)),
        )

    upgrade(clocked.url)
    clocked.maintain(days_ahead=1)

    cursor.execute(INDEXES)
    found = cursor.fetchall()
    parent, default = "otel_ratelimit.query_logs", "otel_ratelimit.query_logs_default"
    for index in ("template_hash", "key_hash"):
        of_index = {table: (valid, whole) for table, made, valid, whole in found if f" ({index}" in made}
        assert of_index == {
            parent: (True, None),
            **dict.fromkeys([*tables, default], (True, f"otel_ratelimit.query_logs_{index}")),
        }
    # Writers of today's wait for its own indexes only; those of the whole table are made of the others.
    by_the_step = [table for table, *_ in found if table != tables[3]]
    assert by_the_step[-4:] == [tables[2], tables[2], parent, parent]


def test_an_index_that_an_operator_has_dropped_is_no_obstacle(database, cursor):
    cursor.execute("DROP INDEX otel_ratelimit.query_logs_key_hash")
    downgrade(database, revision=before_the_hashes())
    cursor.execute(INDEXES)
    assert cursor.fetchall() == []


def pages_read(cursor, query):
    """How many, and the plan."""
    cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}")
    [([explained],)] = cursor.fetchall()
    top = explained["Plan"]
    return top["Shared Hit Blocks"] + top["Shared Read Blocks"], str(top)


@pytest.mark.full
def test_a_template_and_a_key_are_looked_up_by_index(cursor):
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
