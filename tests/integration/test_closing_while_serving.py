"""Requests that an application serves while its `RateLimit` is closed or replaced, and after that."""

from __future__ import annotations

import gc
import threading
import time
from contextlib import contextmanager

import flask
import pytest

from otel_ratelimit import RateLimit

UNHURRIED = 60
"""Seconds to wait, on a machine that is busy."""
OPTIONS = {"environ": {}, "shadow": False, "log_level": "off"}


class Gate:
    """Holds the request that comes next at one point, until `opened` ends."""

    def __init__(self) -> None:
        self.is_shut = False
        self._reached, self._open = threading.Event(), threading.Event()

    def passed(self) -> None:
        if self.is_shut:
            self.is_shut = False
            self._reached.set()
            assert self._open.wait(UNHURRIED)

    @contextmanager
    def holding(self, serve):
        """Within this block `serve` is held on another thread; the list has its result afterwards."""
        results = []
        self.is_shut = True
        thread = threading.Thread(target=lambda: results.append(serve()))
        thread.start()
        assert self._reached.wait(UNHURRIED)
        try:
            yield results
        finally:
            self._open.set()
            thread.join(UNHURRIED)


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def calls():
    return []


@pytest.fixture
def app(gate, calls):
    """An application with a login check, which notes the order of its calls and can be held at each."""
    app = flask.Flask("sample")

    def noted(name):
        calls.append(name)
        if flask.request.args.get("at") == name:
            gate.passed()

    @app.before_request
    def login():
        noted("login")
        return None if "X-User" in flask.request.headers else ("log in first", 401)

    @app.before_request
    def second():
        noted("second")

    @app.after_request
    def last(response):
        noted("last")
        return response

    @app.after_request
    def after(response):
        noted("after")
        return response

    @app.get("/a")
    def view():
        noted("view")
        return "ok"

    return app


CHANGES = {
    "close": lambda app: app.extensions["otel_ratelimit"].close(UNHURRIED),
    "replace": lambda app: RateLimit(app, **OPTIONS),
    "replace and serve": lambda app: (RateLimit(app, **OPTIONS), app.test_client().get("/none")),
}
changes = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)


def statuses(app, path, times=3):
    client = app.test_client()
    return [client.get(path).status_code for _ in range(times)]


@changes
def test_a_request_that_is_being_checked_does_not_skip_the_login(app, gate, calls, change):
    def clock():
        gate.passed()
        return time.time()

    RateLimit(app, clock=clock, **OPTIONS)
    statuses(app, "/a", 1)
    calls.clear()
    with gate.holding(lambda: app.test_client().get("/a").status_code) as results:
        change(app)
        calls.clear()  # of the request that may have served as the first one since
    assert results == [401]
    assert calls == ["login", "after", "last"]


@changes
@pytest.mark.parametrize("point", ["login", "view", "after", "last"])
def test_each_hook_of_the_application_runs_once(app, gate, calls, change, point):
    RateLimit(app, **OPTIONS)
    statuses(app, "/a", 1)
    calls.clear()
    client = app.test_client()
    held = gate.holding(lambda: client.get(f"/a?at={point}", headers={"X-User": "a"}).status_code)
    with held as results:
        so_far = list(calls)
        change(app)
        calls[:] = so_far
    assert results == [200]
    assert calls == ["login", "second", "view", "after", "last"]


def test_each_hook_runs_once_where_limits_come_to_an_application_that_serves(app, gate, calls):
    client = app.test_client()
    with gate.holding(lambda: client.get("/a?at=after", headers={"X-User": "a"}).status_code) as results:
        so_far = list(calls)
        CHANGES["replace and serve"](app)
        calls[:] = so_far
    assert results == [200]
    assert calls == ["login", "second", "view", "after", "last"]


def limited(rate_limit, gate=None):
    """An application whose views have limits of each kind that can be declared on a limiter."""
    app, limiter = flask.Flask("declared"), rate_limit.limiter

    def view():
        return "ok"

    def in_a_block():
        if gate is not None:
            gate.passed()
        with limiter.limit("1/minute"):
            return "ok"

    shared, keyed = limiter.shared_limit("1/minute", scope="x"), lambda: "k"
    app.add_url_rule("/limit", "limit", limiter.limit("1/minute")(view))
    app.add_url_rule("/keyed", "keyed", limiter.limit("1/minute", key_func=keyed)(lambda: "ok"))
    app.add_url_rule("/shared", "shared", shared(lambda: "ok"))
    app.add_url_rule("/block", "block", in_a_block)
    blueprint = flask.Blueprint("shop", "shop")
    blueprint.add_url_rule("/shop", "thing", lambda: "ok")
    limiter.limit("1/minute")(blueprint)
    app.register_blueprint(blueprint)
    return app


PATHS = ("/limit", "/keyed", "/shared", "/block", "/shop")
paths = pytest.mark.parametrize("path", PATHS)


@paths
@pytest.mark.parametrize("served", [True, False], ids=["served", "not served"])
@pytest.mark.parametrize("how", ["close", "detach"])
def test_declared_limits_let_requests_through_when_limits_are_taken_away(path, served, how):
    rate_limit = RateLimit(**OPTIONS)
    app = limited(rate_limit)
    rate_limit.init_app(app)
    if served:
        assert statuses(app, path) == [200, 429, 429]
    if how == "close":
        rate_limit.close(UNHURRIED)
    else:
        rate_limit.detach(app)
    assert statuses(app, path) == [200, 200, 200]
    rate_limit.close(UNHURRIED)


@pytest.mark.parametrize("options", [{"enabled": False}, {}], ids=["off", "closed"])
@pytest.mark.parametrize("declare", ["limit", "shared_limit"])
def test_declared_limits_let_requests_through_when_nobody_holds_the_rate_limit(options, declare):
    def made():
        app = flask.Flask("made")
        rate_limit = RateLimit(app, **OPTIONS, **options)
        more = {"scope": "x"} if declare == "shared_limit" else {}
        limit = getattr(rate_limit.limiter, declare)("1/minute", **more)
        app.add_url_rule("/a", "a", limit(lambda: "ok"))
        rate_limit.close(UNHURRIED)
        return app

    app = made()
    gc.collect()
    assert statuses(app, "/a") == [200, 200, 200]


@pytest.mark.parametrize("path", ["/limit", "/keyed", "/shared", "/block"])
def test_declared_limits_stay_while_the_application_has_another_rate_limit(path):
    rate_limit = RateLimit(**OPTIONS)
    app = limited(rate_limit)
    rate_limit.init_app(app)
    other = RateLimit(app, **OPTIONS)
    assert rate_limit.closed
    assert statuses(app, path) == [200, 429, 429]
    other.close(UNHURRIED)
    assert statuses(app, path) == [200, 200, 200]


def test_an_application_that_never_had_limits_does_not_serve_a_limited_view_without_them():
    rate_limit = RateLimit(**OPTIONS)
    assert statuses(limited(rate_limit), "/limit", 1) == [500]
    rate_limit.close(UNHURRIED)


def test_a_declared_limit_lets_a_request_in_flight_through(gate):
    rate_limit = RateLimit(**OPTIONS)
    app = limited(rate_limit, gate)
    rate_limit.init_app(app)
    assert statuses(app, "/block") == [200, 429, 429]
    with gate.holding(lambda: statuses(app, "/block", 1)) as results:
        rate_limit.close(UNHURRIED)
    assert results == [[200]]


class HeldHooks(dict):
    """Hooks of an application; whoever replaces the list of it is held at the gate."""

    def __init__(self, hooks, gate) -> None:
        super().__init__(hooks)
        self._gate = gate

    def __setitem__(self, name, hooks) -> None:
        self._gate.passed()
        super().__setitem__(name, hooks)


def test_two_threads_that_close_at_once_both_wait_until_it_is_closed(app, gate):
    rate_limit = RateLimit(app, **OPTIONS)
    statuses(app, "/a", 1)
    app.before_request_funcs = HeldHooks(app.before_request_funcs, gate)
    second = []
    with gate.holding(lambda: rate_limit.close(UNHURRIED)) as first:
        assert rate_limit.close(0.01) is False
        waiting = threading.Thread(target=lambda: second.append(rate_limit.close(UNHURRIED)))
        waiting.start()
        assert second == []
    waiting.join(UNHURRIED)
    assert first == second == [True]
    assert "otel_ratelimit" not in app.extensions


def test_limits_that_are_given_while_others_are_being_closed_stay(app, gate):
    rate_limit = RateLimit(app, **OPTIONS)
    statuses(app, "/a", 1)
    app.before_request_funcs = HeldHooks(app.before_request_funcs, gate)
    later = []
    with gate.holding(lambda: rate_limit.close(UNHURRIED)):
        thread = threading.Thread(target=lambda: later.append(RateLimit(app, **OPTIONS)))
        thread.start()
    thread.join(UNHURRIED)
    assert statuses(app, "/none", 101)[-1] == 429
    assert app.extensions["otel_ratelimit"] is later[0]
    later[0].close(UNHURRIED)


def test_an_application_cannot_get_limits_that_are_being_closed(app, gate):
    rate_limit = RateLimit(app, **OPTIONS)
    statuses(app, "/a", 1)
    app.before_request_funcs = HeldHooks(app.before_request_funcs, gate)
    other_app = flask.Flask("other")
    with gate.holding(lambda: rate_limit.close(UNHURRIED)), pytest.raises(RuntimeError, match="is closed"):
        rate_limit.init_app(other_app)
    assert "otel_ratelimit" not in other_app.extensions
