"""Behaviour that users of Flask-Limiter rely on, with our storage below it or our limiter instead of it."""

from __future__ import annotations

import flask
import pytest
from flask_limiter import ExemptionScope, Limiter, RateLimitExceeded
from flask_limiter.util import get_remote_address
from half_over import DAY_OR_TWO

from otel_ratelimit import DecisionKind, RateLimit, storage
from otel_ratelimit.policy import parse_policy

assert storage  # registers bounded-memory://

GENEROUS = 'version = 1\n[tiers]\ndefault = "1000/minute"\n'


def statuses(client, path, times, **kwargs):
    return [client.get(path, **kwargs).status_code for _ in range(times)]


def by_itself(app):
    """A stock Limiter on our storage."""
    return Limiter(get_remote_address, app=app, storage_uri="bounded-memory://")


def ours(app):
    """The limiter that `RateLimit` offers, under a policy that never refuses."""
    return RateLimit(app, policy=parse_policy(GENEROUS, "test.toml"), environ={}).limiter


@pytest.fixture
def app():
    return flask.Flask("compatible")


@pytest.fixture(params=[by_itself, ours])
def limiter(request, app):
    return request.param(app)


def test_a_decorated_view_is_limited(app, limiter):
    app.add_url_rule("/a", "a", limiter.limit("2/minute")(lambda: "ok"))
    assert statuses(app.test_client(), "/a", 3) == [200, 200, 429]


def test_several_decorated_limits_hold_together(app, limiter):
    app.add_url_rule("/a", "a", limiter.limit("5/hour")(limiter.limit("2/minute")(lambda: "ok")))
    assert statuses(app.test_client(), "/a", 3) == [200, 200, 429]


def test_a_shared_limit_is_one_bucket_for_its_routes(app, limiter):
    shared = limiter.shared_limit("3/minute", scope="both")
    app.add_url_rule("/a", "a", shared(lambda: "a"))
    app.add_url_rule("/b", "b", shared(lambda: "b"))
    client = app.test_client()
    assert statuses(client, "/a", 2) + statuses(client, "/b", 2) == [200, 200, 200, 429]


def test_cost_is_deducted(app, limiter):
    app.add_url_rule("/a", "a", limiter.limit("10/minute", cost=lambda: 5)(lambda: "ok"))
    assert statuses(app.test_client(), "/a", 3) == [200, 200, 429]


def test_deduct_when_counts_only_what_it_names(app, limiter):
    def view():
        return "ok", int(flask.request.args["status"])

    decorated = limiter.limit("2/minute", deduct_when=lambda response: response.status_code == 400)(view)
    app.add_url_rule("/a", "a", decorated)
    client = app.test_client()
    assert statuses(client, "/a?status=200", 5) == [200] * 5
    assert statuses(client, "/a?status=400", 3) == [400, 400, 429]


def test_conditional_limits_are_skipped_when_exempt(app, limiter):
    app.add_url_rule(
        "/a",
        "a",
        limiter.limit("1/minute", exempt_when=lambda: "vip" in flask.request.args)(lambda: "ok"),
    )
    client = app.test_client()
    assert statuses(client, "/a?vip=1", 3) == [200] * 3
    assert statuses(client, "/a", 2) == [200, 429]


def test_a_limit_for_some_methods_leaves_the_others(app, limiter):
    app.add_url_rule(
        "/a",
        "a",
        limiter.limit("1/minute", methods=["POST"])(lambda: "ok"),
        methods=["GET", "POST"],
    )
    client = app.test_client()
    assert [client.post("/a").status_code for _ in range(2)] == [200, 429]
    assert statuses(client, "/a", 3) == [200] * 3


def test_a_blueprint_is_limited_as_a_whole_declaration(app, limiter):
    blueprint = flask.Blueprint("b", __name__)
    blueprint.add_url_rule("/a", "a", lambda: "ok")
    limiter.limit("2/minute")(blueprint)
    app.register_blueprint(blueprint)
    assert statuses(app.test_client(), "/a", 3) == [200, 200, 429]


def test_a_limit_as_a_context_manager_guards_a_block(app, limiter):
    def view():
        try:
            with limiter.limit("1/minute"):
                return "within"
        except RateLimitExceeded:
            return "beyond", 503

    app.add_url_rule("/a", "a", view)
    assert statuses(app.test_client(), "/a", 2) == [200, 503]


def test_dynamic_limits_are_asked_for_each_time(app, limiter):
    amount = ["1/minute"]
    app.add_url_rule("/a", "a", limiter.limit(lambda: amount[0])(lambda: "ok"))
    client = app.test_client()
    assert statuses(client, "/a", 2) == [200, 429]
    amount[0] = "3/minute"
    assert client.get("/a").status_code == 200


def test_current_limits_are_known_in_the_view(app, limiter):
    seen = []

    def view():
        seen.extend((str(each.limit), each.remaining, each.breached) for each in limiter.current_limits)
        return "ok"

    app.add_url_rule("/a", "a", limiter.limit("5/minute")(view))
    app.test_client().get("/a")
    assert ("5 per 1 minute", 4, False) in seen


def test_the_storage_can_be_reset_through_the_limiter(app, limiter):
    app.add_url_rule("/a", "a", limiter.limit("1/minute")(lambda: "ok"))
    client = app.test_client()
    assert statuses(client, "/a", 2) == [200, 429]
    limiter.reset()
    assert client.get("/a").status_code == 200


@pytest.mark.parametrize("arguments", [["config"], ["limits"], ["clear", "--key", "127.0.0.1", "-y"]])
def test_the_flask_limiter_commands_work(app, limiter, arguments):
    from flask_limiter.commands import cli

    app.add_url_rule("/a", "a", limiter.limit("1/minute")(lambda: "ok"))
    app.test_client().get("/a")
    result = app.test_cli_runner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("strategy", ["fixed-window", "moving-window", "sliding-window-counter"])
def test_every_strategy_works_on_the_storage(app, strategy):
    limiter = Limiter(get_remote_address, app=app, storage_uri="bounded-memory://", strategy=strategy)
    app.add_url_rule("/a", "a", limiter.limit(f"3/{DAY_OR_TWO} seconds")(lambda: "ok"))
    assert statuses(app.test_client(), "/a", 5) == [200, 200, 200, 429, 429]


# --- our limiter and the policy together ---

TIGHT = 'version = 1\n[tiers]\ndefault = "2/minute"\n[[routes]]\nmatch = "/ruled"\nlimits = "3/minute"\n'


@pytest.fixture
def decisions():
    return []


@pytest.fixture
def rate_limit(app, decisions):
    return RateLimit(app, policy=parse_policy(TIGHT, "test.toml"), environ={}, sinks=[decisions.append])


def test_a_decorator_stands_in_place_of_the_default_tier(app, rate_limit):
    app.add_url_rule("/a", "a", rate_limit.limiter.limit("4/minute")(lambda: "ok"))
    assert statuses(app.test_client(), "/a", 5) == [200] * 4 + [429]


def test_a_rule_of_the_policy_holds_beside_a_decorator(app, rate_limit):
    app.add_url_rule("/ruled", "ruled", rate_limit.limiter.limit("100/minute")(lambda: "ok"))
    assert statuses(app.test_client(), "/ruled", 4) == [200] * 3 + [429]


def test_an_exempted_view_is_exempt_from_the_policy(app, rate_limit):
    app.add_url_rule("/a", "a", rate_limit.limiter.exempt(lambda: "ok"))
    assert statuses(app.test_client(), "/a", 5) == [200] * 5


def test_an_exempted_blueprint_is_exempt_from_the_policy(app, rate_limit):
    blueprint = flask.Blueprint("b", __name__)
    blueprint.add_url_rule("/a", "a", lambda: "ok")
    rate_limit.limiter.exempt(blueprint, flags=ExemptionScope.DEFAULT)
    app.register_blueprint(blueprint)
    assert statuses(app.test_client(), "/a", 5) == [200] * 5


def test_a_declared_refusal_is_a_problem_document_and_one_decision(app, rate_limit, decisions):
    app.add_url_rule("/a", "a", rate_limit.limiter.limit("1/minute")(lambda: "ok"))
    client = app.test_client()
    client.get("/a")
    refused = client.get("/a")
    assert refused.content_type == "application/problem+json"
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert [(d.kind, d.plan.tier) for d in decisions] == [
        (DecisionKind.ALLOWED, "application"),
        (DecisionKind.BLOCKED, "application"),
    ]
    assert decisions[1].identity.address == "127.0.0.1", "who was limited is known where a decorator decides"


def test_current_limits_show_the_policys_limits_too(app, rate_limit):
    seen = []

    def view():
        limit = rate_limit.limiter.current_limit
        seen.append((str(limit.limit), limit.remaining, limit.breached))
        return "ok"

    app.add_url_rule("/ruled", "ruled", view)
    app.test_client().get("/ruled")
    assert seen == [("3 per 1 minute", 2, False)]


# --- the application's own Flask-Limiter, beside the policy ---


def test_an_apps_own_limiter_goes_on_working_and_is_observed(app, decisions):
    RateLimit(app, policy=parse_policy(GENEROUS, "test.toml"), environ={}, sinks=[decisions.append])
    own = Limiter(get_remote_address, app=app, storage_uri="memory://", headers_enabled=True)
    app.add_url_rule("/a", "a", own.limit("2/minute")(lambda: "ok"))
    client = app.test_client()
    responses = [client.get("/a") for _ in range(3)]
    assert [r.status_code for r in responses] == [200, 200, 429]
    assert responses[0].headers.getlist("X-RateLimit-Limit") == ["2"]
    assert responses[2].content_type != "application/problem+json"
    assert [(d.kind, d.plan.tier) for d in decisions] == [
        (DecisionKind.ALLOWED, "default"),
        (DecisionKind.ALLOWED, "default"),
        (DecisionKind.BLOCKED, "application"),
    ]
    assert decisions[2].windows[decisions[2].tightest].text == "2 per 1 minute"


def test_the_apps_own_limiter_keeps_its_configuration(app):
    app.config["RATELIMIT_DEFAULT"] = "1/minute"
    app.config["RATELIMIT_STORAGE_URI"] = "memory://"
    before = dict(app.config)
    RateLimit(app, policy=parse_policy(GENEROUS, "test.toml"), environ={})
    assert dict(app.config) == before
    app.add_url_rule("/a", "a", lambda: "ok")
    assert statuses(app.test_client(), "/a", 3) == [200] * 3
    Limiter(get_remote_address, enabled=False).init_app(flask.Flask("other"))


def test_a_disabled_own_limiter_stays_disabled(app):
    RateLimit(app, policy=parse_policy(GENEROUS, "test.toml"), environ={})
    own = Limiter(
        get_remote_address, app=app, enabled=False, default_limits=["1/minute"], storage_uri="memory://"
    )
    app.add_url_rule("/a", "a", lambda: "ok")
    assert own.enabled is False
    assert statuses(app.test_client(), "/a", 3) == [200] * 3
