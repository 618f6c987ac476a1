"""`RateLimit` and the instrumentor change back what they have changed in the process and in the application.

Three things stay, because nobody can take them back: the routes of the HTTP API (Flask), which answer 404;
the span processor (OpenTelemetry), which has let go of all that it held, and which the next one uses again;
the hook at a fork (Python), which has nobody left to call. One `NullHandler` stays on Flask-Limiter's logger,
which without any handler would write to standard error. A View may stay in a provider whose exporters prefer
exponential histograms.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import tempfile
import threading
import weakref
from contextlib import closing, contextmanager
from pathlib import Path

import flask
import psycopg2
import pytest
import redis as redis_client
from components import wheel_postgres
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from process_state import application_state, differences, end_threads, exit_steps, process_state
from psycopg2.extras import register_uuid

from otel_ratelimit import PolicyError, RateLimit, SettingsError
from otel_ratelimit.core import names
from otel_ratelimit.policy import parse_policy
from otel_ratelimit.postgres import Database
from otel_ratelimit.runtime.instrumentor import RateLimitInstrumentor
from otel_ratelimit.telemetry.queries import QuerySpanProcessor

POLICY = 'version = 1\n[tiers]\ndefault = "2/minute"\n'
TOKEN = "0123456789abcdef"
MAY_READ = {"Authorization": f"Bearer {TOKEN}"}
UNHURRIED = 60
"""Seconds to close in, on a machine that is busy."""
GAUGES = {
    *(names.STORAGE_SIZE, names.STORAGE_KEYS, names.POLICY_INFO, names.CLIENT_LIMITED),
    *(names.QUEUE_LENGTH, names.QUEUE_CAPACITY),
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A working directory and a folder for temporary files of the test's own."""
    end_threads()
    for name in ("work", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr("os.isatty", lambda _: False)  # else nobody listens to SIGHUP
    return tmp_path / "work"


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "ratelimit.toml"
    path.write_text(POLICY)
    return path


@pytest.fixture
def metrics():
    return InMemoryMetricReader()


@pytest.fixture
def provider(metrics):
    return MeterProvider(metric_readers=[metrics])


@pytest.fixture
def app():
    app = flask.Flask("sample")
    app.add_url_rule("/a", "a", lambda: "ok")
    app.before_request(lambda: None)
    app.after_request(lambda response: response)
    app.register_error_handler(404, lambda _: ("nowhere", 404))
    return app


@contextmanager
def nothing_left(app):
    """Within this block everything is opened, used and closed, and nothing is held afterwards."""
    before = process_state(), application_state(app)
    with exit_steps() as steps:
        yield
    assert steps == []
    after = process_state(), application_state(app)
    assert [differences(*each) for each in zip(before, after, strict=True)] == [{}, {}]


def statuses(app, times):
    client = app.test_client()
    return [client.get("/a").status_code for _ in range(times)]


def reported(metrics):
    """Gauges of ours that report anything."""
    data = metrics.get_metrics_data()
    found = (
        []
        if data is None
        else [each for r in data.resource_metrics for s in r.scope_metrics for each in s.metrics]
    )
    return {metric.name for metric in found if metric.data.data_points} & GAUGES


@pytest.mark.parametrize("is_served", [True, False])
def test_limits_that_are_closed_leave_nothing(app, provider, metrics, is_served):
    with nothing_left(app):
        rate_limit = RateLimit(app, shadow=False, environ={}, meter_provider=provider)
        if is_served:
            assert statuses(app, 1) == [200]
        assert names.STORAGE_SIZE in reported(metrics)
        rate_limit.close(UNHURRIED)
        gone = weakref.ref(rate_limit)
        del rate_limit
    assert gone() is None
    assert reported(metrics) == set()
    assert app.test_client().get("/api/rate-limit/status").status_code == 404


def test_a_log_level_and_a_handler_go_with_those_that_asked_for_them(app, provider):
    with nothing_left(app):
        RateLimit(app, environ={}, log_level="debug", log_format="json", meter_provider=provider).close(
            UNHURRIED
        )


def test_what_records_in_a_database_leaves_nothing(app, provider, metrics, database, monkeypatch):
    spans = TracerProvider()
    monkeypatch.setattr("otel_ratelimit.runtime.queries.get_tracer_provider", lambda: spans)
    app.add_url_rule("/query", "query", lambda: str(query(database)))
    with nothing_left(app):
        files = process_state()["files open"]
        options = {"database_url": database, "api_token": TOKEN, "meter_provider": provider}
        rate_limit = RateLimit(app, environ={}, **options)
        assert reported(metrics) == GAUGES
        assert app.test_client().get("/query").status_code == 200
        asked = app.test_client().get("/api/rate-limit/analytics?date_range=24h", headers=MAY_READ)
        assert asked.status_code == 200
        assert rate_limit.close(UNHURRIED)
        assert process_state()["files open"] == files, "before anything is collected"
        assert reported(metrics) == set(), "also while it is held"
        del rate_limit
    assert reported(metrics) == set()
    [processor] = spans._active_span_processor._span_processors
    assert isinstance(processor, QuerySpanProcessor)
    assert processor._query_log is None
    assert processor.force_flush()
    RateLimit(app, environ={}, **options).close(UNHURRIED)
    assert spans._active_span_processor._span_processors == (processor,), "used again"
    assert processor._query_log is None
    spans.shutdown()


def query(database):
    connection = psycopg2.connect(database)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return cursor.fetchone()[0]
    finally:
        connection.close()


def test_an_embedded_database_is_stopped(app, provider):
    wheel_postgres()
    register_uuid()  # SQLAlchemy, which runs the migrations, does so for all connections
    # Not pytest's own folder, which as root no other user may enter.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, nothing_left(app):
        Path(folder).chmod(0o711)
        url, environ = f"embedded:{folder}/data", dict(os.environ)
        rate_limit = RateLimit(app, database_url=url, environ=environ, meter_provider=provider)
        assert statuses(app, 1) == [200]
        assert rate_limit.close(UNHURRIED)
        del rate_limit


def test_a_policy_file_is_watched_no_longer_and_hang_ups_are_not_listened_to(app, provider, policy):
    with nothing_left(app):
        rate_limit = RateLimit(app, policy=policy, environ={}, meter_provider=provider)
        assert signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL
        assert statuses(app, 3) == [200, 200, 429]
        policy.write_text(POLICY.replace("2/", "5/"))
        rate_limit._reloader.look()
        assert statuses(app, 4) == [200, 200, 200, 429]
        rate_limit.close(UNHURRIED)
        del rate_limit


def test_of_two_the_one_that_is_closed_leaves_the_other_as_it_was(app, provider, database):
    other_app = flask.Flask("other")
    other_app.add_url_rule("/a", "a", lambda: "ok")
    with nothing_left(app):
        first = RateLimit(app, shadow=False, database_url=database, environ={}, meter_provider=provider)
        statuses(app, 1)
        before = application_state(other_app)
        second = RateLimit(other_app, database_url=database, environ={}, meter_provider=provider)
        statuses(other_app, 1)
        second.close(UNHURRIED)
        del second
        assert differences(before, application_state(other_app)) == {}
        assert psycopg2._connect.users == 1
        assert statuses(app, 100)[-1] == 429
        first.close(UNHURRIED)
        del first


def test_of_two_the_first_may_be_closed_first(app, provider, database):
    other_app = flask.Flask("other")
    with nothing_left(app), nothing_left(other_app):
        first, second = (
            RateLimit(each, database_url=database, environ={}, meter_provider=provider)
            for each in (app, other_app)
        )
        first.close(UNHURRIED)
        assert psycopg2._connect.users == 1
        second.close(UNHURRIED)
        del first, second


def test_an_application_that_another_takes_over_has_what_it_had_when_that_closes(app, provider, policy):
    with nothing_left(app):
        RateLimit(app, environ={}, meter_provider=provider)
        statuses(app, 1)
        later = RateLimit(app, policy=policy, environ={}, meter_provider=provider)
        assert statuses(app, 3) == [200, 200, 429]
        later.close(UNHURRIED)
        del later


@pytest.mark.parametrize("is_served", [True, False])
def test_the_instrumentor_leaves_nothing(app, provider, policy, database, monkeypatch, is_served):
    monkeypatch.setenv("OTEL_RATELIMIT_POLICY", str(policy))
    monkeypatch.setenv("OTEL_RATELIMIT_DATABASE_URL", database)
    with nothing_left(app):
        instrumentor = RateLimitInstrumentor()
        instrumentor.instrument(meter_provider=provider, skip_dep_check=True)
        late = flask.Flask("late")
        late.add_url_rule("/a", "a", lambda: "ok")
        if is_served:
            assert statuses(late, 3) == [200, 200, 429]
        instrumentor.uninstrument()
        made = flask.Flask("late")
        made.add_url_rule("/a", "a", lambda: "ok")
        assert application_keys(late) == application_keys(made)
        del late, made


def application_keys(app):
    """Names only: two applications have equal attributes, not the same ones."""
    state = application_state(app)
    return sorted(state), state["extensions"], state["before_request_funcs"], state["after_request_funcs"]


def test_limits_that_are_off_change_nothing(app, provider):
    with nothing_left(app):
        rate_limit = RateLimit(app, enabled=False, environ={}, meter_provider=provider)
        assert statuses(app, 1) == [200]
        assert application_state(app)["extensions"] == {}
        rate_limit.close(UNHURRIED)
        del rate_limit


def test_a_policy_that_cannot_be_used_leaves_nothing(app, provider, policy):
    policy.write_text("version = 3\n")
    with nothing_left(app), pytest.raises(PolicyError):
        RateLimit(app, policy=policy, log_level="debug", environ={}, meter_provider=provider)


def test_a_setting_that_is_refused_after_the_store_was_opened_leaves_nothing(
    app, provider, database, monkeypatch
):
    options = {"database_url": database, "environ": {}, "meter_provider": provider}
    with nothing_left(app), pytest.raises(SettingsError):
        RateLimit(app, storage_uri="bounded-memory://", storage_options={"nothing": 1}, **options)


def test_an_application_that_cannot_have_limits_is_as_it_was(app, provider, database, monkeypatch):
    def refuse(*_args, **_options):
        raise NotImplementedError

    monkeypatch.setattr("otel_ratelimit.runtime.rate_limit.offer_api", refuse)
    with nothing_left(app):
        with pytest.raises(NotImplementedError):
            RateLimit(app, database_url=database, environ={}, meter_provider=provider)
        gc.collect()
    assert logging.getLogger("otel_ratelimit").handlers == []


def test_a_start_that_fails_at_its_last_step_is_undone_at_once(app, provider, database):
    before = psycopg2._connect
    options = {"log_level": "debug", "database_url": database, "environ": {}, "meter_provider": provider}
    with pytest.raises(TypeError, match="iterable") as held:
        RateLimit(app, sinks=5, **options)
    assert psycopg2._connect is before
    assert logging.getLogger("otel_ratelimit").handlers == []
    del held


@pytest.mark.parametrize(
    "step",
    [
        "core.background.BackgroundWorker.close",
        "telemetry.logs.RefusalLog.close",
        "queries.query_log.QueryLog.close",
    ],
)
def test_a_step_that_fails_does_not_keep_the_rest_open(app, provider, database, monkeypatch, step):
    class FailedError(Exception):
        pass

    def fail(*_args):
        raise FailedError

    rate_limit = RateLimit(app, log_level="debug", database_url=database, environ={}, meter_provider=provider)
    monkeypatch.setattr(f"otel_ratelimit.{step}", fail)
    with pytest.raises(FailedError):
        rate_limit.close(UNHURRIED)
    assert logging.getLogger("otel_ratelimit").handlers == []
    assert getattr(psycopg2._connect, "users", 0) == 0
    assert rate_limit.closed


@pytest.mark.parametrize("enabled", [True, False])
def test_however_many_there_were_flask_limiters_logger_has_one_handler_more(app, provider, enabled):
    logger = logging.getLogger("flask-limiter")
    for _ in range(2):
        RateLimit(app, enabled=enabled, environ={}, meter_provider=provider).close(UNHURRIED)
    before = list(logger.handlers)
    assert before
    RateLimit(app, enabled=enabled, environ={}, meter_provider=provider).close(UNHURRIED)
    assert logger.handlers == before


def test_the_connections_to_a_store_are_closed_before_anything_is_collected(app, provider, redis):
    files = process_state()["files open"]
    options = {"shadow": False, "environ": {}, "meter_provider": provider}
    rate_limit = RateLimit(app, storage_uri=redis.uri, **options)
    assert statuses(app, 1) == [200]
    assert process_state()["files open"] != files
    rate_limit.close(UNHURRIED)
    assert process_state()["files open"] == files


def test_connections_of_the_applications_own_pool_stay(app, provider, redis):
    pool = redis_client.ConnectionPool.from_url(redis.uri)
    connected = redis_client.Redis(connection_pool=pool)
    connected.ping()
    files = process_state()["files open"]
    options = {"storage_options": {"connection_pool": pool}, "shadow": False, "environ": {}}
    rate_limit = RateLimit(app, storage_uri=redis.uri, meter_provider=provider, **options)
    assert statuses(app, 1) == [200]
    rate_limit.close(UNHURRIED)
    assert process_state()["files open"] == files
    pool.disconnect()


@pytest.mark.parametrize("is_a_file", [True, False])
def test_what_is_collected_without_a_close_writes_what_it_has_and_ends_its_thread(
    provider, database, policy, monkeypatch, is_a_file
):
    monkeypatch.setattr("otel_ratelimit.runtime.parts.FLUSH_SECONDS", 0.1)
    policy.write_text(f'{POLICY}[analytics]\nflush_interval = "1s"\n')
    given = policy if is_a_file else parse_policy(policy.read_text(), "test.toml")
    before = threading.enumerate()
    files = process_state()["files open"]

    def serve():
        app = flask.Flask("collected")
        app.add_url_rule("/a", "a", lambda: str(query(database)))
        rate_limit = RateLimit(app, policy=given, database_url=database, environ={}, meter_provider=provider)
        assert statuses(app, 1) == [200]
        held = [weakref.ref(app), weakref.ref(rate_limit.queries)]
        return held, [each for each in threading.enumerate() if each not in before]

    held, [thread] = serve()
    gc.collect()
    assert held[0]() is None
    thread.join(UNHURRIED)
    assert not thread.is_alive()
    del thread
    gc.collect()
    assert [each() for each in held] == [None, None]
    assert process_state()["files open"] == files
    with closing(Database(database)) as opened:
        assert opened.rows("SELECT sum(requests)::int FROM otel_ratelimit.rate_limit_usage") == [(1,)]
        assert opened.rows("SELECT sum(n)::int FROM otel_ratelimit.query_totals") == [(1,)]
