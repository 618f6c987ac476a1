"""Requests that come while an application is being given its limits, at its first request."""

from __future__ import annotations

import threading

import flask
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from werkzeug.test import Client

from otel_ratelimit.runtime import rate_limit
from otel_ratelimit.runtime.instrumentor import RateLimitInstrumentor
from otel_ratelimit.runtime.parts import Parts

LONG_ENOUGH = 0.5
"""Seconds in which a request that does not wait has its answer."""


@pytest.fixture
def app(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ratelimit.toml").write_text('version = 1\n[tiers]\ndefault = "1/minute"\n')
    instrumentor = RateLimitInstrumentor()
    instrumentor.instrument(meter_provider=MeterProvider())
    app = flask.Flask("sample")
    app.add_url_rule("/a", "a", lambda: "ok")
    yield app
    instrumentor.uninstrument()


def statuses_of_two_at_once(app, monkeypatch, step, fails):
    """The first request's, and that of one which comes while the first attaches the limits, in `step`."""
    statuses = []
    owner, name = step
    original = getattr(owner, name)

    def ask():
        statuses.append(Client(app).get("/a").status_code)

    second = threading.Thread(target=ask)

    def attach(*args, **kwargs):
        if not second.ident:
            second.start()
            second.join(LONG_ENOUGH)
        if fails:
            raise RuntimeError("not now")
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, attach)
    ask()
    second.join()
    return sorted(statuses)


STEPS = [
    pytest.param((Parts, "enforcement"), id="the policy"),
    pytest.param((rate_limit, "offer_api"), id="the API"),
]


@pytest.mark.parametrize("step", STEPS)
def test_a_request_that_comes_meanwhile_is_limited(app, monkeypatch, step):
    assert statuses_of_two_at_once(app, monkeypatch, step, fails=False) == [200, 429]


@pytest.mark.parametrize("step", STEPS)
def test_a_request_that_comes_while_attaching_fails_is_refused(app, monkeypatch, step):
    assert statuses_of_two_at_once(app, monkeypatch, step, fails=True) == [503, 503]
    monkeypatch.undo()
    assert [Client(app).get("/a").status_code for _ in range(2)] == [200, 429]
