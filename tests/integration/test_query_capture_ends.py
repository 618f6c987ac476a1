"""When a query has ended: asynchronous connections, wait callbacks, and connections that are closed."""

from __future__ import annotations

import gc
import logging
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial

import psycopg2
import psycopg2.extras
import pytest
from psycopg2 import extensions
from psycopg2.extras import wait_select

from otel_ratelimit.queries.capture_psycopg2 import capture, connections, prepare, remove


class Seen:
    """An observer that keeps what it was told: what was sent, rows, bytes, how it ended, in a transaction."""

    def __init__(self):
        self.executions = []
        self.nanoseconds = []

    def executed(
        self, statement, sent, session, nanoseconds, in_txn, size_of, result, status="ok", started=None
    ):
        self.executions.append((sent.decode(), *size_of(result, True), status))
        self.nanoseconds.append(nanoseconds)


@pytest.fixture
def seen():
    capture = prepare()
    capture.observer = Seen()
    yield capture.observer
    remove()


@pytest.fixture
def connection(seen, empty_database):
    with closing(psycopg2.connect(empty_database, async_=True)) as opened:
        wait_select(opened)
        yield opened


def run(cursor, query, parameters=None):
    cursor.execute(query, parameters)
    wait_select(cursor.connection)


def test_each_query_of_an_asynchronous_connection_has_its_own_answer(connection, seen):
    cursor = connection.cursor()
    run(cursor, "SELECT generate_series(1, %s)", (20,))
    assert len(cursor.fetchall()) == 20
    run(cursor, "SELECT 'abc' WHERE %s", (True,))
    run(cursor, "SELECT 'abc' WHERE %s", (False,))
    run(connection.cursor(), "SELECT 1; SELECT generate_series(1, 3)")
    assert seen.executions == [
        ("SELECT generate_series(1, 20)", 20, 31, "ok"),
        ("SELECT 'abc' WHERE true", 1, 3, "ok"),
        ("SELECT 'abc' WHERE false", 0, 0, "ok"),
        ("SELECT 1", None, None, "ok"),
        ("SELECT generate_series(1, 3)", 3, 3, "ok"),
    ]


def test_nothing_is_told_before_the_answer_is_there(connection, seen):
    cursor = connection.cursor()
    cursor.execute("SELECT pg_sleep(0.05)")
    assert seen.executions == []
    wait_select(connection)
    assert len(seen.executions) == 1
    assert seen.nanoseconds[0] >= 50_000_000
    assert connection.poll() == extensions.POLL_OK, "which tells nothing more"
    assert len(seen.executions) == 1


def test_an_asynchronous_query_that_fails_is_told_with_its_sqlstate(connection, seen):
    cursor = connection.cursor()
    cursor.execute("SELECT 1 / %s", (0,))
    with pytest.raises(psycopg2.errors.DivisionByZero):
        wait_select(connection)
    run(cursor, "SELECT 7")
    assert seen.executions == [("SELECT 1 / 0", None, None, "22012"), ("SELECT 7", 1, 1, "ok")]


def test_what_psycopg2_refuses_on_an_asynchronous_connection_it_refuses_still(connection, seen):
    cursor = connection.cursor()
    cursor.execute("SELECT pg_sleep(0.05)")
    with pytest.raises(psycopg2.ProgrammingError, match="execute cannot be used while an asynchronous"):
        cursor.execute("SELECT 2")
    wait_select(connection)
    with pytest.raises(psycopg2.ProgrammingError, match="asynchronous mode"):
        cursor.executemany("SELECT %s", [(1,)])
    with pytest.raises(psycopg2.ProgrammingError, match="asynchronous"):
        connection.cursor("named")
    with pytest.raises(psycopg2.ProgrammingError, match="asynchronous mode"):
        connection.commit()
    assert [sent for sent, *_ in seen.executions] == ["SELECT pg_sleep(0.05)"]


def test_functions_and_cursors_of_other_classes_are_seen_asynchronously(connection, seen):
    cursor = connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
    run(cursor, "SELECT 1 AS a UNION SELECT 2 ORDER BY a")
    assert cursor.fetchall() == [{"a": 1}, {"a": 2}]
    connection.cursor().callproc("upper", ["abc"])
    with suppress(psycopg2.InterfaceError):
        wait_select(connection)
    cursor = connection.cursor()
    cursor.callproc("upper", ["abc"])
    wait_select(connection)
    assert [execution[1] for execution in seen.executions] == [2, 1]


def test_a_cursor_that_was_dropped_is_as_dropped_as_without_us(connection, seen, empty_database):
    def dropped(connection):
        connection.cursor().execute("SELECT 1")
        gc.collect()
        with pytest.raises(psycopg2.Error) as raised:
            wait_select(connection)
        return type(raised.value), str(raised.value)

    with closing(extensions.connection(empty_database, async_=True)) as stock:
        wait_select(stock)
        expected = dropped(stock)
    assert dropped(connection) == expected
    assert seen.executions == []


def test_settings_of_an_asynchronous_connection_are_followed(connection, seen):
    cursor = connection.cursor()
    before = (
        connection.otel_ratelimit_session.context if hasattr(connection, "otel_ratelimit_session") else None
    )
    run(cursor, "SET search_path = pg_catalog")
    assert connection.otel_ratelimit_session.context != before


def test_with_a_wait_callback_each_query_has_its_own_answer(seen, empty_database):
    extensions.set_wait_callback(wait_select)
    try:
        with closing(psycopg2.connect(empty_database)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT generate_series(1, 100)")
            cursor.execute("SELECT 1 WHERE false")
            with pytest.raises(psycopg2.errors.DivisionByZero):
                cursor.execute("SELECT 1 / 0")
            connection.rollback()
            cursor.executemany("SELECT generate_series(1, %s)", [(2,), (3,)])
    finally:
        extensions.set_wait_callback(None)
    assert [(rows, status) for _, rows, _, status in seen.executions] == [
        *((100, "ok"), (0, "ok"), (None, "22012"), (2, "ok"), (3, "ok")),
    ]


def closed_connection(connection, cursor):
    connection.close()


def closed_cursor(connection, cursor):
    cursor.close()


def server_gone(connection, cursor):
    pid = connection.info.backend_pid
    with closing(extensions.connection(connection.dsn)) as other:
        other.autocommit = True
        other.cursor().execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))


def gone_in_mid_query(connection, cursor):
    """And the application has seen the error already."""
    with suppress(psycopg2.Error):
        cursor.execute(r"SELECT E'a\'b', pg_terminate_backend(pg_backend_pid())")


def closed_by_a_thread(connection, cursor):
    thread = threading.Thread(target=connection.close)
    thread.start()
    thread.join()


USES = {
    "execute": lambda connection, cursor: cursor.execute("SELECT 1"),
    "execute with a backslash": lambda connection, cursor: cursor.execute(r"SELECT E'a\'b'"),
    "executemany": lambda connection, cursor: cursor.executemany("SELECT %s", [(1,), (2,)]),
    "callproc": lambda connection, cursor: cursor.callproc("upper", ["a"]),
    "copy_expert": lambda connection, cursor: cursor.copy_expert("COPY (SELECT 1) TO STDOUT", None),
    "fetchall": lambda connection, cursor: cursor.fetchall(),
    "cursor": lambda connection, cursor: connection.cursor(),
    "cursor of a class": lambda connection, cursor: connection.cursor(
        cursor_factory=psycopg2.extras.DictCursor
    ),
    "commit": lambda connection, cursor: connection.commit(),
    "rollback": lambda connection, cursor: connection.rollback(),
    "with": lambda connection, cursor: connection.__enter__(),
    "reset": lambda connection, cursor: connection.reset(),
    "poll": lambda connection, cursor: connection.poll(),
    "set_session": lambda connection, cursor: connection.set_session(autocommit=True),
    "set_isolation_level": lambda connection, cursor: connection.set_isolation_level(1),
    "set_client_encoding": lambda connection, cursor: connection.set_client_encoding("UTF8"),
    "tpc_rollback": lambda connection, cursor: connection.tpc_rollback(),
}

SOME_USES = ("execute", "executemany", "commit", "poll")
"""Ending a server's process takes a tenth of a second."""


@pytest.mark.parametrize("has_run", [False, True])
@pytest.mark.parametrize(
    "close", [closed_connection, closed_cursor, server_gone, gone_in_mid_query, closed_by_a_thread]
)
def test_what_is_closed_raises_what_psycopg2_raises_and_nothing_is_logged(
    seen, empty_database, caplog, close, has_run
):
    caplog.set_level(logging.DEBUG)

    def outcomes(connect):
        found = {}
        for name in SOME_USES if close is server_gone else USES:
            connection = connect(empty_database)
            cursor = connection.cursor()
            if has_run:
                cursor.execute("SELECT 1")
            close(connection, cursor)
            try:
                USES[name](connection, cursor)
            except Exception as error:  # of whatever class, it is compared
                found[name] = (type(error), str(error), error.__context__, error.__cause__)
            else:
                found[name] = None
            connection.close()
        return found

    assert outcomes(psycopg2.connect) == outcomes(extensions.connection)
    assert [record for record in caplog.records if record.name.startswith("otel_ratelimit")] == []


def test_a_server_that_goes_in_mid_query_raises_what_psycopg2_raises(seen, empty_database, caplog):
    statement = r"SELECT E'a\'b', pg_sleep(60)"

    def outcome(connect):
        connection = connect(empty_database)
        cursor = connection.cursor()
        cursor.execute("SELECT 1")
        pid = connection.info.backend_pid

        def end():
            with closing(extensions.connection(empty_database)) as other, other.cursor() as looking:
                other.autocommit = True
                active = "FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
                while not looking.rowcount > 0:
                    looking.execute(f"SELECT pg_terminate_backend(pid) {active}", (pid,))

        thread = threading.Thread(target=end)
        thread.start()
        with pytest.raises(psycopg2.Error) as raised:
            cursor.execute(statement)
        thread.join()
        connection.close()
        return type(raised.value), str(raised.value), raised.value.pgcode

    assert outcome(psycopg2.connect) == outcome(extensions.connection)
    assert "Traceback" not in caplog.text
    assert caplog.text == ""
    # libpq may keep that the connection is lost, and not why.
    assert seen.executions[1][-1] in {"57P01", "08006"}


def test_a_commit_that_went_well_stays_one_when_another_thread_closes_the_connection_after_it(
    seen, empty_database
):
    connection = psycopg2.connect(empty_database)
    connection.cursor().execute("SELECT 1")
    session = connection.otel_ratelimit_session
    connection.close()
    connections._ended(connection, session, is_rollback=False)


def test_a_first_statement_on_a_closed_connection_is_no_fault_of_ours(seen, empty_database, caplog):
    connection = psycopg2.connect(empty_database)
    cursor = connection.cursor()
    connection.close()
    with pytest.raises(psycopg2.InterfaceError, match="cursor already closed"):
        cursor.execute("SELECT 1")
    assert caplog.text == ""
    assert seen.executions == []


def test_connections_of_a_capture_that_has_ended_report_to_the_next_one(empty_database):
    first = capture()
    first.target.observer = Seen()
    with closing(psycopg2.connect(empty_database)) as pooled:
        first.release()
        second = capture()
        second.target.observer = seen = Seen()
        pooled.cursor().execute("SELECT 1")
        second.release()
    assert [sent for sent, *_ in seen.executions] == ["SELECT 1"]


def test_a_connection_that_two_captures_have_made_reports_once(empty_database, monkeypatch):
    first = capture()
    ours = psycopg2._connect
    monkeypatch.setattr(psycopg2, "_connect", partial(ours))
    second = capture()
    second.target.observer = seen = Seen()
    with closing(psycopg2.connect(empty_database)) as opened:
        opened.cursor().execute("SELECT 1")
    second.release()
    monkeypatch.undo()
    first.release()
    assert [sent for sent, *_ in seen.executions] == ["SELECT 1"]


def test_threads_may_take_and_release_the_capture_at_once():
    before, missed = psycopg2._connect, []

    def take_and_release():
        for _ in range(500):
            taken = capture()
            if not getattr(psycopg2._connect, "users", 0):
                missed.append(taken)
            taken.release()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(take_and_release) for _ in range(4)]:
                done.result()
    finally:
        sys.setswitchinterval(interval)
    assert psycopg2._connect is before
    assert missed == []
