"""Our histograms have the buckets that alert rules read, also where the exporter prefers exponential ones."""

from __future__ import annotations

from contextlib import contextmanager

import flask
import pytest
from opentelemetry import metrics
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import (
    ExponentialHistogram,
    InMemoryMetricReader,
)
from opentelemetry.sdk.metrics.export import (
    Histogram as ExplicitHistogram,
)
from opentelemetry.sdk.metrics.view import (
    DropAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)

from otel_ratelimit import RateLimit
from otel_ratelimit.core import names
from otel_ratelimit.policy import parse_policy
from otel_ratelimit.telemetry import HistogramBuckets
from otel_ratelimit.telemetry.decisions import CHECK_DURATION_BOUNDARIES_SECONDS, UTILIZATION_BOUNDARIES
from otel_ratelimit.telemetry.histogram_buckets import EXPONENTIAL, VARIABLE

POLICY = parse_policy('version = 1\n[tiers]\ndefault = "1/minute"\n', "buckets.toml")
OF_THE_APPLICATION = "shop.basket.size"


@pytest.fixture
def exponential(monkeypatch):
    """A reader as an OTLP exporter makes it under the variable."""
    monkeypatch.setenv(VARIABLE, EXPONENTIAL)
    exporter = OTLPMetricExporter(endpoint="http://127.0.0.1:9")
    yield InMemoryMetricReader(preferred_aggregation=exporter._preferred_aggregation)
    exporter.shutdown()


@contextmanager
def serving(provider, *, count=1):
    """`count` applications, each with limits of its own, that refuse one request."""
    made = []
    for _ in range(count):
        app = flask.Flask("shop")
        app.add_url_rule("/", "index", lambda: "ok")
        made.append(RateLimit(app, policy=POLICY, environ={VARIABLE: EXPONENTIAL}, meter_provider=provider))
        client = app.test_client()
        assert [client.get("/").status_code for _ in range(2)] == [200, 429]
    (provider or metrics.get_meter_provider()).get_meter("shop").create_histogram(OF_THE_APPLICATION).record(
        3
    )
    yield
    for rate_limit in made:
        rate_limit.close()


def collected(reader):
    return [
        metric
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]


def kinds(reader):
    return {metric.name: type(metric.data) for metric in collected(reader)}


def bounds(reader, name):
    return {
        tuple(point.explicit_bounds)
        for metric in collected(reader)
        if metric.name == name
        for point in metric.data.data_points
    }


@pytest.mark.parametrize("count", [1, 2])
def test_ours_keep_their_buckets_and_the_applications_get_what_was_asked_for(exponential, count):
    with serving(MeterProvider([exponential]), count=count):
        found = kinds(exponential)
        assert found[names.UTILIZATION] is found[names.CHECK_DURATION] is ExplicitHistogram
        assert found[OF_THE_APPLICATION] is ExponentialHistogram
        assert bounds(exponential, names.UTILIZATION) == {UTILIZATION_BOUNDARIES}
        assert bounds(exponential, names.CHECK_DURATION) == {CHECK_DURATION_BOUNDARIES_SECONDS}
        series = [metric.name for metric in collected(exponential)]
        assert len(series) == len(set(series))


def test_a_view_of_the_application_wins(exponential):
    views = [
        View(instrument_name=names.UTILIZATION, aggregation=DropAggregation()),
        View(instrument_name=names.CHECK_DURATION, aggregation=ExponentialBucketHistogramAggregation()),
    ]
    with serving(MeterProvider([exponential], views=views)):
        found = kinds(exponential)
        assert names.UTILIZATION not in found
        assert found[names.CHECK_DURATION] is ExponentialHistogram


def test_a_provider_whose_readers_want_explicit_buckets_is_left_as_it_is():
    reader = InMemoryMetricReader(preferred_aggregation={Histogram: ExplicitBucketHistogramAggregation()})
    provider = MeterProvider([reader])
    with serving(provider):
        assert kinds(reader)[names.UTILIZATION] is ExplicitHistogram
        assert provider._sdk_config.views == ()


def test_a_global_provider_that_is_set_after_the_limits_are_made(exponential, monkeypatch):
    fresh = metrics._internal._ProxyMeterProvider()
    monkeypatch.setattr(metrics._internal, "_METER_PROVIDER", None)
    monkeypatch.setattr(metrics._internal, "_PROXY_METER_PROVIDER", fresh)
    app = flask.Flask("shop")
    app.add_url_rule("/", "index", lambda: "ok")
    rate_limit = RateLimit(app, policy=POLICY, environ={})
    provider = MeterProvider([exponential])
    monkeypatch.setattr(metrics._internal, "_METER_PROVIDER", provider)
    fresh.on_set_meter_provider(provider)
    assert app.test_client().get("/").status_code == 200
    assert kinds(exponential)[names.UTILIZATION] is ExplicitHistogram
    rate_limit.close()


@pytest.mark.parametrize("still_there", [[], ["_metric_readers"]], ids=["nothing", "readers"])
def test_an_sdk_that_does_not_let_us_is_said_once_with_what_to_set(exponential, caplog, still_there):
    # A later version, in which what is private has another name.
    changed = object.__new__(MeterProvider)
    for name in still_there:
        setattr(changed, name, [exponential])
    buckets = HistogramBuckets(changed, {VARIABLE: EXPONENTIAL})
    buckets.keep()
    buckets.keep()
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert f"{VARIABLE}={EXPONENTIAL}" in record.getMessage()
    assert "set it to explicit_bucket_histogram" in record.getMessage()
    assert "RateLimitCheckSlow" in record.getMessage()


@pytest.mark.parametrize("environ", [{}, {VARIABLE: "explicit_bucket_histogram"}])
def test_such_an_sdk_is_not_spoken_of_where_nobody_asked_for_other_buckets(caplog, environ):
    HistogramBuckets(object.__new__(MeterProvider), environ).keep()
    assert caplog.records == []
