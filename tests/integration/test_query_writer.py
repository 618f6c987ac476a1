"""Batches of the query log in a real PostgreSQL, and what is read from it."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from otel_ratelimit.core.errors import ConfigurationError
from otel_ratelimit.core.periods import period
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.query_reader import PostgresQueries
from otel_ratelimit.postgres.query_writer import PostgresQueryWriter
from otel_ratelimit.queries import detect_duplicates
from otel_ratelimit.queries.fingerprint import hash_query
from otel_ratelimit.queries.records import QueryBatch, QueryRow, RequestRepeats, TableWrite, TemplateTotal

NOON = datetime(2026, 6, 15, 12, tzinfo=UTC).timestamp()
DAY = period("2026-06-15", "2026-06-15")
SELECT = hash_query("SELECT name FROM jobs j JOIN owners o USING (id) WHERE j.id = 7 AND now() > d")
UPDATE = hash_query("UPDATE jobs SET name = 'x'")
ROW = QueryRow(
    ts=NOON + 0.25,
    template=SELECT,
    key=bytes(range(16)),
    n=3,
    sample_rate=0.5,
    tier="cold",
    duration_us=1_234,
    rows=5,
    result_bytes=678,
    endpoint="/jobs/<int:id>",
    trace_id="0" * 31 + "1",
    database="shop",
    in_txn=True,
    status="ok",
    buckets=(2, 0, 1),
)
TOTAL = TemplateTotal(int(NOON), SELECT, "shop", 10, 1, 2)
WRITE = TableWrite(int(NOON), "shop", "jobs", "update", 4)
REPEATS = RequestRepeats(int(NOON), "/list", SELECT, 2, 15, 9, "f" * 32)


@pytest.fixture
def opened(each_database):
    database = Database(each_database)
    yield database
    database.close()


@pytest.fixture
def writer(opened):
    return PostgresQueryWriter(opened, lambda: NOON, lambda: "jobs-api")


def batch(rows=(), totals=(), writes=(), repeats=()):
    return QueryBatch(uuid4(), "host:7", tuple(rows), tuple(totals), tuple(writes), tuple(repeats))


def test_every_column_is_what_was_recorded(opened, writer):
    writer.write(batch([ROW], [TOTAL], [WRITE], [REPEATS]))
    [row] = opened.rows(
        "SELECT extract(epoch FROM ts)::float8, template_hash, key_hash, n, sample_rate, tier, duration_us,"
        " rows, result_bytes, endpoint, trace_id, database, op, tables, is_write, in_txn, volatile, status,"
        " buckets, process, service FROM otel_ratelimit.query_logs"
    )
    assert (*row[:2], bytes(row[2]), *row[3:]) == (
        *(NOON + 0.25, SELECT.hash, bytes(range(16)), 3, 0.5, "cold", 1_234, 5, 678),
        *("/jobs/<int:id>", "0" * 31 + "1", "shop", "select", ["jobs", "owners"], False, True, True, "ok"),
        *([2, 0, 1], "host:7", "jobs-api"),
    )
    noon = datetime.fromtimestamp(NOON, UTC)
    for table, expected in (
        ("query_templates", (SELECT.hash, SELECT.text, "select", ["jobs", "owners"], noon, noon)),
        ("query_totals", (noon, SELECT.hash, "shop", 10, 1, 2, "jobs-api")),
        ("table_writes", (noon, "shop", "jobs", "update", 4, "jobs-api")),
        ("query_repeats", (noon, "/list", SELECT.hash, 2, 15, 9, "f" * 32, "jobs-api")),
    ):
        assert opened.rows(f"SELECT * FROM otel_ratelimit.{table}") == [expected], table


def test_a_batch_that_is_sent_twice_counts_once(opened, writer):
    once = batch([ROW, ROW], [TOTAL])
    writer.write(once)
    writer.write(once)
    assert opened.rows("SELECT count(*), sum(n)::int FROM otel_ratelimit.query_logs") == [(2, 6)]
    assert opened.rows("SELECT sum(n)::int FROM otel_ratelimit.query_totals") == [(10,)]


def test_rows_go_to_the_partition_of_their_day_and_without_one_are_kept(opened, writer):
    opened.rows(
        "CREATE TABLE otel_ratelimit.query_logs_20260615 PARTITION OF otel_ratelimit.query_logs"
        " FOR VALUES FROM ('2026-06-15 00:00+00') TO ('2026-06-16 00:00+00')"
    )
    writer.write(batch([ROW, replace(ROW, ts=NOON + 86_400)]))
    partitions = "SELECT tableoid::regclass::text FROM otel_ratelimit.query_logs ORDER BY 1"
    assert opened.rows(partitions) == [
        ("otel_ratelimit.query_logs_20260615",),
        ("otel_ratelimit.query_logs_default",),
    ]


def test_nothing_that_an_application_can_send_makes_a_batch_be_refused(opened, writer):
    hostile = "a\0b\ud800'\";--\\u0000" + "x" * 20_000
    template = replace(hash_query(hostile), text=hostile, tables=(hostile,) * 300, operation=hostile)
    writer.write(
        batch(
            [
                replace(ROW, template=template, endpoint=hostile, database=hostile, status=hostile),
                replace(ROW, n=2**70, duration_us=-5, rows=-1, result_bytes=-1),
                replace(ROW, rows=2**80, ts=0.0),
            ],
            [replace(TOTAL, template=template, database=hostile, n=2**70)],
            [replace(WRITE, table=hostile)],
            [replace(REPEATS, endpoint=hostile, template=template)],
        )
    )
    assert opened.rows("SELECT count(*) FROM otel_ratelimit.query_logs") == [(3,)]
    [(length,)] = opened.rows("SELECT max(length(template)) FROM otel_ratelimit.query_templates")
    assert length == 10_000


def test_templates_are_kept_current_without_being_rewritten_each_time(opened):
    for seconds in (0, 60, 3_700):
        PostgresQueryWriter(opened, lambda seconds=seconds: NOON + seconds).write(batch(totals=[TOTAL]))
    seen = "extract(epoch FROM first_seen)::int, extract(epoch FROM last_seen)::int"
    [(first, last, version)] = opened.rows(
        f"SELECT {seen}, xmin::text::bigint FROM otel_ratelimit.query_templates"
    )
    assert (first, last) == (NOON, NOON + 3_700)
    PostgresQueryWriter(opened, lambda: NOON + 3_800).write(batch(totals=[TOTAL]))
    assert opened.rows("SELECT xmin::text::bigint FROM otel_ratelimit.query_templates") == [(version,)]


def test_processes_with_the_same_templates_do_not_lock_each_other_out(each_database):
    templates = [hash_query(f"SELECT c{number} FROM t") for number in range(300)]

    def write(number):
        database = Database(each_database)
        mixed = random.Random(number).sample(templates, len(templates))
        try:
            for step in range(5):
                clock = NOON + step * 4_000
                PostgresQueryWriter(database, lambda clock=clock: clock).write(
                    batch(totals=[replace(TOTAL, template=template) for template in mixed])
                )
        finally:
            database.close()

    with ThreadPoolExecutor() as pool:
        written = [pool.submit(write, number) for number in range(4)]
    assert [each.exception() for each in written] == [None] * 4


def test_patterns_of_a_period_are_summed_the_worst_first(opened, writer):
    other = hash_query("SELECT 1")
    writer.write(
        batch(
            repeats=[
                REPEATS,
                replace(REPEATS, requests=1, executions=30, most=30, trace_id="e" * 32),
                replace(REPEATS, template=other, endpoint="/else", requests=1, executions=5, most=5),
                replace(REPEATS, minute=int(NOON) + 86_400),
            ]
        )
    )
    queries = PostgresQueries(opened)
    found = queries.repeats_in_requests(DAY)
    assert [(each.endpoint, each.requests, each.executions, each.most) for each in found] == [
        ("/list", 3, 45, 30),
        ("/else", 1, 5, 5),
    ]
    assert (found[0].template, found[0].example_trace) == (SELECT.text, "e" * 32)
    assert [each.endpoint for each in queries.repeats_in_requests(DAY, endpoint="/else")] == ["/else"]
    assert len(queries.repeats_in_requests(DAY, limit=1)) == 1


def repeats_of(rows, seconds):
    """The same as the database is asked for, one execution at a time."""
    rows = [row for row in rows if row.template.operation == "select"]
    times = defaultdict(list)
    for row in rows:
        if row.status == "ok" and not (row.template.is_write or row.template.volatile or row.in_txn):
            if row.buckets is None:
                times[row.template, row.key, row.sample_rate].append((row.ts, row.n))
            else:
                times[row.template, row.key, row.sample_rate] += [
                    (row.ts + second, n) for second, n in enumerate(row.buckets) if n
                ]
    found = defaultdict(lambda: [0.0, 0.0])
    for (template, _, rate), at in times.items():
        last = None
        for moment, n in sorted(at):
            found[template][0] += n / rate
            found[template][1] += (n - (last is None or moment - last > seconds)) / rate
            last = moment
    return {template: pair for template, pair in found.items() if pair[1] > 0}


@pytest.mark.parametrize("seconds", [0.0, 5.0, 60.0])
def test_repeats_within_a_time_are_those_of_the_executions_one_by_one(opened, writer, seconds):
    draw = random.Random(7)
    templates = [hash_query(f"SELECT c{number} FROM t WHERE id = 1") for number in range(5)]
    others = {0: UPDATE, 1: hash_query("SELECT now()"), 2: hash_query("FETCH NEXT FROM c")}
    rows = []
    for index in range(400):
        key = draw.randrange(40)
        hot = key < 8
        buckets = tuple(draw.choice([0, 0, 1, 3]) for _ in range(draw.randrange(4))) if hot else ()
        # Eighths of a second are exact in the database and here.
        ts = NOON + index * 4 + draw.randrange(8) / 8
        rows.append(
            replace(
                ROW,
                ts=ts,
                template=others.get(index % 50, templates[key % 5]),
                key=key.to_bytes(16, "big"),
                n=1 + sum(buckets) if hot else 1,
                buckets=(1, *buckets) if hot else None,
                tier="hot" if hot else "cold",
                sample_rate=1.0 if hot else 0.25,
                status="ok" if index % 30 else "57014",
                in_txn=index % 17 == 0,
            )
        )
    writer.write(batch(rows))
    found = PostgresQueries(opened).repeats_in_time(DAY, seconds=seconds)
    expected = repeats_of(rows, seconds)
    assert {each.template: (each.executions, each.repeats) for each in found} == {
        template.text: pytest.approx(tuple(pair)) for template, pair in expected.items()
    }
    assert [each.repeats for each in found] == sorted((each.repeats for each in found), reverse=True)
    assert all(0 < each.share < 1 for each in found)


def test_a_period_reads_its_own_partitions_only(opened):
    for day in ("14", "15", "16"):
        opened.rows(
            f"CREATE TABLE otel_ratelimit.query_logs_202606{day} PARTITION OF otel_ratelimit.query_logs"
            f" FOR VALUES FROM ('2026-06-{day} 00:00+00') TO ('2026-06-{int(day) + 1} 00:00+00')"
        )
    asked = {
        "start": DAY.start,
        "end": DAY.end,
        "endpoint": None,
        "service": None,
        "seconds": 60,
        "limit": 10,
    }
    statement = PostgresQueries(opened)._sql["repeats_in_time"]
    plan = "\n".join(line for (line,) in opened.rows(f"EXPLAIN {statement}", asked))
    assert "query_logs_20260615" in plan
    assert "query_logs_20260614" not in plan
    assert "query_logs_20260616" not in plan


def test_duplicates_can_be_asked_for_from_a_shell(opened, writer, each_database, monkeypatch):
    lasting = hash_query("SELECT name FROM jobs WHERE id = 1")
    twice = [
        replace(ROW, template=lasting, in_txn=False, n=1, buckets=None, sample_rate=1.0, ts=NOON + second)
        for second in (0, 30)
    ]
    writer.write(batch(twice, repeats=[REPEATS]))
    monkeypatch.setenv("OTEL_RATELIMIT_DATABASE_URL", each_database)
    found = detect_duplicates("2026-06-15", "2026-06-15")
    assert [each.endpoint for each in found.in_requests] == ["/list"]
    assert [(each.executions, each.repeats, each.share) for each in found.in_time] == [(2.0, 1.0, 0.5)]
    assert detect_duplicates("2026-06-15", "2026-06-15", within_seconds=29).in_time == ()
    assert detect_duplicates("2026-06-15", "2026-06-15", endpoint="/none").in_requests == ()
    with pytest.raises(ValueError, match="time of 0 or more"):
        detect_duplicates("2026-06-15", "2026-06-15", within_seconds=-1)
    monkeypatch.delenv("OTEL_RATELIMIT_DATABASE_URL")
    with pytest.raises(ConfigurationError, match="no database is named"):
        detect_duplicates("2026-06-15", "2026-06-15")
    assert json.dumps([each.template for each in found.in_time])


def test_a_request_that_is_counted_already_adds_its_executions_and_no_request(opened, writer):
    """A stream with another burst in the same minute, after what was found of it had been written."""
    writer.write(batch(repeats=[REPEATS]))
    writer.write(batch(rows=[ROW], repeats=[replace(REPEATS, requests=0, executions=7, most=7)]))
    [found] = PostgresQueries(opened).repeats_in_requests(DAY)
    assert (found.requests, found.executions, found.most) == (2, 22, 9)
