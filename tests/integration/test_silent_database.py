"""A database that is silent: a caller with a deadline gets an answer in that time, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
from flask import Flask
from opentelemetry.sdk.trace import TracerProvider

from otel_ratelimit import RateLimit
from otel_ratelimit.core.deadline import within
from otel_ratelimit.core.errors import DatabaseError, NoTimeLeftError
from otel_ratelimit.postgres import Database
from otel_ratelimit.queries.capture_psycopg2 import prepare
from otel_ratelimit.queries.execution import FixedContext
from otel_ratelimit.telemetry.queries import QuerySpanProcessor

SOON = 3.0
"""Far more than the deadlines of these tests, and far less than the waits they cut short (13 s and more)."""
_AUTHENTICATED = b"R" + (8).to_bytes(4, "big") + (0).to_bytes(4, "big")
_STATUSES = {
    "client_encoding": "UTF8",
    "server_encoding": "UTF8",
    "server_version": "18.0",
    "DateStyle": "ISO",
    "standard_conforming_strings": "on",
}
_READY = b"Z" + (5).to_bytes(4, "big") + b"I"


def _status(name, value):
    body = f"{name}\0{value}\0".encode()
    return b"S" + (4 + len(body)).to_bytes(4, "big") + body


_HANDSHAKE = _AUTHENTICATED + b"".join(_status(*each) for each in _STATUSES.items()) + _READY


class SilentServer:
    """Takes connections, and says nothing; or nothing after the handshake."""

    def __init__(self, *, shakes_hands):
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._shakes_hands = shakes_hands
        self._open = []
        self.asked = threading.Event()
        """Somebody has sent a statement, or wants to connect where no hand is shaken."""
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"postgresql://u@127.0.0.1:{self._listening.getsockname()[1]}/d?sslmode=disable&gssencmode=disable"

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError):
            client.recv(65_536)
            if self._shakes_hands:
                client.sendall(_HANDSHAKE)
                client.recv(65_536)
            self.asked.set()
            while client.recv(65_536):
                pass

    def close(self):
        for each in (self._listening, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@pytest.fixture(params=["before the handshake", "after the handshake"])
def silent(request):
    with closing(SilentServer(shakes_hands=request.param == "after the handshake")) as server:
        yield server


@pytest.fixture
def mute():
    with closing(SilentServer(shakes_hands=True)) as server:
        yield server


@pytest.fixture
def limited():
    """`limited(url)`: a `RateLimit` that records into it, without a background thread."""
    made = []

    def make(url, **arguments):
        made.append(RateLimit(database_url=url, policy=None, environ={}, **arguments))
        return made[-1]

    yield make
    for rate_limit in made:
        rate_limit.close(timeout=0.1)
    prepare().observer = None


@contextlib.contextmanager
def soon():
    """Work within the block has its own deadline, and keeps it."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < SOON


def run_query(rate_limit, number=1):
    rate_limit.queries.log.intake.executed(
        *("SELECT x FROM t WHERE id = %s", b"SELECT %d" % number, FixedContext(b"d", "d"), 1_000, False),
        *(lambda *_: (1, 1), None),
    )


def violate(rate_limit):
    from otel_ratelimit.analytics import log_rate_limit_violation

    app = Flask("shop")
    rate_limit.init_app(app)
    with app.app_context():
        log_rate_limit_violation(
            endpoint="/a", client="192.0.2.1", limit_text="1 per 1 minute", limit_value=1, limit_seconds=60,
            current_count=2,
        )  # fmt: skip


def counted(url, table):
    with closing(Database(url)) as database:
        return database.rows(f"SELECT coalesce(sum(n), 0)::int FROM otel_ratelimit.{table}")[0][0]


def test_a_flush_of_the_tracer_provider_keeps_its_time(silent, limited):
    rate_limit = limited(silent.url)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(QuerySpanProcessor(rate_limit.queries.log))
    run_query(rate_limit)
    with soon():
        assert provider.force_flush(500) is False
    assert silent.asked.wait(10), "it did try"


def test_the_shutdown_of_the_tracer_provider_ends(silent, limited, monkeypatch):
    monkeypatch.setattr("otel_ratelimit.telemetry.queries.SHUTDOWN_SECONDS", 0.5)
    rate_limit = limited(silent.url)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(QuerySpanProcessor(rate_limit.queries.log))
    run_query(rate_limit)
    with soon():
        provider.shutdown()
    assert silent.asked.wait(10)


def test_a_flush_without_time_asks_nobody_and_keeps_everything(limited, database, mute):
    rate_limit = limited(mute.url)
    run_query(rate_limit)
    violate(rate_limit)
    assert rate_limit.queries.log.flush(0.0) is False
    assert rate_limit.analytics.recorder.flush(0.0) is False
    assert not mute.asked.is_set()
    assert rate_limit.analytics.recorder.state.pending == 1


def test_a_flush_while_another_thread_waits_for_the_database_keeps_its_time(silent, limited):
    rate_limit = limited(silent.url)
    run_query(rate_limit)
    violate(rate_limit)
    queries = threading.Thread(target=rate_limit.queries.log.flush, daemon=True)
    queries.start()
    recorder = threading.Thread(target=rate_limit.analytics.recorder.flush, daemon=True)
    recorder.start()
    assert silent.asked.wait(10)
    with soon():
        assert rate_limit.queries.log.flush(0.3) is False
        assert rate_limit.analytics.recorder.flush(0.3) is False
    assert queries.is_alive() or recorder.is_alive(), "they waited longer"


def test_to_close_keeps_its_time_and_says_that_not_all_was_written(silent, limited, caplog):
    rate_limit = limited(silent.url)
    run_query(rate_limit)
    violate(rate_limit)
    with soon():
        assert rate_limit.close(timeout=1.0) is False
    assert "1 executions in the query log could not be written before the end" in caplog.text
    assert "1 violations and the usage of 0 requests" in caplog.text
    for timeout in (0.2, 0.0, 5.0):
        assert rate_limit.close(timeout=timeout) is False


def test_to_close_again_what_was_all_written_says_so(limited, database):
    rate_limit = limited(database)
    violate(rate_limit)
    assert rate_limit.close() is True
    assert rate_limit.close() is True


def test_to_close_after_the_end_of_the_process_began_says_that_not_all_was_written(silent, limited):
    rate_limit = limited(silent.url)
    violate(rate_limit)
    with within(0.3):
        rate_limit.analytics.close()
    assert rate_limit.close(timeout=0.3) is False


def test_to_close_while_the_background_thread_waits_for_the_database_keeps_its_time(silent, limited):
    rate_limit = limited(silent.url)
    run_query(rate_limit)
    violate(rate_limit)
    rate_limit._parts.worker.wake("analytics maintenance")
    rate_limit._parts.worker.ensure_started()
    assert silent.asked.wait(10)
    with soon():
        assert rate_limit.close(timeout=1.0) is False


def test_what_was_not_flushed_is_written_once_when_the_server_answers_again(limited, own_postgres):
    from otel_ratelimit.postgres.migrate import upgrade

    upgrade(own_postgres.url())
    rate_limit = limited(own_postgres.url())
    run_query(rate_limit, 1)
    assert rate_limit.queries.log.flush(30.0)  # connected, and the secret known
    own_postgres.pause()
    run_query(rate_limit, 2)
    violate(rate_limit)
    with soon():
        assert rate_limit.queries.log.flush(0.3) is False
        assert rate_limit.analytics.recorder.flush(0.3) is False
    run_query(rate_limit, 3)
    own_postgres.resume()
    assert rate_limit.queries.log.flush(30.0)
    assert rate_limit.analytics.recorder.flush(30.0)
    assert counted(own_postgres.url(), "query_logs") == 3
    assert counted(own_postgres.url(), "rate_limit_analytics") == 1


def test_a_deadline_that_was_too_short_is_no_failure_of_the_database(limited, database, caplog):
    rate_limit = limited(database)
    run_query(rate_limit)
    assert rate_limit.queries.log.flush(0.0) is False
    assert rate_limit.queries.log.flush() is True
    assert "cannot be written" not in caplog.text
    assert "written again" not in caplog.text


def test_a_statement_is_not_sent_when_the_time_is_over(database):
    with closing(Database(database)) as opened:
        opened.rows("SELECT 1")
        with within(0.0), pytest.raises(NoTimeLeftError):
            opened.rows("CREATE TABLE too_late ()")
        assert opened.rows("SELECT to_regclass('too_late')") == [(None,)]


def test_the_server_gives_up_when_the_caller_does(database):
    with closing(Database(database)) as opened:
        with within(0.2), pytest.raises(DatabaseError):
            opened.rows("SELECT pg_sleep(60)")
        still = (
            "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active'"
            " AND pid <> pg_backend_pid()"
        )
        deadline = time.monotonic() + 20
        while opened.rows(still):
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)


def test_several_name_servers_that_are_silent_share_the_time(monkeypatch):
    asked, ended = [], threading.Event()

    def getaddrinfo(host, *_, **__):
        asked.append(host)
        ended.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    url = "host=a.example,b.example,c.example user=u dbname=d"
    with closing(Database(url)) as opened, soon(), within(0.3), pytest.raises(DatabaseError):
        opened.rows("SELECT 1")
    ended.set()
    assert asked == ["a.example"]


EXIT = """
import sys, time
from flask import Flask
from otel_ratelimit import RateLimit
from otel_ratelimit.analytics import log_rate_limit_violation
from otel_ratelimit.queries.execution import FixedContext
applications = []
for _ in range(2):
    app = Flask("shop")
    rate_limit = RateLimit(app, database_url=sys.argv[1])
    applications.append(rate_limit)
    if rate_limit.queries is not None:
        rate_limit.queries.log.intake.executed(
            "SELECT 1", b"SELECT 1", FixedContext(b"d", "d"), 1000, False, lambda *_: (1, 1), None)
    with app.app_context():
        log_rate_limit_violation(
            endpoint="/a", client="192.0.2.1", limit_text="1 per 1 minute", limit_value=1, limit_seconds=60,
            current_count=2,
        )
    rate_limit._parts.worker.ensure_started()
print(time.monotonic())
"""


@pytest.mark.full
def test_the_end_of_a_process_waits_five_seconds_for_all_that_it_records(mute, tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", EXIT, mute.url],
        cwd=tmp_path, env={**os.environ, "OTEL_RATELIMIT_STORAGE_URI": "bounded-memory://"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    took = time.monotonic() - float(ended.stdout)  # importing may take long
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("1 violations and the usage of 0 requests") == 2, ended.stderr
    assert took < 10.0, "of two applications, each with two tables to write"


def test_an_embedded_database_that_is_being_started_is_not_waited_for(tmp_path):
    from otel_ratelimit.postgres.embedded.database import EmbeddedDatabase

    embedded = EmbeddedDatabase(f"embedded:{tmp_path}", lambda _: None, os.environ)
    with embedded._starting, soon(), within(0.2), pytest.raises(DatabaseError, match="still being started"):
        embedded.url()
    with soon(), within(0.2), pytest.raises(DatabaseError, match="does not answer in time"):
        embedded.url()
    assert not (tmp_path / "data").exists(), "nobody has waited for it, so it was not started"


def test_metrics_are_told_what_was_dropped_at_the_end(silent, limited):
    rate_limit = limited(silent.url)
    violate(rate_limit)
    dropped = []
    listener = rate_limit.analytics.recorder._listener
    listener.dropped = dropped.append
    rate_limit.close(timeout=0.5)
    assert dropped == [1]
