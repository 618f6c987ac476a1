"""Our own connections: bounded in time whatever the server does, replaced when they break, seen by nobody."""

from __future__ import annotations

import os
import socket
import threading
import time

import psycopg2
import pytest
from opentelemetry.instrumentation.psycopg2 import Psycopg2Instrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from psycopg2.extensions import parse_dsn
from psycopg2.extras import wait_select

from otel_ratelimit.core.errors import (
    DatabaseError,
    DatabaseTimeoutError,
    DatabaseUnreachableError,
    DataRejectedError,
    SchemaMissingError,
)
from otel_ratelimit.postgres import Database


@pytest.fixture
def opened():
    databases = []

    def open_(url, **options):
        databases.append(Database(url, **options))
        return databases[-1]

    yield open_
    for database in databases:
        database.close()


def test_it_answers_rows_and_nothing_where_a_statement_has_none(opened, empty_database):
    database = opened(empty_database)
    assert database.rows("SELECT %(a)s::int, %(b)s", {"a": 7, "b": "x'; DROP"}) == [(7, "x'; DROP")]
    assert database.rows("CREATE TABLE t ()") == []


def test_one_connection_serves_one_statement_after_the_other(opened, empty_database):
    database = opened(empty_database)
    backends = {database.rows("SELECT pg_backend_pid()")[0] for _ in range(5)}
    assert len(backends) == 1


def test_threads_do_not_wait_for_each_other(opened, empty_database):
    database, together = opened(empty_database), threading.Barrier(4, timeout=10)
    backends = []

    def ask():
        # Each holds its connection until all four have one.
        backends.append(database.rows("SELECT pg_backend_pid(), pg_sleep(0.2)")[0][0])
        together.wait()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(set(backends)) == 4


def test_a_connection_that_the_server_closed_is_replaced_without_an_error(opened, own_postgres):
    database = opened(own_postgres.url())
    (before,) = database.rows("SELECT pg_backend_pid()")
    own_postgres.kill()
    own_postgres.start()
    (after,) = database.rows("SELECT pg_backend_pid()")
    assert before != after


def test_while_the_server_is_away_it_is_one_clear_error(opened, own_postgres):
    database = opened(own_postgres.url())
    own_postgres.stop()
    with pytest.raises(DatabaseError, match=r"connection to server .* failed"):
        database.rows("SELECT 1")


def test_a_silent_server_is_waited_for_as_long_as_was_said(opened, own_postgres):
    database = opened(own_postgres.url(), connect_seconds=0.3, statement_seconds=0.3)
    database.rows("SELECT 1")
    own_postgres.pause()
    began = time.monotonic()
    with pytest.raises(DatabaseTimeoutError, match="did not answer in time"):
        database.rows("SELECT 1")
    with pytest.raises(DatabaseUnreachableError, match=r"no answer within 0\.3 s; .* firewall"):
        database.rows("SELECT 1")
    assert time.monotonic() - began < 3.0
    own_postgres.resume()
    assert database.rows("SELECT 1") == [(1,)]


def test_a_port_that_takes_connections_and_says_nothing_is_not_waited_for(opened):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        database = opened(f"postgresql://u@127.0.0.1:{listener.getsockname()[1]}/d", connect_seconds=0.2)
        with pytest.raises(DatabaseUnreachableError, match="cannot connect to database d at 127"):
            database.rows("SELECT 1")


def test_the_server_gives_up_a_statement_as_well_and_no_setting_stays_behind(opened, empty_database):
    database = opened(empty_database, statement_seconds=0.2)
    with pytest.raises(DatabaseTimeoutError, match=r"statement timeout|did not answer"):
        database.rows("SELECT pg_sleep(30)")
    assert database.rows("SHOW statement_timeout") == [("200ms",)]
    kept = database._idle[-1].connection
    cursor = kept.cursor()
    cursor.execute("SHOW statement_timeout")
    wait_select(kept)
    assert cursor.fetchall() == [("0",)]


def test_missing_tables_are_said_to_be_missing_and_what_makes_them(opened, empty_database):
    with pytest.raises(SchemaMissingError, match="otel-ratelimit db upgrade"):
        opened(empty_database).rows("SELECT FROM otel_ratelimit.rate_limit_usage")


@pytest.mark.parametrize(
    "url", ["postgresql://user:p@ss%zz@host/db", "no url at all", "postgresql://h/d?nonsense=1"]
)
def test_a_url_that_cannot_be_understood_is_refused_without_showing_it(url):
    with pytest.raises(DatabaseError, match="postgresql://user:password@host") as caught:
        Database(url)
    assert "p@ss" not in str(caught.value)


def test_after_a_failure_the_next_statement_finds_another_connection(opened, empty_database):
    database = opened(empty_database)
    (before,) = database.rows("SELECT pg_backend_pid()")
    with pytest.raises(DatabaseError, match="division by zero"):
        database.rows("SELECT 1 / 0")
    assert database.rows("SELECT pg_backend_pid()") != [before]


def test_a_database_that_was_read_only_for_a_while_is_written_again(opened, empty_database, postgres):
    database, name = opened(empty_database), parse_dsn(empty_database)["dbname"]
    operator = opened(postgres.dsn())
    operator.rows(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    with pytest.raises(DatabaseError, match="read-only: connect to the primary"):
        database.rows("CREATE TABLE t ()")
    operator.rows(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
    assert database.rows("CREATE TABLE t ()") == []


def test_what_the_database_will_never_take_is_told_from_what_it_may_take_later(opened, empty_database):
    database = opened(empty_database)
    with pytest.raises(DataRejectedError, match="out of range"):
        database.rows("SELECT 1000000::smallint")


def test_a_name_server_that_does_not_answer_holds_up_nobody(opened, monkeypatch):
    answered = threading.Event()

    def getaddrinfo(*_, **__):
        answered.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    database = opened("postgresql://u@db.example.internal/d", connect_seconds=0.2)
    began = time.monotonic()
    with pytest.raises(DatabaseUnreachableError, match=r"no answer within 0\.2 s"):
        database.rows("SELECT 1")
    answered.set()
    assert time.monotonic() - began < 5.0


def test_a_forked_child_opens_its_own_and_leaves_the_parents_alone(opened, empty_database):
    database = opened(empty_database)
    (before,) = database.rows("SELECT pg_backend_pid()")
    child = os.fork()
    if child == 0:
        try:
            (mine,) = database.rows("SELECT pg_backend_pid()")
            os._exit(0 if mine != before else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert database.rows("SELECT pg_backend_pid()") == [before]


def test_its_statements_make_no_spans_where_psycopg2_is_instrumented(opened, empty_database):
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    instrumentor = Psycopg2Instrumentor()
    instrumentor.instrument(tracer_provider=provider, skip_dep_check=True)
    try:
        opened(empty_database).rows("SELECT 1")
        assert spans.get_finished_spans() == ()
        connection = psycopg2.connect(empty_database)
        connection.cursor().execute("SELECT 2")
        connection.close()
        assert len(spans.get_finished_spans()) == 1, "the application's are seen"
    finally:
        instrumentor.uninstrument()
