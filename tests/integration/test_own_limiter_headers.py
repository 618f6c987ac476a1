"""Headers next to the application's own Flask-Limiter: they describe its limits, or are left to it."""

from __future__ import annotations

import time
from typing import ClassVar

import flask
import http_sf
import pytest
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from half_over import DAY_OR_TWO
from limits.storage import MemoryStorage

from otel_ratelimit import DecisionKind, RateLimit
from otel_ratelimit.policy import parse_policy

POLICY = """
version = 1
exempt = ["/free"]
[tiers]
default = "100/minute"
"""
IETF = {"RateLimit", "RateLimit-Policy"}
X = {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}


def state(response, left="r", seconds="t"):
    """The header `RateLimit`: name, remaining units, and time until the reset."""
    listed = http_sf.parse(response.headers["RateLimit"].encode(), tltype="list")
    return [(name, parameters[left], parameters[seconds]) for name, parameters in listed]


def names(response):
    return {name for name, _ in response.headers} & (IETF | X | {"Retry-After"})


class CountingStorage(MemoryStorage):
    """Counts how often it is asked what is left."""

    STORAGE_SCHEME: ClassVar[list[str]] = ["counting-memory"]
    asked = 0

    def get_expiry(self, key):
        type(self).asked += 1
        return super().get_expiry(key)


@pytest.fixture
def app():
    return flask.Flask("sample")


def add(app, *paths, decorate=lambda view: view):
    for path in paths:

        def view():
            return "ok"

        view.__name__ = view.__qualname__ = path.strip("/")
        app.add_url_rule(path, path.strip("/"), decorate(view))


def own_limiter(app, limit="3/minute", **options):
    options = {"storage_uri": "memory://", "default_limits": [limit]} | options
    return Limiter(get_remote_address, app=app, **options)


def rate_limit(app, text=POLICY, **options):
    return RateLimit(app, policy=parse_policy(text, "own.toml"), environ={}, **options)


@pytest.mark.parametrize("first", ["own", "ours"])
def test_an_allowed_request_of_an_exempt_route_carries_nothing_that_we_do_not_know(app, first):
    for make in (own_limiter, rate_limit) if first == "own" else (rate_limit, own_limiter):
        make(app)
    add(app, "/free")
    responses = [app.test_client().get("/free") for _ in range(3)]
    assert [names(response) for response in responses] == [set()] * 3


@pytest.mark.parametrize("path", ["/free", "/governed"])
def test_a_refusal_by_the_applications_limiter_says_when_to_come_back(app, path):
    rate_limit(app)
    own_limiter(app)
    add(app, "/free", "/governed")
    client = app.test_client()
    refused = [client.get(path) for _ in range(4)][-1]
    assert refused.status_code == 429
    wait = int(refused.headers["Retry-After"])
    assert 0 < wait <= 60
    assert state(refused) == [("3-per-minute", 0, wait)]
    assert refused.headers["RateLimit-Policy"] == '"3-per-minute";q=3;w=60'
    assert (refused.headers["X-RateLimit-Limit"], refused.headers["X-RateLimit-Remaining"]) == ("3", "0")
    assert 0 <= int(refused.headers["X-RateLimit-Reset"]) - time.time() <= 61


def test_waiting_that_long_is_enough(app):
    rate_limit(app)
    own_limiter(app, "1/second")
    add(app, "/free")
    client = app.test_client()
    statuses = [client.get("/free").status_code for _ in range(2)]
    while statuses[-1] == 429:
        wait = int(client.get("/free").headers.get("Retry-After", 1))
        assert wait == 1
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline and statuses[-1] == 429:
            statuses.append(client.get("/free").status_code)
    assert statuses[-1] == 200


@pytest.mark.parametrize("whose", ["own", "declared"])
def test_waiting_is_enough_where_the_same_request_filled_a_limit_of_the_policy(app, whose):
    seen = []
    ours = rate_limit(
        app, 'version = 1\n[tiers]\ndefault = "3/hour; 9/day"\n', clock=lambda: 1000.0, sinks=[seen.append]
    )
    limiter = own_limiter(app, default_limits=[]) if whose == "own" else ours.limiter
    add(app, "/view", decorate=limiter.limit("2/minute", override_defaults=False))
    client = app.test_client()
    assert [client.get("/view").status_code for _ in range(2)] == [200, 200]
    refused = client.get("/view")
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "3600"
    assert [entry[:2] for entry in state(refused)] == [("2-per-minute", 0), ("3-per-hour", 0)]
    assert refused.headers["X-RateLimit-Limit"] == "3"
    assert seen[-1].windows[seen[-1].tightest].text == "2 per 1 minute"
    if refused.is_json:
        assert refused.json["detail"].endswith("Retry in 3600 s.")


def test_an_allowed_request_that_the_policy_governs_carries_the_policys_state(app):
    rate_limit(app)
    own_limiter(app)
    add(app, "/governed")
    client = app.test_client()
    assert [state(client.get("/governed"))[0][:2] for _ in range(3)] == [
        ("100-per-minute", left) for left in (99, 98, 97)
    ]


@pytest.mark.parametrize("path", ["/free", "/governed"])
def test_the_applications_limiter_keeps_the_headers_that_it_writes(app, path):
    rate_limit(app)
    own_limiter(app, headers_enabled=True)
    add(app, "/free", "/governed")
    client = app.test_client()
    responses = [client.get(path) for _ in range(4)]
    assert [r.headers.getlist("X-RateLimit-Limit") for r in responses] == [["3"]] * 4
    assert [r.headers.getlist("X-RateLimit-Remaining") for r in responses] == [["2"], ["1"], ["0"], ["0"]]
    assert len(responses[3].headers.getlist("Retry-After")) == 1
    assert state(responses[3])[0][:2] == ("3-per-minute", 0)
    assert abs(state(responses[3])[0][2] - int(responses[3].headers["Retry-After"])) <= 1


def test_the_applications_storage_is_asked_once_where_it_refused_and_never_else(app):
    CountingStorage.asked = 0
    rate_limit(app)
    own_limiter(app, storage_uri="counting-memory://")
    add(app, "/free", "/governed")
    client = app.test_client()
    for _ in range(3):
        client.get("/free")
    for _ in range(2):
        client.get("/governed")
    assert CountingStorage.asked == 0
    assert client.get("/free").status_code == 429
    assert CountingStorage.asked == 1


def test_a_storage_that_does_not_answer_costs_the_headers_and_nothing_else(app, monkeypatch):
    decisions = []
    rate_limit(app, sinks=[decisions.append])
    own = own_limiter(app)
    add(app, "/governed")
    client = app.test_client()
    for _ in range(3):
        client.get("/governed")

    def away(*_):
        raise ConnectionError("away")

    monkeypatch.setattr(own.limiter, "get_window_stats", away)
    refused = client.get("/governed")
    assert refused.status_code == 429
    assert names(refused) == set(), "the policy's own state would say that all is well"
    assert decisions[-1].kind is DecisionKind.BLOCKED


def test_in_shadow_the_refusal_of_the_application_is_left_as_it_is(app):
    rate_limit(app, shadow=True)
    own_limiter(app)
    add(app, "/free", "/governed")
    client = app.test_client()
    refused = [client.get("/governed") for _ in range(4)][-1]
    assert refused.status_code == 429
    assert names(refused) == set()


@pytest.mark.parametrize("strategy", ["fixed-window", "moving-window", "sliding-window-counter"])
def test_every_strategy_of_the_application_is_told_truthfully(app, strategy):
    rate_limit(app)
    own_limiter(app, f"3/{DAY_OR_TWO} seconds", strategy=strategy)
    add(app, "/free")
    client = app.test_client()
    refused = [client.get("/free") for _ in range(4)][-1]
    (name, left, seconds) = state(refused)[0]
    assert (name, left) == (f"3-per-{DAY_OR_TWO}-second", 0)
    assert 0 < seconds <= DAY_OR_TWO
    assert int(refused.headers["Retry-After"]) == seconds


def test_a_refusal_names_only_the_limits_that_refused(app):
    rate_limit(app)
    own_limiter(app, default_limits=["3/minute", "50/hour"])
    add(app, "/free")
    client = app.test_client()
    refused = [client.get("/free") for _ in range(4)][-1]
    assert [name for name, *_ in state(refused)] == ["3-per-minute"]


# --- decorators on our limiter ---


def test_a_decorators_limit_is_told_as_it_is(app):
    ours = rate_limit(app).limiter
    add(app, "/declared", decorate=ours.limit("3/minute"))
    client = app.test_client()
    responses = [client.get("/declared") for _ in range(4)]
    assert [state(r)[0][:2] for r in responses] == [("3-per-minute", left) for left in (2, 1, 0, 0)]
    assert all(0 < state(r)[0][2] <= 60 for r in responses)
    refused = responses[-1]
    assert state(refused)[0][2] == int(refused.headers["Retry-After"])
    assert refused.headers.getlist("Retry-After") == [refused.headers["Retry-After"]]


def test_the_share_that_a_decorators_limit_has_used_is_known_to_telemetry(app):
    decisions = []
    ours = rate_limit(app, sinks=[decisions.append]).limiter
    add(app, "/declared", decorate=ours.limit("4/minute"))
    client = app.test_client()
    for _ in range(3):
        client.get("/declared")
    assert [decision.utilization for decision in decisions] == [0.25, 0.5, 0.75]


def test_several_decorators_are_told_together_with_the_tightest_ahead(app):
    ours = rate_limit(app).limiter
    add(app, "/declared", decorate=lambda view: ours.limit("50/hour")(ours.limit("3/minute")(view)))
    response = app.test_client().get("/declared")
    assert {name: left for name, left, _ in state(response)} == {"3-per-minute": 2, "50-per-hour": 49}
    assert response.headers["X-RateLimit-Limit"] == "3"


# --- which headers there are ---


@pytest.mark.parametrize(
    ("table", "expected", "parameters"),
    [
        ("", IETF | X, ("r", "t")),
        ("draft = 11", IETF | X, ("r", "t")),
        ("draft = 12", IETF | X, ("a", "w")),
        ("draft = 12\nx_headers = false", IETF, ("a", "w")),
        ('draft = "none"', X, None),
        ('draft = "none"\nx_headers = false', set(), None),
    ],
)
def test_the_policy_says_which_headers_there_are(app, table, expected, parameters):
    rate_limit(app, 'version = 1\n[tiers]\ndefault = "2/minute"\n[responses]\n' + table)
    add(app, "/governed")
    client = app.test_client()
    allowed, _, refused = (client.get("/governed") for _ in range(3))
    assert names(allowed) == expected
    assert names(refused) == expected | {"Retry-After"}
    if parameters is not None:
        assert state(allowed, *parameters) == [("2-per-minute", 1, 60)]
        assert state(refused, *parameters)[0][1] == 0
        listed = http_sf.parse(allowed.headers["RateLimit"].encode(), tltype="list")
        assert set(listed[0][1]) == set(parameters)
        policy = http_sf.parse(allowed.headers["RateLimit-Policy"].encode(), tltype="list")
        assert [(name, dict(values)) for name, values in policy] == [("2-per-minute", {"q": 2, "w": 60})]


def test_the_setting_follows_a_reload(tmp_path):
    path = tmp_path / "ratelimit.toml"
    path.write_text("version = 1\n")
    app = flask.Flask("sample")
    add(app, "/governed")
    limited = RateLimit(app, policy=path, shadow=False, environ={})
    client = app.test_client()
    assert ";r=99" in client.get("/governed").headers["RateLimit"]
    path.write_text("version = 1\n[responses]\ndraft = 12\n")
    limited._reloader.look()
    assert ";a=98" in client.get("/governed").headers["RateLimit"]
    limited.close()
