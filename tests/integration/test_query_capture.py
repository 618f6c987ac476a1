"""Every way in which psycopg2 runs a query is seen, once, as what the server received."""

from __future__ import annotations

import io
import logging
import threading
from contextlib import closing
from functools import partial
from typing import NamedTuple

import psycopg2
import psycopg2.extras
import psycopg2.pool
import pytest
from opentelemetry.instrumentation.psycopg2 import Psycopg2Instrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from psycopg2 import extensions, sql

from otel_ratelimit.postgres import Database
from otel_ratelimit.queries.capture_psycopg2 import prepare, remove
from otel_ratelimit.queries.execution_key import ExecutionKeys
from otel_ratelimit.queries.fingerprint import hash_query

KEYS = ExecutionKeys(b"secret of this test")


class Execution(NamedTuple):
    statement: str
    sent: bytes
    context: bytes
    nanoseconds: int
    in_txn: bool
    rows: int | None
    size: int | None
    status: str


class Seen:
    """An observer that keeps the executions reported to it."""

    def __init__(self):
        self.executions = []

    def executed(
        self, statement, sent, session, nanoseconds, in_txn, size_of, result, status="ok", started=None
    ):
        told = (statement, sent, session.context, nanoseconds, in_txn, *size_of(result, True), status)
        self.executions.append(Execution(*told))

    @property
    def sizes(self):
        return [execution.size for execution in self.executions]

    @property
    def statements(self):
        return [execution.statement for execution in self.executions]

    @property
    def sent(self):
        return [execution.sent.decode() for execution in self.executions]

    @property
    def keys(self):
        return [KEYS.key(execution.context, execution.sent) for execution in self.executions]

    def clear(self):
        self.executions.clear()


@pytest.fixture
def seen():
    capture = prepare()
    capture.observer = Seen()
    yield capture.observer
    remove()


@pytest.fixture
def connection(seen, empty_database):
    with closing(psycopg2.connect(empty_database)) as opened:
        with opened, opened.cursor() as cursor:
            cursor.execute("CREATE TABLE jobs (id integer PRIMARY KEY, name text)")
            cursor.execute("INSERT INTO jobs SELECT i, 'job ' || i FROM generate_series(1, 100) AS i")
        seen.clear()
        yield opened


@pytest.fixture
def cursor(connection):
    with connection.cursor() as opened:
        yield opened


def test_a_query_with_parameters_is_seen_as_written_and_as_sent(cursor, seen):
    cursor.execute("SELECT name FROM jobs WHERE id = %s", (7,))
    assert cursor.fetchall() == [("job 7",)]
    [execution] = seen.executions
    assert execution.statement == "SELECT name FROM jobs WHERE id = %s"
    assert execution.sent == b"SELECT name FROM jobs WHERE id = 7"
    assert (execution.rows, execution.status, execution.in_txn) == (1, "ok", False)
    assert execution.nanoseconds > 0
    assert seen.sizes == [5]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT name FROM jobs WHERE id = 7",
        b"SELECT name FROM jobs WHERE id = 7",
        sql.SQL("SELECT name FROM jobs WHERE id = {}").format(sql.Literal(7)),
        sql.SQL("SELECT name FROM jobs WHERE id = 7"),
        sql.SQL("SELECT {} FROM {} WHERE id = %s"),
    ],
    ids=["str", "bytes", "Composed", "SQL", "Composed with parameters"],
)
def test_statements_of_every_type_that_send_the_same_have_the_same_key(cursor, seen, query):
    cursor.execute("SELECT name FROM jobs WHERE id = %s", (7,))
    if isinstance(query, sql.SQL) and "{}" in query.string:
        names = sql.SQL("name"), sql.SQL("jobs")
        cursor.execute(query.format(*names), (7,))
    else:
        cursor.execute(query)
    assert len(set(seen.keys)) == 1
    assert seen.sent == ["SELECT name FROM jobs WHERE id = 7"] * 2


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
    plain = psycopg2._connect.reporter.plain
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
def test_it_is_within_the_span_whoever_came_first(empty_database, monkeypatch, order, conventions):
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


def test_an_error_reaches_the_application_and_is_seen_with_its_sqlstate(connection, cursor, seen):
    with pytest.raises(psycopg2.errors.UndefinedTable):
        cursor.execute("SELECT * FROM nowhere WHERE id = %s", (7,))
    [execution] = seen.executions
    assert (execution.status, execution.rows, execution.sent) == (
        "42P01",
        None,
        b"SELECT * FROM nowhere WHERE id = 7",
    )
    seen.clear()
    connection.rollback()
    with pytest.raises(psycopg2.ProgrammingError):  # never sent
        cursor.execute("SELECT %s", (object(),))
    with pytest.raises(TypeError):
        cursor.execute("SELECT %s", 7)
    assert seen.executions == []


def test_of_a_statement_that_the_server_cannot_read_no_text_is_told(connection, cursor, seen):
    connection.autocommit = True
    for statement in (
        "SELECT name FROM jobs WHERE name = 'O'Brien sekrit'",
        'SELECT name FROM jobs WHERE name = "sekrit"',
        "SELECT name FROM jobs WHERE name = sekrit",
        "SELECT 123sekrit456",
        "SELECT :sekrit",
    ):
        with pytest.raises(psycopg2.ProgrammingError):
            cursor.execute(statement)
    assert seen.statements == ["<refused>"] * 5
    assert {execution.status[:2] for execution in seen.executions} == {"42"}


def test_where_strings_are_not_standard_no_text_with_a_backslash_is_told(cursor, seen):
    for _ in range(2):
        cursor.execute(r"SELECT 'C:\', 'sekrit'")
    cursor.execute("SET standard_conforming_strings = off")
    cursor.execute(r"SELECT 'it\'s sekrit'")
    assert cursor.fetchall() == [("it's sekrit",)]
    assert seen.statements[2:] == ["SET standard_conforming_strings = off", "<refused>"]
    assert "refused" not in "".join(seen.statements[:2])


def test_a_setting_that_the_statement_itself_changes_does_not_decide_how_it_is_read(connection, seen):
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("SET standard_conforming_strings = off")
    seen.clear()
    # The server has read all of it before the first part runs.
    cursor.execute(r"SET standard_conforming_strings = on; SELECT 'a\'; SELECT sekrit --'")
    assert seen.statements == ["<refused>"]
    cursor.execute("SELECT 1")
    before = seen.executions[-1].context
    cursor.execute("SET standard_conforming_strings = off")
    cursor.execute(r"SET search_path = 'it\'s'; SELECT 2")
    cursor.execute("SELECT 1")
    assert seen.executions[-1].context != before


def test_a_text_of_thousands_of_statements_is_told_of_once(cursor, seen):
    cursor.execute(";".join(f"SET app.n{number} = {number}" for number in range(5_000)))
    assert seen.statements == ["<refused>"]
    cursor.execute(";".join(["SELECT 1"] * 1_000))
    assert seen.statements[1:] == ["SELECT 1"] * 1_000


def test_a_table_made_by_a_select_is_a_write_of_the_transaction(cursor, seen):
    cursor.execute("SELECT 1")
    cursor.execute("SELECT id INTO made FROM jobs")
    cursor.execute("SELECT id FROM made")
    assert [execution.in_txn for execution in seen.executions] == [False, False, True]


@pytest.mark.parametrize(
    ("prepare_by", "statement"),
    [
        ("SET LOCAL lock_timeout = '50ms'", "SELECT id FROM locked WHERE id::text = sekrit"),
        ("SET LOCAL statement_timeout = '50ms'", "SELECT id FROM locked WHERE id::text = sekrit"),
        ("SET TRANSACTION READ ONLY", "CREATE VIEW v AS SELECT sekrit"),
        ("CREATE DOMAIN positive AS int CHECK (value > 0)", "SELECT '{-1}'::positive[], sekrit"),
        ("SELECT 1", "SELECT 'a'::int, sekrit"),
        ("SELECT 1", "INSERT INTO jobs VALUES (1, 'a'); SELECT sekrit"),
    ],
)
def test_of_a_statement_whose_names_were_not_looked_up_no_text_is_told(
    connection, cursor, seen, empty_database, prepare_by, statement
):
    cursor.execute("CREATE TABLE locked (id int)")
    connection.commit()
    with closing(psycopg2.connect(empty_database)) as other, other.cursor() as theirs:
        theirs.execute("LOCK TABLE locked")
        cursor.execute(prepare_by)
        with pytest.raises(psycopg2.Error):
            cursor.execute(statement)
    assert "sekrit" not in str(seen.statements)
    assert seen.statements[-1] == "<refused>"
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        cursor.execute("SELECT id FROM jobs WHERE name = sekrit")
    assert seen.statements[-1] == "<refused>"


def test_a_fault_of_the_observer_reaches_nobody_and_is_logged_once(cursor, seen, caplog):
    def broken(*_):
        raise ZeroDivisionError

    seen.executed = broken
    for _ in range(3):
        cursor.execute("SELECT 1")
        assert cursor.fetchall() == [(1,)]
    assert len([record for record in caplog.records if "could not be recorded" in record.message]) == 1


def test_comments_make_no_difference_to_the_key_and_what_looks_like_one_does(cursor, seen):
    for query in (
        "SELECT name FROM jobs WHERE id = 7",
        "SELECT name FROM jobs WHERE id = 7 /*traceparent='00-aa-bb-01'*/",
        "SELECT name FROM jobs WHERE id = 7 /*traceparent='00-cc-dd-01'*/",
        "/* list */ SELECT name FROM jobs WHERE id = 7",
    ):
        cursor.execute(query)
    keys = seen.keys
    assert keys[0] == keys[1] == keys[2]
    seen.clear()
    cursor.execute("SELECT '/*a*/'")
    cursor.execute("SELECT '/*b*/'")
    cursor.execute("SELECT '--a'")
    assert len(set(seen.keys)) == 3


def test_several_statements_in_one_text_are_seen_one_by_one(cursor, seen):
    cursor.execute("SELECT 1; SELECT 'a;b'; SELECT 3;")
    assert seen.sent == ["SELECT 1", "SELECT 'a;b'", "SELECT 3"]
    assert [execution.rows for execution in seen.executions] == [None, None, 1]


def test_threads_are_seen_each_with_its_own(seen, empty_database):
    def work(number):
        with closing(psycopg2.connect(empty_database)) as opened, opened.cursor() as cursor:
            for i in range(50):
                cursor.execute("SELECT %s", (number * 1000 + i,))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen.sent) == sorted(f"SELECT {n * 1000 + i}" for n in range(4) for i in range(50))


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ("SET search_path TO pg_catalog", False),
        ("SET ROLE pg_monitor", False),
        ("SET app.tenant = '2'", False),
        ("SELECT set_config('app.tenant', '2', false)", False),
        ("SET TIME ZONE 'Europe/Vienna'", False),
        ("SET statement_timeout = 1000", True),
        ("SET search_path TO pg_catalog; RESET search_path", True),
        ("SET app.tenant = '2'; DISCARD ALL", True),
        ("SELECT 1", True),
    ],
)
def test_what_is_set_on_a_connection_is_part_of_the_key(seen, empty_database, change, same):
    with closing(psycopg2.connect(empty_database)) as opened, opened.cursor() as cursor:
        opened.autocommit = True
        cursor.execute("SELECT 1 AS asked")
        for statement in change.split("; "):
            cursor.execute(statement)
        cursor.execute("SELECT 1 AS asked")
    assert (seen.keys[0] == seen.keys[-1]) is same


def test_what_is_set_for_a_transaction_ends_with_it_and_what_is_rolled_back_was_never_set(
    seen, empty_database
):
    def asked():
        cursor.execute("SELECT 1 AS asked")
        return seen.keys[-1]

    with closing(psycopg2.connect(empty_database)) as opened, opened.cursor() as cursor:
        plain = asked()
        cursor.execute("SET LOCAL app.tenant = '2'")
        assert asked() != plain
        opened.commit()
        assert asked() == plain
        cursor.execute("SELECT set_config('app.tenant', '2', true)")
        assert asked() != plain
        opened.rollback()
        assert asked() == plain
        cursor.execute("SET app.tenant = '2'")
        second = asked()
        opened.rollback()
        assert asked() == plain
        cursor.execute("SET app.tenant = '2'")
        opened.commit()
        assert asked() == second
        opened.commit()
        cursor.execute("BEGIN")
        cursor.execute("SET app.tenant = '3'")
        cursor.execute("ROLLBACK")
        assert asked() == second


def test_another_database_or_role_is_another_key(seen, postgres, new_database):
    urls = [new_database(postgres), new_database(postgres)]
    for url in (*urls, urls[0], f"{urls[0]}&options=-csearch_path%3Dpg_catalog"):
        with closing(psycopg2.connect(url)) as opened:
            opened.cursor().execute("SELECT 1")
    one, other, again, elsewhere = seen.keys
    assert one == again
    assert len({one, other, elsewhere}) == 3


def test_a_database_of_the_same_name_on_another_server_is_another_key(seen, postgres, debian_postgres):
    for server in (postgres, debian_postgres, postgres):
        with closing(psycopg2.connect(server.dsn())) as opened:
            opened.cursor().execute("SELECT 1")
    one, other, again = seen.keys
    assert one == again != other


def test_only_what_colours_a_result_counts_as_within_a_transaction(seen, connection, cursor):
    def last():
        cursor.execute("SELECT count(*) FROM jobs")
        return seen.executions[-1].in_txn

    assert [last(), last()] == [False, False], "reading alone, every statement has a snapshot of its own"
    cursor.execute("UPDATE jobs SET name = 'x' WHERE id = 1")
    assert last() is True, "it sees what nobody else does"
    connection.commit()
    assert last() is False
    cursor.execute("WITH gone AS (DELETE FROM jobs WHERE id = 2 RETURNING id) SELECT * FROM gone")
    assert last() is True
    connection.rollback()
    connection.set_session(isolation_level="REPEATABLE READ")
    assert [last(), last()] == [False, True], "from the second on the snapshot is old"
    connection.rollback()
    connection.set_session(isolation_level="DEFAULT")
    cursor.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
    assert last() is True
