"""An application that counts in Redis, its metrics and its decisions."""

from __future__ import annotations

import flask
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from redis_faults import ON_ERROR

from otel_ratelimit import RateLimit
from otel_ratelimit.policy import parse_policy

POLICY = """
version = 1
[tiers]
default = "5/minute; 100/hour"
[identity]
[[routes]]
match = "/open"
limits = "5/minute; 100/hour"
on_error = "open"
"""


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def decisions():
    return []


@pytest.fixture
def serve(reader, decisions):
    """`serve(uri)`: an application that counts there."""
    serving = []

    def start(uri, policy=POLICY, **arguments):
        app = flask.Flask("shop")
        for name in ON_ERROR:
            app.add_url_rule(f"/{name}", name, lambda: "ok")
        rate_limit = RateLimit(
            app,
            policy=parse_policy(policy, "errors.toml"),
            storage_uri=uri,
            trusted_proxies="127.0.0.1/32",
            environ={},
            sinks=[decisions.append],
            meter_provider=MeterProvider(metric_readers=[reader]),
            **arguments,
        )
        serving.append(rate_limit)
        return app

    yield start
    for rate_limit in serving:
        rate_limit.close()
