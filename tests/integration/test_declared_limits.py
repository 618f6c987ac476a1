"""Decorators on our limiter and the policy's default tier, held against stock Flask-Limiter.

Stock has the same decorators and the same `default_limits`. However the two are combined, ours never
lets more through, and as much where nothing gets around stock.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import flask
import pytest
from flask.views import MethodView
from flask_limiter import ExemptionScope, Limiter, RateLimitExceeded, RouteLimit
from flask_limiter.util import get_remote_address
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.test import Client

from otel_ratelimit import DecisionKind, RateLimit
from otel_ratelimit.policy import parse_policy

METHODS = ("GET", "HEAD", "POST", "PUT")
TRIES = 12
DEFAULT = 5


def ours(app, default=DEFAULT, **options):
    text = default if isinstance(default, str) else f"{default}/minute"
    policy = parse_policy(f'version = 1\n[tiers]\ndefault = "{text}"\n', "declared.toml")
    return RateLimit(app, policy=policy, environ={}, **options).limiter


def stock(app, default):
    return Limiter(get_remote_address, app=app, default_limits=[default], storage_uri="memory://")


@pytest.fixture
def app():
    return flask.Flask("declared")


def allowed(app, requests, path="/thing"):
    """How many of these requests were let through, for each method."""
    client = app.test_client()
    passed = dict.fromkeys(METHODS, 0)
    for method in requests:
        passed[method] += client.open(path, method=method).status_code not in {429, 503}
    return passed


def add_view(app, *decorators, methods=("GET", "POST", "PUT"), path="/thing"):
    def thing():
        return "ok"

    view = thing
    for decorate in reversed(decorators):
        view = decorate(view)
    app.add_url_rule(path, path.strip("/"), view, methods=methods)


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


# --- where a decorator may stand ---


def test_a_decorator_that_the_request_does_not_reach_leaves_the_default(app):
    def login_required(view):
        @functools.wraps(view)
        def checked():
            return view() if "user" in flask.request.args else ("who are you?", 401)

        return checked

    limiter = ours(app)
    add_view(app, login_required, limiter.limit("2/minute"))
    client = app.test_client()
    assert [client.get("/thing").status_code for _ in range(7)] == [401] * 5 + [429] * 2
    assert [client.get("/thing?user=1").status_code for _ in range(3)] == [200, 200, 429]


def test_a_hook_that_answers_in_front_of_the_view_leaves_the_default(app):
    limiter = ours(app)
    app.before_request(lambda: flask.redirect("/login"))
    add_view(app, limiter.limit("2/minute"))
    client = app.test_client()
    assert [client.get("/thing").status_code for _ in range(7)] == [302] * 5 + [429] * 2


@pytest.mark.parametrize("propagate", [False, True])
def test_a_hook_that_raises_in_front_of_the_view_leaves_the_default(app, propagate):
    decisions = []
    limiter = ours(app, sinks=[decisions.append])
    app.config["PROPAGATE_EXCEPTIONS"] = propagate

    @app.before_request
    def broken():
        raise RuntimeError("the application's own fault")

    add_view(app, limiter.limit("2/minute"))
    client = app.test_client()
    statuses = []
    for _ in range(7):
        try:
            statuses.append(client.get("/thing").status_code)
        except RuntimeError:
            statuses.append(500)
    assert statuses == [500] * 5 + [429] * 2
    assert [d.kind for d in decisions] == [DecisionKind.ALLOWED] * 5 + [DecisionKind.BLOCKED] * 2


def test_what_another_application_did_with_the_same_environment_counts_for_nothing(app):
    """Middleware that tries one application after another serves one environment twice."""
    first, told_by_second = flask.Flask("first"), []
    decorate = ours(first, default=1000).limit("1000/minute")
    first.add_url_rule("/thing", "thing", decorate(lambda: flask.abort(404)))
    add_view(app, ours(app, sinks=[told_by_second.append]).limit("1000/minute"))
    app.before_request(lambda: "answered in front of the decorator")

    def both(environ, start_response):
        b"".join(first(environ, lambda *_: None))
        return app(environ, start_response)

    statuses = [Client(both).get("/thing").status_code for _ in range(TRIES)]
    assert statuses.count(200) == DEFAULT
    assert len(told_by_second) == TRIES


def test_the_view_does_not_run_when_the_default_refuses(app):
    ran = []
    limiter = ours(app)
    add_view(app, limiter.limit("7/minute", methods=["POST"]), lambda view: lambda: ran.append(1) or view())
    allowed(app, ["GET"] * TRIES)
    assert len(ran) == DEFAULT


@pytest.mark.parametrize("kind", ["decorators", "method"])
def test_class_based_views_are_decorated_as_functions_are(app, kind):
    limiter = ours(app)

    class Things(MethodView):
        decorators = [limiter.limit("7/minute", methods=["POST"])] if kind == "decorators" else []

        def get(self):
            return "ok"

        def post(self):
            return "ok"

        if kind == "method":
            post = limiter.limit("7/minute")(post)

    app.add_url_rule("/thing", view_func=Things.as_view("thing"))
    assert allowed(app, ["POST"] * TRIES)["POST"] == 7
    # As in Flask-Limiter, the default tier counts a method's first request: its limit is not known before.
    assert allowed(app, ["GET"] * TRIES)["GET"] == DEFAULT - (kind == "method")


def test_a_decorated_get_of_a_class_takes_head_with_it(app):
    limiter = ours(app)

    class Things(MethodView):
        @limiter.limit("7/minute")
        def get(self):
            return "ok"

    app.add_url_rule("/thing", view_func=Things.as_view("thing"))
    passed = allowed(app, ["GET", "HEAD"] * TRIES)
    assert passed["GET"] + passed["HEAD"] == 7


def test_a_limit_of_a_classs_method_that_was_never_reached_leaves_the_default(app):
    limiter = ours(app)

    class Things(MethodView):
        def get(self):
            return "ok"

        @limiter.limit("7/minute")
        def post(self):
            return "ok"

    app.add_url_rule("/thing", view_func=Things.as_view("thing"))
    assert allowed(app, ["GET"] * TRIES + ["POST"] * TRIES) == {"GET": 5, "HEAD": 0, "POST": 0, "PUT": 0}


@pytest.mark.parametrize("kind", ["block", "helper"])
def test_a_limit_inside_a_view_that_may_not_be_reached_adds_to_the_default(app, kind):
    limiter = ours(app)

    @limiter.limit("2/minute")
    def helper():
        return "within"

    def thing():
        if "inside" not in flask.request.args:
            return "ok"
        if kind == "helper":
            return helper()
        try:
            with limiter.limit("2/minute"):
                return "within"
        except RateLimitExceeded:
            return "beyond", 429

    app.add_url_rule("/thing", "thing", thing)
    client = app.test_client()
    assert client.get("/thing?inside=1").status_code == 200
    assert [client.get("/thing").status_code for _ in range(6)] == [200] * 4 + [429] * 2


def blueprint_app(app, limiter, decorate_blueprint=None, *decorators):
    blueprint = flask.Blueprint("shop", __name__)

    def thing():
        return "ok"

    view = thing
    for decorate in reversed(decorators):
        view = decorate(view)
    blueprint.add_url_rule("/thing", "thing", view, methods=["GET", "POST", "PUT"])
    if decorate_blueprint is not None:
        decorate_blueprint(blueprint)
    app.register_blueprint(blueprint)


def test_a_blueprints_limit_stands_in_place_of_the_default_for_its_methods(app):
    limiter = ours(app)
    blueprint_app(app, limiter, limiter.limit("8/minute", methods=["POST"]))
    assert allowed(app, ["POST"] * TRIES)["POST"] == 8
    assert allowed(app, ["GET"] * TRIES)["GET"] == DEFAULT


def test_a_blueprints_limit_holds_where_the_views_says_nothing_of_the_method(app):
    limiter = ours(app, default=1000)
    blueprint_app(app, limiter, limiter.limit("3/minute"), limiter.limit("8/minute", methods=["POST"]))
    assert allowed(app, ["GET"] * TRIES)["GET"] == 3
    assert allowed(app, ["POST"] * TRIES)["POST"] == 8


def test_a_blueprints_limit_is_not_put_off_by_a_block_that_was_reached_once(app):
    limiter = ours(app, default=1000)
    blueprint = flask.Blueprint("shop", __name__)

    @blueprint.get("/thing")
    def thing():
        if "inside" in flask.request.args:
            with limiter.limit("2/minute"):
                pass
        return "ok"

    limiter.limit("4/minute")(blueprint)
    app.register_blueprint(blueprint)
    client = app.test_client()
    assert client.get("/thing?inside=1").status_code == 200
    assert [client.get("/thing").status_code for _ in range(5)] == [200] * 3 + [429] * 2


def test_nested_blueprints_are_limited_by_their_parents(app):
    limiter = ours(app)
    parent, child = flask.Blueprint("parent", __name__), flask.Blueprint("child", __name__)
    child.add_url_rule("/thing", "thing", lambda: "ok")
    limiter.limit("8/minute")(parent)
    parent.register_blueprint(child)
    app.register_blueprint(parent, name="renamed")
    assert allowed(app, ["GET"] * TRIES)["GET"] <= 8


def test_two_functions_of_one_name_are_told_apart(app):
    limiter = ours(app)
    decorated, plain = (lambda: "a"), (lambda: "b")
    app.add_url_rule("/a", "a", limiter.limit("7/minute")(decorated))
    app.add_url_rule("/thing", "b", plain)
    assert allowed(app, ["GET"] * TRIES, path="/a")["GET"] == 7
    assert allowed(app, ["GET"] * TRIES)["GET"] == DEFAULT


class CallableView:
    def __call__(self):
        return "ok"


@pytest.mark.parametrize(
    "view", [functools.partial(lambda _: "ok", 1), CallableView()], ids=["partial", "object"]
)
@pytest.mark.parametrize("in_blueprint", [False, True])
def test_a_view_without_a_name_is_limited_like_any_other(app, view, in_blueprint):
    limiter = ours(app)
    blueprint = flask.Blueprint("shop", __name__)
    (blueprint if in_blueprint else app).add_url_rule("/thing", "thing", view)
    if in_blueprint:
        limiter.limit("4/minute")(blueprint)
        app.register_blueprint(blueprint)
    assert allowed(app, ["GET"] * TRIES)["GET"] == (4 if in_blueprint else DEFAULT)


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


# --- generated: never more than stock, and as much where nothing gets around it ---


@dataclass(frozen=True)
class Decorator:
    amount: int
    methods: tuple[str, ...] | None
    per_method: bool
    override: bool
    exempt: tuple[str, ...]
    """Methods that `exempt_when` exempts."""
    cost: int
    shared: bool
    called: bool
    readable: bool

    def on(self, limiter):
        text = f"{self.amount} per {'minute' if self.readable else 'minuet'}"
        options = {
            "methods": list(self.methods) if self.methods else None,
            "per_method": self.per_method,
            "override_defaults": self.override,
            "cost": lambda: self.cost,
        }
        if self.exempt:
            options["exempt_when"] = lambda: flask.request.method in self.exempt
        value = (lambda: text) if self.called else text
        if self.shared:
            return limiter.shared_limit(value, scope=f"shared-{self.amount}", **options)
        return limiter.limit(value, **options)

    @property
    def gets_around_stock(self):
        """Whether stock lets requests through that this limit and the default should hold."""
        return bool(self.exempt or self.cost == 0 or self.methods or self.per_method or not self.override)


some_methods = st.lists(st.sampled_from(METHODS), min_size=1, max_size=3, unique=True).map(tuple)
decorators = st.builds(
    Decorator,
    amount=st.integers(1, 9),
    methods=st.none() | some_methods,
    per_method=st.booleans(),
    override=st.booleans(),
    exempt=st.just(()) | some_methods,
    cost=st.sampled_from([1, 1, 1, 2, 0]),
    shared=st.booleans(),
    called=st.booleans(),
    readable=st.sampled_from([True, True, True, False]),
)
# Another window than the decorators have: equal limits share one counter in stock, and count twice.
defaults = st.integers(1, 8).map("{} per 2 minutes".format)
declarations = st.fixed_dictionaries(
    {
        "view": st.lists(decorators, max_size=3),
        "blueprint": st.lists(decorators, max_size=2),
        "kind": st.sampled_from(["function", "class", "method", "undecorated twin"]),
        "default": defaults,
        "requests": st.lists(st.sampled_from(METHODS), min_size=1, max_size=24),
    }
)


def declared_app(make_limiter, declaration):
    app = flask.Flask("declared")
    limiter = make_limiter(app, declaration["default"])
    blueprint = flask.Blueprint("shop", __name__)
    limits = [decorator.on(limiter) for decorator in declaration["view"]]

    def decorate(function):
        for limit in reversed(limits):
            function = limit(function)
        return function

    if declaration["kind"] in {"class", "method"}:
        on_class = declaration["kind"] == "class"

        class Things(MethodView):
            decorators = list(reversed(limits)) if on_class else []

            def get(self):
                return "ok"

            def post(self):
                return "ok"

            put = post
            if not on_class:
                get = decorate(get)

        blueprint.add_url_rule("/thing", view_func=Things.as_view("thing"))
    else:

        def thing():
            return "ok"

        view = decorate(thing)
        if declaration["kind"] == "undecorated twin":
            view = thing
        blueprint.add_url_rule("/thing", "thing", view, methods=["GET", "POST", "PUT"])
    for decorator in declaration["blueprint"]:
        decorator.on(limiter)(blueprint)
    app.register_blueprint(blueprint)
    return app


def counted(make_limiter, declaration, requests):
    app = declared_app(make_limiter, declaration)
    try:
        return allowed(app, requests)
    finally:
        rate_limit = app.extensions.get("otel_ratelimit")
        if rate_limit is not None:
            rate_limit.close()


@pytest.mark.untraced
@settings(max_examples=60, deadline=None)
@given(declaration=declarations, alone=st.sampled_from(METHODS))
def test_never_more_is_allowed_than_by_stock(declaration, alone):
    if declaration["kind"] == "method":
        # Stock counts a blueprint's limits twice at the first request, and never after it.
        declaration["blueprint"].clear()
    for requests in (declaration["requests"], [alone] * len(declaration["requests"])):
        mine = counted(ours, declaration, requests)
        theirs = counted(stock, declaration, requests)
        assert sum(mine.values()) <= sum(theirs.values())


plain = st.builds(
    Decorator,
    amount=st.integers(1, 9),
    methods=st.none(),
    per_method=st.just(False),
    override=st.just(True),
    exempt=st.just(()),
    cost=st.sampled_from([1, 2]),
    shared=st.booleans(),
    called=st.booleans(),
    readable=st.sampled_from([True, True, False]),
)


@settings(max_examples=40, deadline=None)
@given(
    declaration=st.fixed_dictionaries(
        {
            "view": st.lists(plain, max_size=3),
            "blueprint": st.lists(plain, max_size=2),
            "kind": st.sampled_from(["function", "class"]),
            "default": defaults,
            "requests": st.lists(st.sampled_from(METHODS), min_size=1, max_size=24),
        }
    )
)
def test_as_much_is_allowed_as_by_stock_where_nothing_gets_around_it(declaration):
    requests = declaration["requests"]
    assert counted(ours, declaration, requests) == counted(stock, declaration, requests)
