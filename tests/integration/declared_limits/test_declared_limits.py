"""Decorators on our limiter and the policy's default tier, held against stock Flask-Limiter.

Stock has the same decorators and the same `default_limits`. However the two are combined, ours never
lets more through, and as much where nothing gets around stock.
"""

from __future__ import annotations

import itertools

import flask
import pytest
from declared import DEFAULT, TRIES, add_view, allowed, ours
from flask_limiter import ExemptionScope, RouteLimit

from otel_ratelimit import DecisionKind

# --- the instances that were seen ---


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_a_limit_for_one_method_leaves_the_default_for_the_others(app, method):
    limiter = ours(app)
    add_view(app, limiter.limit("7/minute", methods=["POST"]))
    assert allowed(app, ["POST"] * TRIES)["POST"] == 7
    assert allowed(app, [method] * TRIES)[method] == DEFAULT


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_limit_that_names_get_counts_head(app, method):
    limiter = ours(app, default=1000)
    add_view(app, limiter.limit("3/minute", methods=["GET"]))
    assert allowed(app, [method, "GET", "HEAD"] * 4) == {"GET": 2, "HEAD": 1, "POST": 0, "PUT": 0} | (
        {"GET": 1, "HEAD": 2} if method == "HEAD" else {}
    )


def test_head_keeps_the_default_where_a_generous_limit_names_get(app):
    limiter = ours(app)
    add_view(app, limiter.limit("9/minute", methods=["GET"]))
    passed = allowed(app, ["HEAD"] * TRIES + ["GET"] * TRIES)
    assert (passed["HEAD"], passed["GET"]) == (DEFAULT, 9 - DEFAULT)


def test_a_bucket_for_each_method_counts_head_as_get(app):
    limiter = ours(app, default=1000)
    add_view(app, limiter.limit("4/minute", per_method=True))
    passed = allowed(app, ["GET", "HEAD"] * 6 + ["POST"] * 6)
    assert (passed["GET"] + passed["HEAD"], passed["POST"]) == (4, 4)


@pytest.mark.parametrize("text", ["5 per minuet", "5/minute; 3 per minuet", "", "five", "10/minute;"])
@pytest.mark.parametrize("called", [False, True])
def test_a_text_that_is_not_a_limit_leaves_the_default(app, text, called):
    limiter = ours(app)
    add_view(app, limiter.limit((lambda: text) if called else text))
    assert allowed(app, ["GET"] * TRIES)["GET"] == DEFAULT


def test_a_text_that_is_not_a_limit_is_reported_once_and_at_start(app, caplog):
    limiter = ours(app)
    add_view(app, limiter.limit("5 per minuet"))
    reports = [r for r in caplog.records if "minuet" in r.getMessage()]
    assert [r.levelname for r in reports] == ["ERROR"], "it is known when the module is imported"
    allowed(app, ["GET"] * TRIES)
    assert len([r for r in caplog.records if "minuet" in r.getMessage()]) == 1


# --- what else a decorator may say ---


def test_a_limit_that_exempts_a_request_leaves_it_the_default(app):
    limiter = ours(app)
    add_view(app, limiter.limit("2/minute", exempt_when=lambda: flask.request.method == "PUT"))
    assert allowed(app, ["GET"] * TRIES)["GET"] == 2
    assert allowed(app, ["PUT"] * TRIES)["PUT"] == DEFAULT


def test_exempt_when_sees_what_the_applications_hooks_prepared(app):
    limiter = ours(app)
    app.before_request(lambda: setattr(flask.g, "vip", "vip" in flask.request.args))
    add_view(app, limiter.limit("2/minute", exempt_when=lambda: flask.g.vip))
    client = app.test_client()
    assert [client.get("/thing?vip=1").status_code for _ in range(6)] == [200] * 5 + [429]
    assert [client.get("/thing").status_code for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize("cost", [lambda: 0, lambda: -3])
def test_a_request_that_costs_nothing_is_left_to_the_default(app, cost):
    limiter = ours(app)
    add_view(app, limiter.limit("2/minute", cost=cost))
    assert allowed(app, ["GET"] * TRIES)["GET"] == DEFAULT


def test_a_negative_cost_gives_nothing_back(app):
    limiter = ours(app, default=1000)
    add_view(app, limiter.limit("4/minute", cost=lambda: int(flask.request.args["cost"])))
    client = app.test_client()
    assert [client.get("/thing?cost=1").status_code for _ in range(5)] == [200] * 4 + [429]
    client.get("/thing?cost=-100")
    assert client.get("/thing?cost=1").status_code == 429


def test_deduct_when_stands_in_place_of_the_default(app):
    limiter = ours(app, default=3)
    add_view(app, limiter.limit("2/minute", deduct_when=lambda response: response.status_code == 401))
    assert allowed(app, ["GET"] * TRIES)["GET"] == TRIES


def test_deduct_when_that_raises_costs_no_response(app, caplog):
    limiter = ours(app)
    add_view(app, limiter.limit("2/minute", deduct_when=lambda response: response.nothing))
    assert allowed(app, ["GET"] * TRIES)["GET"] == TRIES
    assert app.test_client().get("/thing").status_code == 200
    assert any("deduction" in r.getMessage() for r in caplog.records)


@pytest.mark.parametrize("where", ["first", "last"])
def test_a_limit_that_keeps_the_defaults_keeps_them(app, where):
    limiter = ours(app)
    keeps = limiter.limit("50/minute", override_defaults=False)
    other = limiter.limit("60/minute", methods=["POST"])
    add_view(app, *((keeps, other) if where == "first" else (other, keeps)))
    assert allowed(app, ["GET"] * TRIES)["GET"] == DEFAULT
    assert allowed(app, ["POST"] * TRIES)["POST"] == TRIES


@pytest.mark.parametrize(
    "key_func",
    [lambda: "", lambda: None, lambda: flask.request.headers["X-Not-There"], object, lambda: lambda: 1],
    ids=["empty", "none", "raises", "object", "function"],
)
def test_a_key_that_cannot_be_had_is_the_clients(app, key_func):
    limiter = ours(app, default=1000)
    add_view(app, limiter.limit("3/minute", key_func=key_func))
    assert allowed(app, ["GET"] * TRIES)["GET"] == 3


class NewEachTime(str):
    """Text that gives another text each time it is asked for one."""

    __slots__ = ()
    numbers = itertools.count()

    def __str__(self):
        return f"client {next(self.numbers)}"


@pytest.mark.parametrize(
    "key_func",
    [
        lambda: NewEachTime("one client"),
        lambda: ("10.0.0.1", NewEachTime("one client")),
        lambda: f"user:{object()!r}",
        lambda: ("10.0.0.1", repr(object())),
        lambda: 10**5000,
        lambda: ("10.0.0.1", None),
    ],
    ids=[
        "subclass",
        "subclass-in-tuple",
        "place-in-memory",
        "place-in-tuple",
        "huge-number",
        "none-in-tuple",
    ],
)
def test_a_key_that_may_differ_in_each_request_is_no_free_pass(app, key_func):
    limiter = ours(app, default=1000)
    add_view(app, limiter.limit("3/minute", key_func=key_func))
    assert allowed(app, ["GET"] * TRIES)["GET"] == 3


@pytest.mark.parametrize(
    ("one", "other"), [(1.5, 2.5), (("a", 1), ("a", 2)), (("a, b",), ("a", "b")), (b"1", b"2")]
)
def test_keys_of_other_types_tell_clients_apart(app, one, other):
    limiter = ours(app, default=1000)
    key = {"now": one}
    add_view(app, limiter.limit("3/minute", key_func=lambda: key["now"]))
    assert allowed(app, ["GET"] * TRIES)["GET"] == 3
    key["now"] = other
    assert allowed(app, ["GET"] * TRIES)["GET"] == 3


def test_a_slash_in_a_declared_key_reaches_no_other_counter(app):
    limiter = ours(app, default=1000)
    add_view(app, limiter.limit("2/minute", key_func=lambda: flask.request.headers["X-Key"]))
    client = app.test_client()

    def send(key):
        return client.get("/thing", environ_base={"HTTP_X_KEY": key}).status_code

    assert [send("victim") for _ in range(3)] == [200, 200, 429]
    for strange in ("victim/thing", "x" * 100_000, "a\0b", "\udce9", "🦆"):
        assert [send(strange) for _ in range(3)] == [200, 200, 429], strange[:20]


@pytest.mark.parametrize("flags", [ExemptionScope.APPLICATION, ExemptionScope.META, ExemptionScope.DEFAULT])
def test_an_exemption_of_another_kind_leaves_the_default(app, flags):
    limiter = ours(app)
    add_view(app, limiter.exempt(flags=flags), limiter.limit("9/minute"))
    expected = TRIES if flags is ExemptionScope.DEFAULT else DEFAULT
    assert allowed(app, ["GET"] * TRIES)["GET"] == expected


def test_a_request_filter_leaves_the_default(app):
    limiter = ours(app)
    limiter.request_filter(lambda: True)
    add_view(app, limiter.limit("9/minute"))
    assert allowed(app, ["GET"] * TRIES)["GET"] == DEFAULT


def test_a_refusal_of_the_default_inside_a_decorator_is_the_policys(app):
    decisions = []
    limiter = ours(app, sinks=[decisions.append])
    add_view(app, limiter.limit("7/minute", methods=["POST"]))
    client = app.test_client()
    responses = [client.get("/thing") for _ in range(6)]
    refused = responses[-1]
    assert refused.content_type == "application/problem+json"
    assert refused.json["violated-policies"] == ["5-per-minute"]
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert responses[0].headers["RateLimit"].startswith('"5-per-minute";r=4;')
    assert [(d.kind, d.plan.tier) for d in decisions] == [(DecisionKind.ALLOWED, "default")] * 5 + [
        (DecisionKind.BLOCKED, "default")
    ]


def test_the_applications_handler_of_a_refusal_is_asked_inside_a_decorator_too(app):
    limiter = ours(app)
    app.register_error_handler(429, lambda error: (f"slow down: {error.description}", 429))
    add_view(app, limiter.limit("7/minute", exempt_when=lambda: True))
    client = app.test_client()
    refused = [client.get("/thing") for _ in range(6)][-1]
    assert refused.text == "slow down: 5 per 1 minute"
    assert int(refused.headers["Retry-After"]) > 0


def test_in_shadow_the_default_refuses_nothing_inside_a_decorator(app):
    decisions = []
    limiter = ours(app, shadow=True, sinks=[decisions.append])
    add_view(app, limiter.limit("7/minute", methods=["POST"]))
    assert allowed(app, ["GET"] * TRIES)["GET"] == TRIES
    assert [d.kind for d in decisions].count(DecisionKind.SHADOW_BLOCKED) == TRIES - DEFAULT


def test_a_limit_that_is_a_route_limit_object_is_a_decorator_too(app):
    limiter = ours(app)
    add_view(app, RouteLimit("3/minute", limiter=limiter, methods=["POST"], override_defaults=True))
    assert allowed(app, ["POST"] * TRIES)["POST"] == 3
    assert allowed(app, ["GET"] * TRIES)["GET"] == DEFAULT
