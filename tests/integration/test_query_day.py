"""A day read from a real query log says what the same rows in memory say."""

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from memory_day import QueryRowsDay

from otel_ratelimit.cache_advice.analyse import analyze_cache_potential
from otel_ratelimit.core.errors import DatabaseError
from otel_ratelimit.core.periods import Period
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.query_day import postgres_query_day
from otel_ratelimit.postgres.query_writer import PostgresQueryWriter
from otel_ratelimit.queries.records import QueryBatch, QueryRow, QueryTemplate, TableWrite, TemplateTotal

START = datetime(2026, 3, 28, tzinfo=UTC)
DAY = Period(START, START + timedelta(days=1))
MIDNIGHT = START.timestamp()
JOB = QueryTemplate(
    -11, "SELECT * FROM jobs WHERE id = ?", "select", ("jobs",), is_write=False, volatile=False
)
USER = QueryTemplate(12, "SELECT * FROM users", "select", ("users",), is_write=False, volatile=False)
WRITE = QueryTemplate(13, "UPDATE jobs SET x = ?", "update", ("jobs",), is_write=True, volatile=False)


def rows(seed):
    draw = random.Random(seed)
    keys = [draw.randbytes(16) for _ in range(60)]
    found = []
    for _ in range(1_500):
        key = draw.randrange(len(keys))
        is_hot = key < 10 and draw.random() < 0.5
        buckets = tuple(draw.randrange(4) for _ in range(draw.randrange(2, 60)))
        if not is_hot or not any(buckets):
            buckets = None
        found.append(
            QueryRow(
                ts=MIDNIGHT + (draw.randrange(86_400) if buckets else round(draw.random() * 86_400, 3)),
                template=(JOB, USER, WRITE)[key % 3],
                key=keys[key],
                n=sum(buckets) if buckets else 1,
                sample_rate=1.0 if is_hot else 0.5,
                tier="hot" if is_hot else "cold",
                duration_us=draw.randrange(200, 5_000),
                rows=1,
                # Of hot keys the size is taken that was measured last, which depends on how far one has read.
                result_bytes=100 + 40 * key if key < 10 else draw.choice([None, 100 + 40 * key]),
                endpoint="/a",
                trace_id=None,
                database=("shop", "stock")[key % 2],
                in_txn=draw.random() < 0.05,
                status=draw.choice(["ok"] * 20 + ["57014"]),
                buckets=buckets,
            )
        )
    return found


def test_rows_come_back_from_the_database_as_they_went_in(database):
    kept = rows(1)
    minutes = [int(MIDNIGHT) + 60 * minute for minute in range(1_440)]
    totals = [TemplateTotal(minute, JOB, "shop", 3, 1, 0) for minute in minutes]
    writes = [TableWrite(minute, "shop", "jobs", "update", 2) for minute in minutes[::30]]
    writer = PostgresQueryWriter(Database(database), lambda: MIDNIGHT)
    writer.write(QueryBatch(UUID(int=1), "one", tuple(kept), tuple(totals), tuple(writes), ()))

    expected = analyze_cache_potential(QueryRowsDay(DAY, kept, totals, writes))
    # Blocks of a few rows: keys and seconds go on from one to the next.
    with postgres_query_day(database, DAY, block_bytes=2_000) as day:
        found = analyze_cache_potential(day)

    assert found.sample == expected.sample
    assert found.executions == pytest.approx(expected.executions)
    assert found.unique == pytest.approx(expected.unique)
    for one, other in zip(found.not_cacheable, expected.not_cacheable, strict=True):
        assert one.model_dump() == pytest.approx(other.model_dump())
    for one, other in zip(found.by_ttl, expected.by_ttl, strict=True):
        assert one.model_dump() == pytest.approx(other.model_dump(), rel=1e-6)


def test_a_day_without_queries_is_read(database):
    with postgres_query_day(database, DAY) as day:
        found = analyze_cache_potential(day)

    assert (found.all_executions, found.plan) == (0, None)


def written(database, kept):
    writer = PostgresQueryWriter(Database(database), lambda: MIDNIGHT)
    writer.write(QueryBatch(uuid4(), "one", tuple(kept), (), (), ()))


def readers():
    return [thread for thread in threading.enumerate() if thread.name.endswith("read-ahead")]


def test_rows_that_arrive_meanwhile_are_of_another_analysis(database):
    written(database, rows(1))

    with postgres_query_day(database, DAY) as day:
        written(database, rows(2))
        found = analyze_cache_potential(day)

    assert found.sample.rows == len(rows(1))


def test_who_fails_at_the_rows_leaves_nobody_reading(database):
    written(database, rows(1))

    def refuse(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), postgres_query_day(database, DAY, block_bytes=2_000) as day:
        day.hot(refuse)

    assert not readers()


def test_a_connection_that_breaks_while_rows_are_read_is_an_error_of_the_reader(database):
    written(database, rows(1))

    def read():
        with postgres_query_day(database, DAY, block_bytes=2_000) as day:
            second, _ = day._copies["cold"]
            Database(database).rows(f"SELECT pg_terminate_backend({second.info.backend_pid}, 10000)")
            day.cold(lambda _: None)

    with pytest.raises(DatabaseError):
        read()

    assert not readers()


LIMITS = {
    "idle_in_transaction_session_timeout": "0",
    "transaction_timeout": "0",
    "statement_timeout": "30min",
}


def test_limits_on_an_applications_transactions_do_not_hold_for_the_reading(each_database):
    opened = Database(each_database)
    [(name,)] = opened.rows("SELECT current_database()")
    known = [limit for (limit,) in opened.rows("SELECT name FROM pg_settings") if limit in LIMITS]
    opened.rows("; ".join(f'ALTER DATABASE "{name}" SET {limit} = 5000' for limit in known))
    opened.close()

    with postgres_query_day(each_database, DAY) as day:
        for connection, _ in day._copies.values():
            with connection.cursor() as cursor:
                for limit in known:
                    cursor.execute(f"SHOW {limit}")
                    assert cursor.fetchall() == [(LIMITS[limit],)]


def test_nothing_is_asked_for_at_connecting_that_a_pooler_would_refuse(database):
    # PgBouncer knows no `options` but those that it is told to.
    with postgres_query_day(database, DAY) as day:
        assert not any(each.info.dsn_parameters.get("options") for each, _ in day._copies.values())


def test_a_database_without_our_tables_says_what_to_do(empty_database):
    with pytest.raises(DatabaseError, match="db upgrade"), postgres_query_day(empty_database, DAY):
        pass


def test_no_server_is_one_sentence():
    with (
        pytest.raises(DatabaseError, match="cannot connect"),
        postgres_query_day("postgresql://127.0.0.1:1/x", DAY),
    ):
        pass
