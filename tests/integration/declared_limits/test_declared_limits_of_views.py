"""Where a decorator may stand: functions, classes, blueprints, and blocks inside of a view."""

from __future__ import annotations

import functools

import flask
import pytest
from declared import DEFAULT, TRIES, add_view, allowed, ours
from flask.views import MethodView
from flask_limiter import RateLimitExceeded
from werkzeug.test import Client

from otel_ratelimit import DecisionKind

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
