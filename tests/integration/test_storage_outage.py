"""The answers that clients get while a real Redis is down, and when it returns."""

from __future__ import annotations

import os
import time

import flask
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_ratelimit import DecisionKind, RateLimit
from otel_ratelimit.core import names
from otel_ratelimit.policy import parse_policy

POLICY = """
version = 1
[tiers]
default = "5/minute; 100/hour"
[[routes]]
match = "/open"
limits = "5/minute"
on_error = "open"
[[routes]]
match = "/watched"
limits = "5/minute"
shadow = true
"""


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def decisions():
    return []


@pytest.fixture
def app(redis, reader, decisions):
    app = flask.Flask("shop")
    for name in ("closed", "open", "watched"):
        app.add_url_rule(f"/{name}", name, lambda: "ok")
    rate_limit = RateLimit(
        app,
        policy=parse_policy(POLICY, "outage.toml"),
        storage_uri=redis.uri,
        environ={},
        sinks=[decisions.append],
        meter_provider=MeterProvider(metric_readers=[reader]),
    )

    @app.get("/declared")
    @rate_limit.limiter.limit("5/minute")
    def declared():
        return "ok"

    yield app
    rate_limit.close()


def statuses(app, path, times):
    client = app.test_client()
    return [client.get(path).status_code for _ in range(times)]


def test_limits_hold_on_redis_and_two_processes_worth_of_limiters_share_them(app, redis):
    assert statuses(app, "/closed", 3) == [200] * 3
    other = flask.Flask("shop")
    other.add_url_rule("/closed", "closed", lambda: "ok")
    second = RateLimit(other, policy=parse_policy(POLICY, "outage.toml"), storage_uri=redis.uri, environ={})
    assert statuses(other, "/closed", 3) == [200, 200, 429]
    second.close()


def test_closed_answers_503_with_retry_after_and_never_a_500(app, redis, decisions):
    assert statuses(app, "/closed", 1) == [200]
    redis.stop()
    refused = [app.test_client().get("/closed") for _ in range(5)]
    assert {r.status_code for r in refused} == {503}
    assert {r.content_type for r in refused} == {"application/problem+json"}
    assert all(1 <= int(r.headers["Retry-After"]) <= 2 for r in refused)
    assert refused[0].json["type"].endswith("#temporary-reduced-capacity")
    assert [d.kind for d in decisions] == [DecisionKind.ALLOWED] + [DecisionKind.ERROR] * 5


def test_open_lets_through_and_says_so(app, redis, decisions):
    redis.stop()
    assert statuses(app, "/open", 8) == [200] * 8
    assert {d.kind for d in decisions} == {DecisionKind.ERROR}


def test_shadow_never_refuses_when_the_store_fails(app, redis):
    redis.stop()
    assert statuses(app, "/watched", 3) == [200] * 3


def test_a_declared_limit_answers_503_too(app, redis, decisions):
    assert statuses(app, "/declared", 1) == [200]
    redis.stop()
    assert statuses(app, "/declared", 2) == [503, 503]
    assert len(decisions) == 3


def test_a_stall_costs_one_request_a_quarter_of_a_second_and_the_next_nothing(app, redis):
    assert statuses(app, "/closed", 1) == [200]
    os.kill(redis.process.pid, 19)  # SIGSTOP: connected, and silent
    try:
        began = time.monotonic()
        assert statuses(app, "/closed", 20) == [503] * 20
        assert time.monotonic() - began < 2.0
    finally:
        os.kill(redis.process.pid, 18)


def test_service_is_resumed_when_the_store_is_back(app, redis):
    assert statuses(app, "/closed", 1) == [200]
    redis.stop()
    assert statuses(app, "/closed", 1) == [503]
    redis.start()
    deadline = time.monotonic() + 10
    while statuses(app, "/closed", 1) != [200]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_failures_are_counted_by_kind(app, redis, reader):
    redis.stop()
    statuses(app, "/closed", 10)
    (point,) = points(reader, names.STORAGE_ERRORS)
    assert dict(point.attributes) == {names.STORAGE: "redis", names.ERROR_TYPE: "connection"}
    assert 1 <= point.value <= 3


@pytest.mark.parametrize(("path", "led_to"), [("/closed", "closed"), ("/open", "open"), ("/watched", "open")])
def test_what_a_failure_led_to_is_counted(app, redis, reader, path, led_to):
    redis.stop()
    statuses(app, path, 5)
    (point,) = points(reader, names.REQUESTS)
    assert point.attributes[names.DECISION] == "error"
    assert point.attributes[names.ON_ERROR] == led_to
    assert names.LIMIT not in point.attributes
    assert point.value == 5


def points(reader, name):
    return [
        point
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.data.data_points
    ]
