"""Refusals in the log of an application: exact, private, and the same client as in the tables."""

from __future__ import annotations

import logging
import threading

import flask
import flask_limiter
import pytest
from opentelemetry.sdk.trace import TracerProvider

from otel_ratelimit import RateLimit
from otel_ratelimit.analytics import log_rate_limit_violation
from otel_ratelimit.core import names
from otel_ratelimit.core.errors import SettingsError
from otel_ratelimit.policy import load_policy
from otel_ratelimit.postgres import Database
from otel_ratelimit.telemetry.logs.output import DefaultHandler

LOGGER = "otel_ratelimit.refusals"
POLICY = """
version = 1
[tiers]
default = "3/minute"
[analytics]
client_addresses = "{style}"
"""


@pytest.fixture
def served(tmp_path, caplog):
    """An application and its limits: `served(style, **arguments)`."""
    caplog.set_level(logging.INFO, LOGGER)
    opened = []

    def serve(style="whole", policy=POLICY, **arguments):
        path = tmp_path / "ratelimit.toml"
        path.write_text(policy.format(style=style))
        app = flask.Flask("shop")
        app.add_url_rule("/thing", view_func=lambda: "ok", endpoint="thing")
        app.add_url_rule("/own", view_func=lambda: "ok", endpoint="own")
        opened.append(RateLimit(app, policy=path, environ={}, **arguments))
        return app, opened[-1]

    yield serve
    for rate_limit in opened:
        rate_limit.close()


def ask(app, times, address="203.0.113.9", path="/thing"):
    client = app.test_client()
    statuses = [client.get(path, environ_base={"REMOTE_ADDR": address}).status_code for _ in range(times)]
    return statuses.count(429)


def fields(caplog, name):
    return [vars(record)[name] for record in caplog.records if record.name == LOGGER and name in vars(record)]


def test_lines_are_written_at_the_end_with_all_that_was_refused(served, caplog):
    app, rate_limit = served()
    refused = ask(app, 10) + ask(app, 7, "203.0.113.10")
    rate_limit.close()
    assert fields(caplog, names.REFUSED_REQUESTS) == [7, 4]
    assert refused == 11
    assert fields(caplog, names.CLIENT_ADDRESS) == ["203.0.113.9", "203.0.113.10"]


@pytest.mark.parametrize("style", ["masked", "hashed"])
def test_no_whole_address_is_in_the_log(served, caplog, style):
    caplog.set_level(logging.DEBUG)
    app, rate_limit = served(style)
    ask(app, 10)
    rate_limit.close()
    assert fields(caplog, names.REFUSED_REQUESTS) == [7]
    assert not [record for record in caplog.records if "203.0.113.9" in str(vars(record))]


@pytest.mark.parametrize("hash_key", [None, "of the environment, long"], ids=["database", "set"])
def test_a_hashed_client_of_the_log_is_found_in_the_table(served, caplog, database, hash_key):
    app, rate_limit = served("hashed", database_url=database, hash_key=hash_key)
    ask(app, 10)
    assert rate_limit.analytics.recorder.flush()
    rate_limit.refusal_log.tick()
    found = Database(database)
    rows = found.rows("SELECT DISTINCT client FROM otel_ratelimit.rate_limit_analytics", {})
    found.close()
    assert fields(caplog, names.CLIENT_ADDRESS) == [rows[0][0]]


def test_the_background_thread_writes_lines_without_a_database(served, caplog):
    app, rate_limit = served()
    ask(app, 10)
    written = threading.Event()
    caplog.handler.addFilter(lambda record: record.name != LOGGER or written.set() or True)
    rate_limit._parts.worker.wake("refusal log")
    assert written.wait(30)
    rate_limit.close()
    assert fields(caplog, names.REFUSED_REQUESTS) == [7]


def test_what_is_allowed_or_exempt_makes_no_line(served, caplog):
    app, rate_limit = served()
    app.add_url_rule("/health", view_func=lambda: "ok", endpoint="health")
    ask(app, 3)
    ask(app, 20, path="/health")
    rate_limit.close()
    assert fields(caplog, names.REFUSED_REQUESTS) == []


def test_shadow_is_told_apart_and_a_reload_loses_nothing(served, caplog):
    decided = []
    app, rate_limit = served(shadow=True, sinks=[lambda decision: decided.append(decision.kind)])
    assert ask(app, 10) == 0
    file = rate_limit._parts.policy.file
    file.path.write_text(POLICY.format(style="whole").replace("3/minute", "5/minute"))
    rate_limit._reloader.look()
    assert ask(app, 10) == 0
    rate_limit.close()
    assert set(fields(caplog, names.DECISION)) == {"shadow_blocked"}
    assert sum(fields(caplog, names.REFUSED_REQUESTS)) == decided.count("shadow_blocked") == 15


def test_limits_that_the_application_declared_are_there(served, caplog):
    app, rate_limit = served()
    own = flask_limiter.Limiter(
        lambda: flask.request.remote_addr, app=app, storage_uri="memory://", headers_enabled=False
    )
    app.add_url_rule("/declared", view_func=own.limit("2/hour")(lambda: "ok"), endpoint="declared")
    assert ask(app, 6, path="/declared") == 4
    rate_limit.close()
    assert sorted(zip(fields(caplog, names.LIMIT), fields(caplog, names.TIER), strict=True)) == [
        ("2 per 1 hour", "application"),
        ("3 per 1 minute", "default"),
    ]
    assert sum(fields(caplog, names.REFUSED_REQUESTS)) == 4


def test_what_the_application_refuses_itself_is_there_without_analytics_too(served, caplog):
    app, rate_limit = served()
    with app.test_request_context("/own"):
        recorded = log_rate_limit_violation(
            endpoint="/own",
            client="203.0.113.9",
            limit_text="1 per 1 day",
            limit_value=1,
            limit_seconds=86_400,
            current_count=1,
        )
    rate_limit.close()
    assert recorded is False
    assert fields(caplog, names.HTTP_ROUTE) == ["/own"]


def test_the_trace_is_that_of_a_refused_request(served, caplog):
    app, rate_limit = served()
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    for _ in range(5):
        with tracer.start_as_current_span("request") as span:
            refused = ask(app, 1)
        if refused:
            break
    rate_limit.close()
    assert f"trace {span.get_span_context().trace_id:032x}" in caplog.messages[-1]


def test_handlers_go_with_the_last_rate_limit_and_bad_settings_leave_none(served):
    logger = logging.getLogger("otel_ratelimit")
    before = sum(isinstance(handler, DefaultHandler) for handler in logger.handlers)
    _, one = served(log_level="error")
    assert logger.level == logging.ERROR
    with pytest.raises(SettingsError, match="OTEL_RATELIMIT_LOG_LEVEL"):
        served(log_level="loud")
    _, other = served()
    one.close()
    assert logger.level != logging.ERROR, "a level goes with the one that asked for it"
    other.close()
    assert sum(isinstance(handler, DefaultHandler) for handler in logger.handlers) <= before
    assert logger.level != logging.ERROR


def test_nothing_at_all_is_done_where_limits_are_off(served):
    logger = logging.getLogger("otel_ratelimit")
    before = logger.handlers[:]
    _, rate_limit = served(enabled=False)
    assert rate_limit.refusal_log is None
    assert logger.handlers == before


def test_a_policy_object_serves_as_well_as_a_file(tmp_path, caplog):
    caplog.set_level(logging.INFO, LOGGER)
    path = tmp_path / "limits.toml"
    path.write_text(POLICY.format(style="masked"))
    app = flask.Flask("shop")
    app.add_url_rule("/thing", view_func=lambda: "ok", endpoint="thing")
    rate_limit = RateLimit(app, policy=load_policy(path), environ={})
    ask(app, 4)
    rate_limit.close()
    assert fields(caplog, names.CLIENT_ADDRESS) == ["203.0.113.0/24"]
