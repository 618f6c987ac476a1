"""Every way in which psycopg2 runs a query is seen, once, as what the server received."""

from __future__ import annotations

import io
import logging
from contextlib import closing
from functools import partial

import psycopg2
import psycopg2.extras
import psycopg2.pool
import pytest
from captured import Seen
from opentelemetry.instrumentation.psycopg2 import Psycopg2Instrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from psycopg2 import extensions

from otel_ratelimit.postgres import Database
from otel_ratelimit.queries.capture_psycopg2 import prepare, remove
from otel_ratelimit.queries.fingerprint import hash_query


def test_a_query_with_parameters_is_seen_as_written_and_as_sent(cursor, seen):
    cursor.execute("SELECT name FROM jobs WHERE id = %s", (7,))
    assert cursor.fetchall() == [("job 7",)]
    [execution] = seen.executions
    assert execution.statement == "SELECT name FROM jobs WHERE id = %s"
    assert execution.sent == b"SELECT name FROM jobs WHERE id = 7"
    assert (execution.rows, execution.status, execution.in_txn) == (1, "ok", False)
    assert execution.nanoseconds > 0
    assert seen.sizes == [5]


def test_parameters_by_name_and_keyword_arguments_are_seen(cursor, seen):
    cursor.execute(query="SELECT name FROM jobs WHERE id = %(id)s", vars={"id": 7})
    assert seen.statements == ["SELECT name FROM jobs WHERE id = %(id)s"]
    assert seen.sent == ["SELECT name FROM jobs WHERE id = 7"]


def test_each_execution_of_executemany_is_one(cursor, seen):
    cursor.executemany("UPDATE jobs SET name = %s WHERE id = %s", [("a", 1), ("b", 2), ("c", 1000)])
    assert seen.statements == ["UPDATE jobs SET name = %s WHERE id = %s"] * 3
    assert seen.sent[1] == "UPDATE jobs SET name = 'b' WHERE id = 2"
    assert [execution.rows for execution in seen.executions] == [1, 1, 0]
    seen.clear()
    cursor.executemany("UPDATE jobs SET name = %s", [])
    assert seen.executions == []


def test_executemany_that_fails_on_the_way_tells_of_what_ran(cursor, seen):
    with pytest.raises(psycopg2.errors.UniqueViolation):
        cursor.executemany("INSERT INTO jobs VALUES (%s, 'x')", [(101,), (102,), (1,), (103,)])
    assert [execution.status for execution in seen.executions] == ["ok", "ok", "23505"]

    def broken():
        yield (201,)
        raise LookupError

    seen.clear()
    cursor.connection.rollback()
    with pytest.raises(LookupError):
        cursor.executemany("INSERT INTO jobs VALUES (%s, 'x')", broken())
    assert [execution.status for execution in seen.executions] == ["ok"]


def test_pages_of_execute_values_and_execute_batch_are_seen_as_the_server_counts_them(cursor, seen):
    rows = [(1000 + i, "x;y") for i in range(250)]
    psycopg2.extras.execute_values(cursor, "INSERT INTO jobs VALUES %s", rows, page_size=100)
    assert len(seen.executions) == 3
    seen.clear()
    psycopg2.extras.execute_batch(cursor, "UPDATE jobs SET name = %s WHERE id = %s", [("a;b", 1)] * 250)
    assert len(seen.executions) == 250
    assert set(seen.sent) == {"UPDATE jobs SET name = 'a;b' WHERE id = 1"}


def test_a_procedure_and_a_named_cursor_are_seen(connection, cursor, seen):
    cursor.callproc("abs", [-7])
    assert cursor.fetchall() == [(7,)]
    assert seen.sent == ["SELECT * FROM abs( -7)"]
    seen.clear()
    for name in ("one", 'an"other'):
        with connection.cursor(name, scrollable=True) as named:
            named.execute("SELECT name FROM jobs WHERE id < %s", (30,))
            assert len(named.fetchall()) == 29
    assert seen.sent == ["SELECT name FROM jobs WHERE id < 30"] * 2
    assert len(set(seen.keys)) == 1
    assert [(execution.rows, size) for execution, size in zip(seen.executions, seen.sizes, strict=True)] == [
        (None, None)
    ] * 2


def test_copies_are_seen_and_do_what_they_do(connection, cursor, seen):
    cursor.copy_from(io.StringIO("201\tann\n202\tbob\n"), "jobs", columns=("id", "name"))
    cursor.copy_expert("COPY jobs TO STDOUT -- all of it", out := io.StringIO())
    assert len(out.getvalue().splitlines()) == 102
    cursor.copy_to(io.StringIO(), "jobs", sep=";")
    found = [hash_query(execution.statement) for execution in seen.executions]
    assert [template.operation for template in found] == ["copy"] * 3
    assert [template.is_write for template in found] == [True, False, False]
    assert {template.tables for template in found} == {("jobs",)}
    assert [execution.rows for execution in seen.executions] == [2, 102, 102]
    seen.clear()
    with pytest.raises(psycopg2.errors.UndefinedTable):
        cursor.copy_from(io.StringIO(""), "nowhere")
    assert [execution.status for execution in seen.executions] == ["42P01"]


@pytest.mark.parametrize(
    "factory",
    [psycopg2.extras.DictCursor, psycopg2.extras.RealDictCursor, psycopg2.extras.NamedTupleCursor],
)
def test_a_cursor_of_any_class_is_seen_and_works_as_it_does(seen, connection, factory):
    cursors = [connection.cursor(cursor_factory=factory), connection.cursor(None, factory)]
    assert type(cursors[0]) is type(cursors[1])
    for cursor in cursors:
        assert isinstance(cursor, factory)
        cursor.execute("SELECT id, name FROM jobs WHERE id = 7")
        row = cursor.fetchone()
        assert row["name" if factory is psycopg2.extras.RealDictCursor else 1] == "job 7"
    assert len(seen.executions) == 2


def test_connections_that_log_go_on_logging(seen, empty_database, caplog):
    caplog.set_level(logging.DEBUG)
    logging_connection = psycopg2.extras.LoggingConnection
    with closing(psycopg2.connect(empty_database, connection_factory=logging_connection)) as opened:
        opened.initialize(logging.getLogger("test"))
        opened.cursor().execute("SELECT 7")
    assert "SELECT 7" in caplog.text
    assert seen.sent == ["SELECT 7"]


@pytest.mark.parametrize(
    "factory", [psycopg2.extras.DictConnection, psycopg2.extras.RealDictConnection, None]
)
def test_a_connection_of_any_class_is_seen_and_has_the_cursors_it_has(seen, empty_database, factory):
    with closing(psycopg2.connect(empty_database, connection_factory=factory)) as opened:
        assert factory is None or isinstance(opened, factory)
        with opened, opened.cursor() as cursor:
            cursor.execute("SELECT 7 AS seven")
            row = cursor.fetchone()
            assert row["seven" if factory else 0] == 7
    assert seen.sent == ["SELECT 7 AS seven"]


class CallsNoNext(extensions.connection):
    def __init__(self, *args, **kwargs):
        extensions.connection.__init__(self, *args, **kwargs)


class WithoutRoom(extensions.connection):
    __slots__ = ("x",)


class OfAMeta(extensions.connection, metaclass=type("Meta", (type,), {})):
    pass


class WithItsOwnCursor(extensions.connection):
    def cursor(self, name=None):
        return super().cursor(name, cursor_factory=psycopg2.extras.DictCursor)


@pytest.mark.parametrize("factory", [CallsNoNext, WithoutRoom, OfAMeta, WithItsOwnCursor])
def test_connections_of_odd_classes_are_seen(seen, empty_database, factory):
    with closing(psycopg2.connect(empty_database, connection_factory=factory)) as opened:
        assert isinstance(opened, factory)
        for _ in range(2):
            opened.cursor().execute("SELECT 7 AS seven")
            opened.commit()
            opened.rollback()
    assert seen.sent == ["SELECT 7 AS seven"] * 2


def test_who_looks_at_a_connection_or_a_cursor_sees_psycopg2s(connection, cursor):
    for ours, psycopg2s in ((connection, extensions.connection), (cursor, extensions.cursor)):
        assert isinstance(ours, psycopg2s)
        names = ("__name__", "__qualname__", "__module__")
        assert [getattr(type(ours), name) for name in names] == [getattr(psycopg2s, name) for name in names]
    with pytest.raises(TypeError):
        cursor.callproc("abs", parameters=None)


def test_a_replication_connection_works_as_without(seen, empty_database):
    factory = psycopg2.extras.PhysicalReplicationConnection
    with closing(psycopg2.connect(empty_database, connection_factory=factory)) as opened:
        cursor = opened.cursor()
        cursor.execute("IDENTIFY_SYSTEM")
        assert len(cursor.fetchall()) == 1
    assert seen.sent == ["IDENTIFY_SYSTEM"]


def test_a_class_of_cursors_for_each_cursor_takes_no_memory_for_ever(connection, seen):
    for _ in range(200):
        connection.cursor(cursor_factory=type("Mine", (extensions.cursor,), {})).execute("SELECT 1")
    assert len(seen.executions) == 200
    assert len(connection._otel_ratelimit_cursors) <= 64


def test_a_text_is_one_question_the_first_time_and_later_whatever_stands_around_it(cursor, seen):
    for query in ("SELECT name FROM jobs WHERE id = %s\n", "  SELECT name FROM jobs WHERE name = %s"):
        for value in ("a;b", "a;b", "--", "a;b"):
            cursor.execute(query.replace("id =", "name ="), (value,))
        keys = seen.keys
        assert keys[0] == keys[1] == keys[3] != keys[2]
        seen.clear()

    class Text(str):
        __slots__ = ()

    for query in (Text("SELECT 7"), "SELECT 7", Text("SELECT 7")):
        cursor.execute(query)
    assert len(set(seen.keys)) == 1
    assert {type(statement) for statement in seen.statements} == {str}


def test_texts_that_never_come_again_do_not_fill_the_memory(seen, cursor):
    plain = psycopg2._connect.classes.reporter.plain
    for number in range(5_000):
        cursor.execute(f"SELECT {number}")
    assert 0 < len(plain) <= 4_096
    cursor.execute(f"SELECT '{'x' * 5_000}'")
    assert max(map(len, plain)) <= 2_000


def test_what_is_no_class_is_said_not_to_be_recorded_and_works(seen, empty_database, caplog):
    opened = psycopg2.connect(empty_database, connection_factory=lambda dsn, **_: extensions.connection(dsn))
    opened.cursor().execute("SELECT 1")
    assert "are not recorded" in caplog.text
    caplog.clear()
    with closing(psycopg2.connect(empty_database)) as another:
        cursor = another.cursor(cursor_factory=partial(extensions.cursor))
        cursor.execute("SELECT 1")
    assert "are not recorded" in caplog.text
    assert seen.executions == []


def test_connections_of_pools_and_of_a_connect_that_was_imported_before_are_seen(empty_database):
    connect = psycopg2.connect
    capture = prepare()
    capture.observer = seen = Seen()
    try:
        pool = psycopg2.pool.ThreadedConnectionPool(1, 2, empty_database)
        pooled = pool.getconn()
        pooled.cursor().execute("SELECT 1")
        pool.putconn(pooled)
        pool.closeall()
        connect(empty_database).cursor().execute("SELECT 2")
        assert seen.sent == ["SELECT 1", "SELECT 2"]
    finally:
        remove()
    connect(empty_database).cursor().execute("SELECT 3")
    assert len(seen.executions) == 2


@pytest.mark.parametrize("order", ["traced first", "captured first"])
@pytest.mark.parametrize("conventions", ["", "database", "database/dup"])
def test_it_is_within_the_span_in_either_order(empty_database, monkeypatch, order, conventions):
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", conventions)
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = Psycopg2Instrumentor()

    class Within(Seen):
        def executed(self, *told):
            super().executed(*told)
            assert exporter.get_finished_spans() == (), "the span has not ended yet"

    if order == "captured first":
        capture = prepare()
    instrumentor.instrument(tracer_provider=provider, skip_dep_check=True)
    try:
        capture = prepare()
        capture.observer = seen = Within()
        with closing(psycopg2.connect(empty_database, cursor_factory=psycopg2.extras.DictCursor)) as opened:
            opened.cursor().execute("SELECT 1 AS one")
            assert len(exporter.get_finished_spans()) == 1
            assert len(seen.executions) == 1
            exporter.clear()
            cursor = opened.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
            cursor.execute("SELECT 2 AS two")
            assert cursor.fetchall() == [{"two": 2}]
        assert seen.sent == ["SELECT 1 AS one", "SELECT 2 AS two"]
    finally:
        instrumentor.uninstrument()
        remove()


def test_our_own_connections_are_not_seen(seen, database):
    analytics = Database(database)
    assert analytics.rows("SELECT count(*) FROM otel_ratelimit.query_logs") == [(0,)]
    analytics.close()
    assert seen.executions == []
