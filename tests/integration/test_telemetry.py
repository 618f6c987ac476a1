"""The metrics and spans of real requests through an instrumented application."""

from __future__ import annotations

import textwrap

import flask
import pytest
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_ratelimit import RateLimit
from otel_ratelimit.core import names

POLICY = """
version = 1
[tiers]
default = "3/minute"
[[routes]]
match = "/watched"
limits = "1/minute"
shadow = true
[[routes]]
match = "/keyed"
limits = "100/minute"
key = "header:X-Api-Key"
"""


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def spans():
    return InMemorySpanExporter()


@pytest.fixture
def app(tmp_path, reader, spans):
    policy = tmp_path / "ratelimit.toml"
    policy.write_text(textwrap.dedent(POLICY))
    app = flask.Flask("observed")
    for name in ("plain", "watched", "keyed", "health"):
        app.add_url_rule(f"/{name}", name, lambda: "ok")
    app.add_url_rule("/users/<int:user_id>", "user", lambda user_id: "ok")
    app.add_url_rule("/broken", "broken", lambda: 1 / 0)
    tracer_provider = TracerProvider()
    tracer_provider.add_span_processor(SimpleSpanProcessor(spans))
    FlaskInstrumentor.instrument_app(app, tracer_provider=tracer_provider)
    rate_limit = RateLimit(
        app, policy=policy, environ={}, meter_provider=MeterProvider(metric_readers=[reader])
    )
    yield app
    rate_limit.close()
    FlaskInstrumentor.uninstrument_app(app)


def points(reader, name):
    data = reader.get_metrics_data()
    return [
        point
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.data.data_points
    ]


def requests_by(reader, *attributes):
    totals = {}
    for point in points(reader, names.REQUESTS):
        key = tuple(point.attributes.get(attribute) for attribute in attributes)
        totals[key] = totals.get(key, 0) + point.value
    return totals


def test_every_request_is_exactly_one_decision(app, reader):
    app.config["PROPAGATE_EXCEPTIONS"] = False
    client = app.test_client()
    sent = 0
    for path, times in (("/plain", 5), ("/watched", 3), ("/health", 2), ("/nowhere", 4), ("/broken", 2)):
        for _ in range(times):
            client.get(path)
            sent += 1
    assert requests_by(reader, names.DECISION) == {
        ("allowed",): 3 + 1 + 3 + 2,
        ("blocked",): 2 + 1,
        ("shadow_blocked",): 2,
        ("exempt",): 2,
    }
    assert sum(point.value for point in points(reader, names.REQUESTS)) == sent


def test_an_exception_that_flask_lets_out_is_still_one_decision(app, reader):
    app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(ZeroDivisionError):
        app.test_client().get("/broken")
    assert requests_by(reader, names.DECISION) == {("allowed",): 1}


def test_a_decision_carries_route_method_tier_and_the_limit_that_decided(app, reader):
    client = app.test_client()
    for _ in range(4):
        client.get("/users/7")
    assert requests_by(
        reader, names.HTTP_ROUTE, names.HTTP_REQUEST_METHOD, names.TIER, names.DECISION, names.LIMIT
    ) == {
        ("/users/<int:user_id>", "GET", "default", "allowed", None): 3,
        ("/users/<int:user_id>", "GET", "default", "blocked", "3 per 1 minute"): 1,
    }


def test_utilization_is_recorded_for_every_request_that_was_counted(app, reader):
    client = app.test_client()
    for _ in range(3):
        client.get("/plain")
    client.get("/health")
    (utilization,) = points(reader, names.UTILIZATION)
    assert (utilization.count, utilization.max) == (3, 1.0)
    assert utilization.sum == pytest.approx(1 / 3 + 2 / 3 + 1)


def test_duration_is_recorded_for_one_in_eight_allowed_and_for_every_refused(app, reader):
    client = app.test_client()
    for i in range(24):
        client.get("/plain", environ_base={"REMOTE_ADDR": f"192.0.2.{i}"})
    for _ in range(5):
        client.get("/plain", environ_base={"REMOTE_ADDR": "198.51.100.1"})
    durations = {p.attributes[names.DECISION]: p for p in points(reader, names.CHECK_DURATION)}
    assert durations["allowed"].count == (24 + 3 + 7) // 8
    assert durations["blocked"].count == 2
    assert 0 < durations["allowed"].sum < 1


def test_counts_are_complete_at_each_collection_and_after_close(app, reader):
    client = app.test_client()
    for expected in (1, 2, 3):
        client.get("/plain")
        assert requests_by(reader, names.DECISION) == {("allowed",): expected}


def test_the_series_are_bounded_whatever_clients_send(app, reader):
    client = app.test_client()
    for i in range(200):
        client.get(f"/random/{i}?q={i}")
        client.open(f"/plain/{i}", method=f"VERB{i}")
        client.get("/keyed", headers={"X-Api-Key": f"key-{i}"})
        client.get("/plain", environ_base={"REMOTE_ADDR": f"192.0.2.{i}"})
    for name in (names.REQUESTS, names.UTILIZATION, names.CHECK_DURATION, names.KEY_FALLBACKS):
        assert len(points(reader, name)) <= 12, name


def test_no_identity_is_in_any_metric(app, reader):
    client = app.test_client()
    client.get("/keyed", headers={"X-Api-Key": "sentinel-key"}, environ_base={"REMOTE_ADDR": "203.0.113.99"})
    client.get("/keyed", environ_base={"REMOTE_ADDR": "203.0.113.99"})
    client.get("/sentinel-path?sentinel-query", environ_base={"REMOTE_ADDR": "203.0.113.99"})
    everything = reader.get_metrics_data().to_json()
    assert "otel_ratelimit.requests" in everything
    assert "203.0.113.99" not in everything
    assert "sentinel" not in everything


def test_the_span_says_tier_decision_limit_remaining_and_a_hash_of_the_client(app, spans):
    client = app.test_client()
    for _ in range(4):
        client.get("/plain", environ_base={"REMOTE_ADDR": "203.0.113.99"})
    allowed, *_, blocked = spans.get_finished_spans()
    assert allowed.attributes[names.TIER] == "default"
    assert allowed.attributes[names.DECISION] == "allowed"
    assert allowed.attributes[names.LIMIT] == "3 per 1 minute"
    assert allowed.attributes[names.REMAINING] == 2
    assert blocked.attributes[names.DECISION] == "blocked"
    assert blocked.attributes["http.status_code"] == 429
    assert blocked.attributes[names.REMAINING] == 0
    assert len(blocked.attributes[names.CLIENT]) == 33
    assert "203.0.113.99" not in blocked.attributes[names.CLIENT]


def test_an_exemplar_links_a_blocked_request_to_its_trace(app, reader, spans):
    client = app.test_client()
    for _ in range(4):
        client.get("/plain")
    blocked = [p for p in points(reader, names.REQUESTS) if p.attributes[names.DECISION] == "blocked"]
    (exemplar,) = blocked[0].exemplars
    assert exemplar.trace_id == spans.get_finished_spans()[-1].context.trace_id


def test_a_key_that_cannot_be_had_is_counted_by_reason(app, reader):
    app.test_client().get("/keyed")
    (point,) = points(reader, names.KEY_FALLBACKS)
    assert dict(point.attributes) == {names.KEY: "header:X-Api-Key", names.ERROR_TYPE: "empty"}
    assert point.value == 1


def test_the_store_and_the_policy_in_force_are_reported(app, reader):
    app.test_client().get("/plain")
    (keys,) = points(reader, names.STORAGE_KEYS)
    (size,) = points(reader, names.STORAGE_SIZE)
    (capacity,) = points(reader, names.STORAGE_CAPACITY)
    (info,) = points(reader, names.POLICY_INFO)
    assert keys.value == 1
    assert 0 < size.value < capacity.value == 50_000_000
    assert info.value == 1
    assert keys.attributes == {names.STORAGE: "bounded-memory"}


def test_a_sink_that_fails_costs_no_response_and_is_logged_once(tmp_path, caplog):
    app = flask.Flask("unlucky")
    app.add_url_rule("/plain", "plain", lambda: "ok")

    def failing(decision):
        raise LookupError("the sink's own fault")

    seen = []
    rate_limit = RateLimit(app, shadow=False, environ={}, sinks=[failing, seen.append])
    client = app.test_client()
    assert [client.get("/plain").status_code for _ in range(3)] == [200, 200, 200]
    assert len(seen) == 3
    assert sum("the sink" in record.message and record.levelname == "ERROR" for record in caplog.records) == 1
    rate_limit.close()


def test_sizes_from_which_memory_is_warning_or_critical_are_those_of_the_policy(tmp_path, reader):
    policy = tmp_path / "ratelimit.toml"
    policy.write_text('version = 1\n[memory]\nwarning = "20 MB"\n')
    app = flask.Flask("small")
    rate_limit = RateLimit(
        app, policy=policy, environ={}, meter_provider=MeterProvider(metric_readers=[reader])
    )
    sizes = {p.attributes[names.LEVEL]: p.value for p in points(reader, names.STORAGE_THRESHOLD)}
    (capacity,) = points(reader, names.STORAGE_CAPACITY)
    assert sizes["warning"] == 20_000_000
    # Where a store of this capacity is full for counters: the rest is set aside for buckets and tables.
    assert 0.85 * capacity.value < sizes["critical"] < capacity.value
    rate_limit.close()
    assert points(reader, names.STORAGE_THRESHOLD) == []


def test_counters_of_rare_events_start_at_zero(app, reader):
    (overflows,) = points(reader, names.STORAGE_OVERFLOWS)
    assert overflows.value == 0
    assert {p.attributes[names.OUTCOME]: p.value for p in points(reader, names.POLICY_RELOADS)} == {
        "reloaded": 0,
        "unchanged": 0,
        "refused": 0,
    }


def test_how_long_somebody_has_been_refused_is_reported_without_saying_who(tmp_path, reader):
    now = [1_800_000_000.0]
    app = flask.Flask("clocked")
    app.add_url_rule("/plain", "plain", lambda: "ok")
    provider = MeterProvider(metric_readers=[reader])
    policy = tmp_path / "ratelimit.toml"
    policy.write_text('version = 1\n[tiers]\ndefault = "1/hour"\n')
    rate_limit = RateLimit(app, policy=policy, environ={}, meter_provider=provider, clock=lambda: now[0])
    client = app.test_client()
    for _ in range(4):
        client.get("/plain")
        now[0] += 50
    now[0] -= 50
    (limited,) = points(reader, names.CLIENT_LIMITED)
    assert (limited.value, dict(limited.attributes)) == (100.0, {})
    rate_limit.close()


def test_what_two_of_one_process_report_is_added_up_where_that_makes_sense(tmp_path, reader):
    now = [1_800_000_000.0]
    provider = MeterProvider(metric_readers=[reader])
    policy = tmp_path / "ratelimit.toml"
    policy.write_text('version = 1\n[tiers]\ndefault = "1/hour"\n')
    apps = [flask.Flask(name) for name in ("first", "second")]
    limits = [
        RateLimit(app, policy=policy, environ={}, meter_provider=provider, clock=lambda: now[0])
        for app in apps
    ]
    for _ in range(4):
        for app in apps:
            app.test_client().get("/plain")
        now[0] += 50
    now[0] -= 50
    assert [p.value for p in points(reader, names.CLIENT_LIMITED)] == [100.0]
    assert [p.value for p in points(reader, names.POLICY_INFO)] == [1]
    assert [p.value for p in points(reader, names.STORAGE_KEYS)] == [2]
    for each in limits:
        each.close()
