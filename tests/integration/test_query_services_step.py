"""The database step that gives queries their service: quick on large tables, whatever versions overlap."""

from __future__ import annotations

import time
from contextlib import closing
from uuid import uuid4

import pytest
from clocked import NOW

from otel_ratelimit.core.errors import SchemaMissingError
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.migrate import downgrade, upgrade
from otel_ratelimit.postgres.query_writer import PostgresQueryWriter
from otel_ratelimit.queries.records import (
    QueryBatch,
    QueryRow,
    QueryTemplate,
    RequestRepeats,
    TableWrite,
    TemplateTotal,
)

BEFORE = "0007_query_hashes"
TABLES = ("query_logs", "query_totals", "query_repeats", "table_writes")
JOBS = QueryTemplate(11, "select * from jobs", "select", ("jobs",), is_write=False, volatile=False)
MINUTE = int(NOW.timestamp())
ROW = QueryRow(
    *(NOW.timestamp(), JOBS, bytes(16), 1, 1.0, "cold", 900, 1, 40, "/a", None, "shop", False, "ok", None)
)
OLD_WRITES = """
INSERT INTO otel_ratelimit.query_totals (minute, template_hash, database, n, failed, dropped)
VALUES (now(), 11, 'shop', 1, 0, 0);
INSERT INTO otel_ratelimit.table_writes (minute, database, table_name, op, n)
VALUES (now(), 'shop', 'jobs', 'insert', 1);
INSERT INTO otel_ratelimit.query_repeats (
    minute, endpoint, template_hash, requests, executions, most, trace_id
) VALUES (now(), '/a', 11, 1, 5, 5, NULL);
INSERT INTO otel_ratelimit.query_logs (
    ts, template_hash, key_hash, n, sample_rate, tier, duration_us, rows, result_bytes, endpoint, trace_id,
    database, op, tables, is_write, in_txn, volatile, status, buckets, process
) VALUES (
    now(), 11, decode(md5('a'), 'hex'), 1, 1, 'cold', 9, 1, 1, '/a', NULL, 'shop', 'select', '{jobs}', false,
    false, false, 'ok', NULL, 'one'
)
"""
"""Statements of versions before this step."""
FILES = """
SELECT relname, pg_relation_filenode(oid) FROM pg_class
WHERE relnamespace = 'otel_ratelimit'::regnamespace
    AND relname ~ '^(query_(logs|totals|repeats)|table_writes)'
ORDER BY relname
"""


@pytest.fixture
def opened(database):
    with closing(Database(database)) as opened:
        yield opened


def batch():
    return QueryBatch(
        uuid4(),
        "one",
        (ROW,),
        (TemplateTotal(MINUTE, JOBS, "shop", 1, 0, 0),),
        (TableWrite(MINUTE, "shop", "jobs", "insert", 1),),
        (RequestRepeats(MINUTE, "/a", JOBS, 1, 5, 5, None),),
    )


def services(opened):
    return [
        {service for (service,) in opened.rows(f"SELECT service FROM otel_ratelimit.{table}")}
        for table in TABLES
    ]


def test_rows_from_before_stay_as_they_are_and_no_table_or_index_is_written_again(database, opened):
    downgrade(database, revision=BEFORE)
    opened.rows(OLD_WRITES)
    before = opened.rows(FILES)
    upgrade(database)
    assert opened.rows(FILES) == before
    assert services(opened) == [{""}] * 4
    downgrade(database, revision=BEFORE)
    assert opened.rows(FILES) == before
    assert opened.rows("SELECT count(*)::int FROM otel_ratelimit.query_logs") == [(1,)]


def test_a_process_of_an_earlier_version_goes_on_beside_one_of_this(opened):
    opened.rows(OLD_WRITES)
    PostgresQueryWriter(opened, time.time, lambda: "jobs-api").write(batch())
    assert services(opened) == [{"", "jobs-api"}] * 4


def test_a_writer_that_is_there_before_the_step_waits_for_it(database, opened):
    downgrade(database, revision=BEFORE)
    writer, given = PostgresQueryWriter(opened, time.time, lambda: "jobs-api"), batch()
    with pytest.raises(SchemaMissingError, match="db upgrade"):
        writer.write(given)
    upgrade(database)
    writer.write(given)
    assert services(opened) == [{"jobs-api"}] * 4
