"""An application that gets a new `RateLimit` is already limited by it while the previous one ends."""

from __future__ import annotations

import flask
import pytest
from opentelemetry.sdk.metrics import MeterProvider

from otel_ratelimit import RateLimit
from otel_ratelimit.policy import parse_policy
from otel_ratelimit.runtime.instrumentor import RateLimitInstrumentor

POLICY = parse_policy('version = 1\n[tiers]\ndefault = "1/minute"\n', "handover.toml")


def application():
    app = flask.Flask("sample")
    app.add_url_rule("/a", "a", lambda: "ok")
    return app


def limits(app):
    return RateLimit(app, policy=POLICY, environ={}, meter_provider=MeterProvider())


@pytest.fixture
def asked_while_closing(monkeypatch):
    """`asked_while_closing(app)`: the statuses of two requests that come while any `RateLimit` closes."""

    def of(app):
        statuses = []
        close = RateLimit.close

        def closing(self):
            statuses.extend(app.test_client().get("/a").status_code for _ in range(2))
            close(self)

        monkeypatch.setattr(RateLimit, "close", closing)
        return statuses

    return of


def test_while_the_former_closes_the_new_one_limits(asked_while_closing):
    app = application()
    former = limits(app)
    assert app.test_client().get("/a").status_code == 200
    statuses = asked_while_closing(app)
    new = limits(app)
    assert statuses == [200, 429]
    assert (former.closed, new.closed) == (True, False)


def test_the_same_where_the_former_waited_for_a_first_request(asked_while_closing, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    instrumentor = RateLimitInstrumentor()
    instrumentor.instrument(meter_provider=MeterProvider())
    try:
        app = application()
        statuses = asked_while_closing(app)
        limits(app)
    finally:
        instrumentor.uninstrument()
    assert statuses[:2] == [200, 429]


def test_one_that_serves_another_application_too_stays():
    app = application()
    former = limits(app)
    other = flask.Flask("other")
    former.init_app(other)
    limits(app)
    assert not former.closed
    assert other.extensions["otel_ratelimit"] is former
