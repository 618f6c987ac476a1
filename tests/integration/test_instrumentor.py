"""The entry point inside one process: what it does to Flask, and what it leaves behind."""

from __future__ import annotations

import gc
import weakref

import flask
import pytest
from flask.app import Flask
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_ratelimit import RateLimit, SettingsError
from otel_ratelimit.core import names
from otel_ratelimit.policy import parse_policy
from otel_ratelimit.runtime.instrumentor import RateLimitInstrumentor

POLICY = 'version = 1\n[tiers]\ndefault = "2/minute"\n'


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def provider(reader):
    return MeterProvider(metric_readers=[reader])


@pytest.fixture
def instrumented(provider, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ratelimit.toml").write_text(POLICY)
    instrumentor = RateLimitInstrumentor()
    instrumentor.instrument(meter_provider=provider, skip_dep_check=True)
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


def make_app(name="sample"):
    app = flask.Flask(name)
    app.add_url_rule("/a", "a", lambda: "ok")
    return app


def statuses(app, times):
    client = app.test_client()
    return [client.get("/a").status_code for _ in range(times)]


@pytest.mark.parametrize("name", ["LOG_LEVEL", "SHADOW"])
def test_a_variable_that_is_not_valid_is_said_once_when_an_application_is_made(
    provider, tmp_path, monkeypatch, caplog, name
):
    """A server prints that error itself; a log line before would say the same."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"OTEL_RATELIMIT_{name}", "loud")
    instrumentor = RateLimitInstrumentor()
    instrumentor.instrument(meter_provider=provider, skip_dep_check=True)
    try:
        with pytest.raises(SettingsError, match=f"OTEL_RATELIMIT_{name}: 'loud'"):
            make_app()
    finally:
        instrumentor.uninstrument()
    assert caplog.text == ""


def test_an_application_made_afterwards_is_limited(instrumented):
    assert statuses(make_app(), 3) == [200, 200, 429]


@pytest.mark.parametrize("flask_first", [True, False])
def test_the_order_of_instrumentors_makes_no_difference(provider, tmp_path, monkeypatch, flask_first):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ratelimit.toml").write_text(POLICY)
    ours, theirs = RateLimitInstrumentor(), FlaskInstrumentor()
    for instrumentor in (theirs, ours) if flask_first else (ours, theirs):
        instrumentor.instrument(meter_provider=provider, skip_dep_check=True)
    try:
        app = make_app()
        assert statuses(app, 3) == [200, 200, 429]
        hooks = [hook.__qualname__ for hook in app.before_request_funcs[None]]
        assert hooks == [
            "_wrapped_before_request.<locals>._before_request",
            "RequestHooks.before_request",
        ]
    finally:
        ours.uninstrument()
        theirs.uninstrument()


def test_the_check_comes_before_any_hook_of_the_application(instrumented):
    app = make_app()
    reached = []
    app.before_request(lambda: reached.append(1))
    statuses(app, 5)
    assert len(reached) == 2


def test_two_applications_in_one_process_do_not_share_counters(instrumented):
    first, second = make_app("first"), make_app("second")
    assert statuses(first, 3) == [200, 200, 429]
    assert statuses(second, 3) == [200, 200, 429]


def test_uninstrument_leaves_flask_and_applications_as_they_were(instrumented):
    before = Flask.__init__
    app = make_app()
    statuses(app, 1)
    instrumented.uninstrument()
    assert Flask.__init__ is not before
    assert not hasattr(Flask.__init__, "__wrapped__")
    assert statuses(app, 5) == [200] * 5
    assert statuses(make_app(), 5) == [200] * 5


def test_by_hand_wins_over_the_instrumentor_and_its_gauges_are_seen(instrumented, provider, reader):
    app = make_app()
    by_hand = RateLimit(
        app,
        policy=parse_policy('version = 1\n[tiers]\ndefault = "4/minute"\n', "by-hand.toml"),
        environ={},
        meter_provider=provider,
    )
    assert statuses(app, 5) == [200] * 4 + [429]
    metrics = {
        metric.name: metric.data.data_points
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert [point.value for point in metrics[names.STORAGE_KEYS]] == [1]
    assert len(metrics[names.POLICY_INFO]) == 1
    assert sum(point.value for point in metrics[names.REQUESTS]) == 5
    # An application made later is the instrumentor's again.
    assert statuses(make_app("later"), 3) == [200, 200, 429]
    by_hand.close()


def test_a_wrong_variable_does_not_stop_other_instrumentors_but_the_application(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTEL_RATELIMIT_TRUSTED_PROXIES", "10.0.0.1/8, nonsense")
    instrumentor = RateLimitInstrumentor()
    instrumentor.instrument(skip_dep_check=True)
    try:
        with pytest.raises(SettingsError) as caught:
            make_app()
        assert len(caught.value.problems) == 2
    finally:
        instrumentor.uninstrument()


def test_decorators_stay_harmless_when_switched_off():
    rate_limit = RateLimit(enabled=False, environ={})
    app = make_app()
    rate_limit.init_app(app)
    app.add_url_rule("/b", "b", rate_limit.limiter.limit("1/minute")(lambda: "ok"))
    assert [app.test_client().get("/b").status_code for _ in range(3)] == [200] * 3
    rate_limit.close()


def test_a_closed_rate_limit_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rate_limit = RateLimit(environ={})
    rate_limit.close()
    with pytest.raises(RuntimeError, match="closed"):
        rate_limit.init_app(make_app())


def test_an_application_that_is_dropped_is_freed(instrumented):
    app = make_app()
    statuses(app, 1)
    dropped = weakref.ref(app)
    del app
    gc.collect()
    assert dropped() is None


def test_required_by_hand_a_policy_must_be_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="there is no policy file"):
        RateLimit(make_app(), required=True, environ={})
    for given in ({"shadow": True}, {"shadow": False}, {"policy": parse_policy(POLICY, "here.toml")}):
        RateLimit(make_app(), required=True, environ={}, **given).close()
