"""The API is served ahead of what the application puts before its own pages."""

from __future__ import annotations

import flask
import pytest
from flask_cors import CORS
from flask_login import LoginManager, current_user, login_required
from flask_talisman import Talisman
from flask_wtf import CSRFProtect
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_ratelimit import DecisionKind, RateLimit
from otel_ratelimit.policy import parse_policy

READ, ADMIN = "read-token-of-someone", "token-of-the-administrator"
POLICY = 'version = 1\n[tiers]\ndefault = "1000/minute"\n'
PREFIX = "/api/rate-limit"
STATUS = f"{PREFIX}/status?path=/thing&ip=192.0.2.7"


class Rig:
    def __init__(self, app=None, **options):
        self.app = app or flask.Flask("target")
        self.app.secret_key = "secret"
        self.decisions = []
        self.rate_limit = RateLimit(
            self.app,
            policy=parse_policy(POLICY, "test.toml"),
            **{"environ": {}, "api_token": READ, "admin_token": ADMIN, **options},
            sinks=[self.decisions.append],
        )
        self.app.add_url_rule("/thing", "thing", lambda: "ok")

    def ask(self, path, method="GET", token=READ, **options):
        headers = {"Authorization": f"Bearer {token}", **options.pop("headers", {})} if token else {}
        return self.app.test_client().open(path, method=method, headers=headers, **options)


def login_by_hand(app):
    app.before_request(lambda: flask.redirect("/login"))


def login_by_flask_login(app):
    manager = LoginManager(app)
    manager.login_view = "thing"
    manager.user_loader(lambda name: None)

    @app.before_request
    def everywhere():
        return login_required(lambda: None)()


def login_in_a_preprocessor(app):
    @app.url_value_preprocessor
    def refuse(endpoint, values):
        flask.abort(403)


def set_up_page(app):
    @app.before_request
    def set_up():
        if flask.request.endpoint != "setup":
            return flask.redirect("/setup")
        return None


def csrf_by_flask_wtf(app):
    CSRFProtect(app)


def https_by_talisman(app):
    Talisman(app)


def hook_that_raises(app):
    app.before_request(lambda: 1 / 0)


def hook_after_that_redirects(app):
    @app.after_request
    def to_login(response):
        return flask.redirect("/login") if response.status_code == 401 else response


def hook_after_that_hides_what_there_is(app):
    @app.after_request
    def hide(response):
        response.status_code = 404
        return response


def hooks_that_count_on_each_other(app):
    @app.before_request
    def begin():
        flask.g.begun = True

    @app.after_request
    def end(response):
        assert flask.g.begun
        return response

    @app.teardown_request
    def release(error):
        assert flask.g.begun


def session_store_that_is_away(app):
    class Away(type(app.session_interface)):
        def open_session(self, app, request):
            raise OSError("away")

    app.session_interface = Away()


def error_handlers_for_everything(app):
    for kind in (401, 403, 404, 405, 429, Exception):
        app.register_error_handler(kind, lambda error: ("sorry", 500))


WAYS = [
    login_by_hand,
    login_by_flask_login,
    login_in_a_preprocessor,
    set_up_page,
    csrf_by_flask_wtf,
    https_by_talisman,
    hook_that_raises,
    hook_after_that_redirects,
    hook_after_that_hides_what_there_is,
    hooks_that_count_on_each_other,
    session_store_that_is_away,
    error_handlers_for_everything,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("when", ["before us", "after us"])
def test_nothing_of_the_application_stands_before_the_api(way, when):
    app = flask.Flask("target")
    app.secret_key = "secret"
    if when == "before us":
        way(app)
    rig = Rig(app)
    if when == "after us":
        way(app)
    metrics = rig.ask(f"{PREFIX}/metrics")
    assert (metrics.status_code, metrics.content_type) == (200, "application/json")
    assert rig.ask(f"{PREFIX}/metrics", "HEAD").status_code == 200
    assert rig.ask(f"{PREFIX}/metrics", token=None).status_code == 401
    assert rig.ask(STATUS).json["route"]["route"] == "/thing"
    assert rig.ask(STATUS, "DELETE").status_code == 403
    assert rig.ask(STATUS, "DELETE", ADMIN).json["cleared"] == 0
    assert rig.ask(f"{PREFIX}/openapi.json").json["openapi"].startswith("3.1")
    assert rig.ask(f"{PREFIX}/nothing").status_code == 404
    assert rig.ask(f"{PREFIX}/metrics", "POST").status_code == 405
    assert rig.ask(f"{PREFIX}/metrics", "OPTIONS", token=None).status_code == 204
    assert rig.ask(PREFIX).status_code == 404
    assert len(rig.decisions) == 11
    assert {decision.plan.tier for decision in rig.decisions} == {"rate-limit-api"}
    rig.rate_limit.close()


REFUSED_BY = {
    login_by_hand: 302,
    login_by_flask_login: 302,
    login_in_a_preprocessor: 403,
    set_up_page: 302,
    csrf_by_flask_wtf: 400,
    https_by_talisman: 302,
}


@pytest.mark.parametrize(
    ("way", "status"), REFUSED_BY.items(), ids=lambda value: getattr(value, "__name__", "")
)
@pytest.mark.parametrize("asked", ["argument", "variable"])
def test_it_can_be_put_behind_the_hooks(way, status, asked):
    off = {"api_before_hooks": False} if asked == "argument" else {}
    environ = {"OTEL_RATELIMIT_API_BEFORE_HOOKS": "false"} if asked == "variable" else {}
    rig = Rig(environ=environ, **off)
    way(rig.app)
    assert rig.ask(STATUS, "DELETE", ADMIN).status_code == status
    assert len(rig.decisions) == 1
    rig.rate_limit.close()


def test_the_applications_own_check_has_its_hooks_before_it():
    rig = Rig(api_authorize=lambda access: flask.g.role == "operator")

    @rig.app.before_request
    def load():
        flask.g.role = "operator"

    assert rig.ask(f"{PREFIX}/metrics", token=None).status_code == 200
    rig.rate_limit.close()


def test_the_applications_own_check_can_do_without_them():
    rig = Rig(api_authorize=lambda access: current_user.is_anonymous, api_before_hooks=True)
    login_by_flask_login(rig.app)
    assert rig.ask(f"{PREFIX}/metrics", token=None).status_code == 200
    rig.rate_limit.close()


def test_the_applications_pages_keep_their_hooks():
    rig = Rig()
    login_by_hand(rig.app)
    for path in ("/thing", "/", "/api", "/api/", "/api/rate-limits", "/api/rate-limit.json", "/nothing"):
        assert rig.ask(path).status_code == 302, path
    rig.rate_limit.close()


def test_headers_that_the_application_adds_are_there_and_a_failing_hook_costs_only_its_own():
    rig = Rig()
    CORS(rig.app, origins=["https://ops.example"])
    Talisman(rig.app)

    @rig.app.after_request
    def fails(response):
        raise RuntimeError

    answer = rig.ask(f"{PREFIX}/metrics", headers={"Origin": "https://ops.example"})
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "https://ops.example"
    assert "Content-Security-Policy" in answer.headers
    assert answer.headers["RateLimit-Policy"]
    rig.rate_limit.close()


def test_the_limit_of_the_api_holds_and_its_refusal_is_its_own():
    rig = Rig()
    login_by_hand(rig.app)
    rig.app.register_error_handler(429, lambda error: ("mine", 429))
    found = [rig.ask(f"{PREFIX}/metrics", token="guess").status_code for _ in range(122)]
    assert found == [401] * 120 + [429] * 2
    refused = rig.ask(f"{PREFIX}/metrics")
    assert (refused.status_code, refused.content_type) == (429, "application/problem+json")
    assert int(refused.headers["Retry-After"]) > 0
    assert [decision.kind for decision in rig.decisions[-2:]] == [DecisionKind.BLOCKED] * 2
    rig.rate_limit.close()


def test_a_rule_of_the_policy_governs_it_as_before():
    app = flask.Flask("target")
    login_by_hand(app)
    policy = parse_policy(POLICY + f'[[routes]]\nmatch = "{PREFIX}/*"\nlimits = "2/minute"\n', "test.toml")
    rate_limit = RateLimit(app, policy=policy, environ={}, api_token=READ)
    client = app.test_client()
    assert [client.get(f"{PREFIX}/metrics").status_code for _ in range(3)] == [401, 401, 429]
    rate_limit.close()


def test_a_span_is_there_as_for_every_request():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    app = flask.Flask("target")
    FlaskInstrumentor.instrument_app(app, tracer_provider=provider)
    rig = Rig(app)
    login_by_hand(app)
    assert rig.ask(f"{PREFIX}/metrics").status_code == 200
    (span,) = exporter.get_finished_spans()
    assert span.attributes["http.route"] == f"{PREFIX}/metrics"
    assert span.attributes["otel_ratelimit.tier"] == "rate-limit-api"
    FlaskInstrumentor.uninstrument_app(app)
    rig.rate_limit.close()


def test_routes_of_the_application_below_the_same_prefix_stay_its_own():
    rig = Rig()
    rig.app.add_url_rule(f"{PREFIX}/mine", "mine", lambda: "mine")
    rig.app.add_url_rule(f"{PREFIX}/folder/", "folder", lambda: "folder")
    assert rig.ask(f"{PREFIX}/mine").text == "mine"
    assert rig.ask(f"{PREFIX}/folder/").text == "folder"
    assert rig.ask(f"{PREFIX}/folder").status_code == 308
    assert rig.ask(f"{PREFIX}/metrics").status_code == 200
    rig.rate_limit.close()


@pytest.mark.parametrize("catches", ["a route", "static files"])
def test_a_route_that_takes_everything_does_not_hide_it(catches, tmp_path):
    app = flask.Flask(
        "target", static_folder=tmp_path, static_url_path="" if catches == "static files" else "/s"
    )
    if catches == "a route":
        app.add_url_rule("/<path:rest>", "spa", lambda rest: "page")
    rig = Rig(app)
    assert rig.ask(f"{PREFIX}/metrics").content_type == "application/json"
    rig.rate_limit.close()


def test_it_is_served_where_its_blueprint_could_not_be_registered():
    app = flask.Flask("target")
    app.add_url_rule("/<path:rest>", "spa", lambda rest: "page")
    app.test_client().get("/x")
    rig = Rig.__new__(Rig)
    rig.app, rig.decisions = app, []
    rig.rate_limit = RateLimit(
        app, policy=parse_policy(POLICY, "p"), environ={}, api_token=READ, sinks=[rig.decisions.append]
    )
    assert rig.ask(f"{PREFIX}/metrics").content_type == "application/json"
    assert rig.decisions[-1].plan.tier == "rate-limit-api"
    rig.rate_limit.close()


def test_it_is_served_on_every_host_and_below_every_mount():
    app = flask.Flask("target", host_matching=True, static_host="cdn.example")
    rig = Rig(app)
    for base in ("http://cdn.example", "http://127.0.0.1:8000", "http://anything.example"):
        assert rig.ask(f"{PREFIX}/metrics", base_url=base).status_code == 200, base
    mounted = rig.ask(f"{PREFIX}/openapi.json", environ_overrides={"SCRIPT_NAME": "/shop"})
    assert mounted.json["servers"][0]["url"].startswith("/shop")
    rig.rate_limit.close()


def test_a_host_that_the_application_does_not_trust_is_refused_as_ever():
    rig = Rig()
    rig.app.config["TRUSTED_HOSTS"] = ["shop.example"]
    assert rig.ask(f"{PREFIX}/metrics", base_url="http://shop.example").status_code == 200
    assert rig.ask(f"{PREFIX}/metrics", base_url="http://evil.example").status_code == 400
    rig.rate_limit.close()


def test_after_detaching_it_is_gone_and_the_hooks_are_back():
    rig = Rig()
    login_by_hand(rig.app)
    assert rig.ask(f"{PREFIX}/metrics").status_code == 200
    rig.rate_limit.detach(rig.app)
    assert rig.ask(f"{PREFIX}/metrics").status_code == 302
    rig.rate_limit.close()


@pytest.mark.parametrize(
    "path", ["/metrics", "/nothing", "/..", "//metrics", "/metrics/", "/%00", "/%ff", "/\u20ac"]
)
def test_it_answers_any_path_below_it_with_a_problem_or_an_answer(path):
    rig = Rig()
    login_by_hand(rig.app)
    answer = rig.ask(PREFIX + path)
    assert answer.status_code in {200, 404}
    assert answer.content_type in {"application/json", "application/problem+json"}
    rig.rate_limit.close()
