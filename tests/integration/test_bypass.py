"""Every known way around a limiter, tried.

Where stock Flask-Limiter can be passed, the same attempt is made against it first: the test would prove
nothing if the attempt were harmless. The list and its sources are in docs/explanation/abuse.md.
"""

from __future__ import annotations

import threading

import flask
import pytest
from bypass_attempts import AMOUNT, TRIES, both, make_app, passed, protect, stock
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address


def failing_key():
    raise RuntimeError("no key today")


def empty_key():
    return None


def app_with_a_view_named_static():
    app = flask.Flask("target", static_folder=None)
    app.add_url_rule("/report", "static", lambda: "ok")
    return app


def test_stock_can_be_passed_through_a_view_named_static():
    app = app_with_a_view_named_static()
    stock(app)
    assert passed(app, lambda client, i: client.get("/report")) == TRIES


def test_a_view_that_is_merely_named_static_is_limited():
    app = app_with_a_view_named_static()
    protect(app)
    assert passed(app, lambda client, i: client.get("/report")) == AMOUNT


def test_a_view_that_is_merely_named_static_keeps_the_default_tier_beside_a_decorator():
    app = flask.Flask("target", static_folder=None)
    limiter = protect(app).limiter
    app.add_url_rule("/report", "static", limiter.limit("9/minute")(lambda: "ok"))
    assert passed(app, lambda client, i: client.get("/report")) == AMOUNT


def test_only_flasks_own_static_view_is_exempt(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    app = flask.Flask("target", static_folder=str(tmp_path), static_url_path="/static")
    protect(app)
    assert passed(app, lambda client, i: client.get("/static/a.txt")) == TRIES


def flood_the_unmatched(client, i):
    return client.open(f"/nothing/{i}" if i % 2 else "/thing", method="GET" if i % 2 else "TRACE")


def test_stock_can_be_passed_by_a_404_and_405_flood():
    app = make_app()
    stock(app)
    assert passed(app, flood_the_unmatched) == TRIES


def test_a_404_and_405_flood_is_limited():
    app = make_app()
    protect(app)
    assert passed(app, flood_the_unmatched) == AMOUNT


@pytest.mark.parametrize(
    "path",
    [
        lambda i: f"/thing?x={i}",
        lambda i: "/th" + "%69" * (i % 2) + "i" * (1 - i % 2) + "ng",
    ],
    ids=["query-string", "percent-encoding"],
)
@both
def test_another_spelling_of_the_path_is_the_same_route(path, guard):
    app = make_app()
    guard(app)
    assert passed(app, lambda client, i: client.get(path(i))) == AMOUNT


def test_paths_that_only_look_alike_cannot_exceed_route_and_unmatched_together():
    app = make_app()
    protect(app)
    paths = ["/thing", "//thing", "/Thing", "/thing/", "/THING", "/./thing", "/thing%20", "/thing;a=1"]
    reached = [app.test_client().get(paths[i % 8], follow_redirects=False) for i in range(80)]
    assert sum(response.status_code == 200 for response in reached) <= 2 * AMOUNT


@pytest.mark.full
@pytest.mark.untraced
def test_an_eviction_flood_frees_nobody():
    app = make_app()
    protect(app, '[memory]\ncapacity = "1 MB"\nwarning = "800 kB"\ncritical = "1 MB"\n')
    client = app.test_client()
    for _ in range(AMOUNT):
        client.get("/thing")
    for i in range(12_000):
        client.get("/thing", environ_base={"REMOTE_ADDR": f"198.{i >> 16}.{i >> 8 & 255}.{i & 255}"})
    assert client.get("/thing").status_code == 429


@both
def test_a_parallel_burst_is_counted_to_the_unit(guard):
    app = make_app()
    guard(app, amount=100)
    statuses = []

    def burst():
        client = app.test_client()
        statuses.extend(client.get("/thing").status_code for _ in range(50))

    threads = [threading.Thread(target=burst) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(statuses) == 400
    assert statuses.count(200) == 100


class Clock:
    now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("strategy", "most"), [("fixed-window", 10), ("moving-window", 5), ("sliding-window-counter", 6)]
)
def test_a_burst_at_the_windows_edge_is_bounded_as_documented(strategy, most):
    app = make_app()
    clock = Clock()
    protect(app, f'[[routes]]\nmatch = "/thing"\nlimits = "5/minute"\nstrategy = "{strategy}"\n', clock=clock)
    client = app.test_client()
    client.get("/thing")
    clock.now += 59.9
    burst = sum(client.get("/thing").status_code == 200 for _ in range(10))
    clock.now += 0.2
    burst += sum(client.get("/thing").status_code == 200 for _ in range(10))
    assert burst <= most


def test_stock_leaves_a_malformed_limit_unenforced():
    app = flask.Flask("target")
    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://")
    app.add_url_rule("/thing", "thing", limiter.limit("five per minuet")(lambda: "ok"))
    assert passed(app, lambda client, i: client.get("/thing")) == TRIES


def test_a_malformed_limit_is_refused_at_start():
    from otel_ratelimit.core.errors import PolicyError

    with pytest.raises(PolicyError, match="five per minuet"):
        protect(make_app(), '[[routes]]\nmatch = "/thing"\nlimits = "five per minuet"\n')


@pytest.mark.parametrize("called", [False, True])
def test_a_malformed_limit_of_a_decorator_leaves_the_default_tier(called):
    app = flask.Flask("target")
    limiter = protect(app).limiter
    limit = limiter.limit((lambda: "five per minuet") if called else "five per minuet")
    app.add_url_rule("/thing", "thing", limit(lambda: "ok"))
    assert passed(app, lambda client, i: client.get("/thing")) == AMOUNT


def test_stock_forgets_its_counters_when_a_limit_is_changed():
    limit = ["5/minute"]
    app = flask.Flask("target")
    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://")
    app.add_url_rule("/thing", "thing", limiter.limit(lambda: limit[0])(lambda: "ok"))
    assert passed(app, lambda client, i: client.get("/thing")) == 5
    limit[0] = "6/minute"
    assert passed(app, lambda client, i: client.get("/thing")) == 6


def test_stock_drains_other_windows_with_rejected_hits():
    app = flask.Flask("target")
    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://", fail_on_first_breach=False)
    app.add_url_rule("/thing", "thing", limiter.limit("5/minute; 8/hour")(lambda: "ok"))
    client = app.test_client()
    for _ in range(TRIES):
        client.get("/thing")
    used = {key: value for key, value in limiter.storage.storage.items() if "hour" in key}
    assert max(used.values()) > AMOUNT


def test_rejected_hits_drain_no_other_window():
    app = make_app()
    clock = Clock()
    protect(app, '[[routes]]\nmatch = "/thing"\nlimits = "5/minute; 8/hour"\n', clock=clock)
    assert passed(app, lambda client, i: client.get("/thing")) == 5
    clock.now += 60
    assert passed(app, lambda client, i: client.get("/thing")) == 3
