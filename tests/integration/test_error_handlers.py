"""A refused request is answered by the application's own error handler where it has one."""

from __future__ import annotations

import flask
import pytest
from flask.views import MethodView
from flask_limiter import Limiter, RateLimitExceeded
from flask_limiter.util import get_remote_address
from werkzeug.exceptions import HTTPException, ServiceUnavailable, TooManyRequests

from otel_ratelimit import DecisionKind, LimitsUnavailableError, QuotaExceededError, RateLimit
from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.policy import parse_policy

POLICY = 'version = 1\n[tiers]\ndefault = "2/minute; 100/hour"\n'


class Rig:
    def __init__(self, policy=POLICY):
        self.app = flask.Flask("target")
        self.app.add_url_rule("/thing", "thing", lambda: "ok")
        blueprint = flask.Blueprint("shop", __name__, url_prefix="/shop")
        blueprint.add_url_rule("/thing", "thing", lambda: "ok")
        self.blueprint = blueprint
        self.decisions = []
        self._policy = policy

    def refused(self, path="/thing", **options):
        """The answer to the request after the last that is allowed."""
        self.app.register_blueprint(self.blueprint)
        self.rate_limit = RateLimit(
            self.app,
            policy=parse_policy(self._policy, "test.toml"),
            environ={},
            sinks=[self.decisions.append],
            api_token="a-token-that-is-long-enough",
        )
        client = self.app.test_client()
        assert [client.get(path, **options).status_code for _ in range(2)] == [200, 200]
        answer = client.get(path, **options)
        assert [decision.kind for decision in self.decisions] == [DecisionKind.ALLOWED] * 2 + [
            DecisionKind.BLOCKED
        ]
        return answer


@pytest.fixture
def rig():
    return Rig()


def has_our_headers(answer):
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["RateLimit"].startswith('"2-per-minute";r=0;t=')
    assert answer.headers["RateLimit-Policy"] == '"2-per-minute";q=2;w=60, "100-per-hour";q=100;w=3600'
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert answer.headers["Cache-Control"] == "no-store"
    assert len(answer.headers.getlist("Retry-After")) == len(answer.headers.getlist("RateLimit")) == 1
    return True


def is_ours(answer):
    return answer.status_code == 429 and answer.content_type == "application/problem+json"


@pytest.mark.parametrize(
    "kind",
    [429, TooManyRequests, HTTPException, RateLimitExceeded, QuotaExceededError],
    ids=["429", "TooManyRequests", "HTTPException", "RateLimitExceeded", "QuotaExceededError"],
)
@pytest.mark.parametrize("where", ["app", "app_errorhandler", "blueprint"])
def test_a_handler_is_called_and_its_answer_gets_our_headers(rig, kind, where):
    seen = []

    def handler(error):
        seen.append(error)
        return f"slow down: {error.description}", 429

    if where == "app":
        rig.app.register_error_handler(kind, handler)
    elif where == "app_errorhandler":
        rig.blueprint.app_errorhandler(kind)(handler)
    else:
        rig.blueprint.register_error_handler(kind, handler)
    answer = rig.refused("/shop/thing")
    assert (answer.status_code, answer.text) == (429, "slow down: 2 per 1 minute")
    assert has_our_headers(answer)
    (error,) = seen
    assert isinstance(error, RateLimitExceeded)
    assert error.code == 429
    assert error.retry_after == int(answer.headers["Retry-After"])
    assert (error.limits, error.policies) == (("2 per 1 minute",), ("2-per-minute",))
    assert (str(error.limit.limit), error.limit.error_message) == ("2 per 1 minute", None)


def test_who_has_no_handler_gets_ours(rig):
    answer = rig.refused()
    assert is_ours(answer)
    assert has_our_headers(answer)


def test_the_handler_nearest_to_the_route_is_called(rig):
    rig.app.register_error_handler(429, lambda error: ("app", 429))
    rig.blueprint.register_error_handler(429, lambda error: ("blueprint", 429))
    assert rig.refused("/shop/thing").text == "blueprint"


def test_the_handler_of_another_blueprint_is_not_called(rig):
    rig.blueprint.register_error_handler(429, lambda error: ("blueprint", 429))
    assert is_ours(rig.refused("/thing"))


def test_a_handler_by_status_comes_before_one_for_every_http_exception(rig):
    rig.app.register_error_handler(HTTPException, lambda error: ("any", error.code))
    rig.app.register_error_handler(429, lambda error: ("429", error.code))
    assert rig.refused().text == "429"


@pytest.mark.parametrize("where", ["app", "blueprint"])
def test_a_handler_for_every_exception_is_not_called(rig, where):
    scaffold = rig.app if where == "app" else rig.blueprint
    scaffold.register_error_handler(Exception, lambda error: ("sorry", 500))
    answer = rig.refused("/shop/thing")
    assert is_ours(answer)
    assert has_our_headers(answer)


@pytest.mark.parametrize(
    ("handler", "status", "body"),
    [
        (lambda e: e, 429, None),
        (lambda e: e.get_response(), 429, None),
        (lambda e: ({"error": e.description}, 429), 429, '{"error":"2 per 1 minute"}\n'),
        (lambda e: flask.jsonify(error=e.name), 200, '{"error":"Too Many Requests"}\n'),
        (lambda e: ("wait", 420, {"X-Own": "1"}), 420, "wait"),
        (lambda e: (iter(["a", "b"]), 429), 429, "ab"),
        (lambda e: flask.redirect("/busy"), 302, None),
        (lambda e: TooManyRequests(), 429, None),
    ],
)
def test_whatever_a_handler_answers_goes_out_with_our_headers(rig, handler, status, body):
    rig.app.register_error_handler(429, handler)
    answer = rig.refused()
    assert answer.status_code == status
    assert body is None or answer.text == body
    assert has_our_headers(answer)


def test_the_answer_that_flasks_documentation_makes_for_every_http_exception_works(rig):
    @rig.app.errorhandler(HTTPException)
    def handle(error):
        response = error.get_response()
        response.data = flask.json.dumps(
            {"code": error.code, "name": error.name, "description": error.description}
        )
        response.content_type = "application/json"
        return response

    answer = rig.refused()
    assert answer.json == {"code": 429, "name": "Too Many Requests", "description": "2 per 1 minute"}
    assert has_our_headers(answer)


@pytest.mark.parametrize(
    "headers", [{"X-Own": "1"}, [("X-Own", "1")], None, {}], ids=["dict", "list", "none", "empty"]
)
def test_a_response_whose_headers_a_handler_replaced_goes_out_with_ours(rig, headers):
    def handler(error):
        response = flask.Response("mine", 429)
        response.headers = headers
        return response

    rig.app.register_error_handler(429, handler)
    answer = rig.refused()
    assert (answer.status_code, answer.text) == (429, "mine")
    assert has_our_headers(answer)


def abort(error):
    flask.abort(418)


@pytest.mark.parametrize("handler", [lambda e: 1 / 0, lambda e: None, lambda e: object(), abort])
def test_where_a_handler_fails_ours_answers(rig, handler):
    rig.app.testing = True
    rig.app.register_error_handler(429, handler)
    answer = rig.refused()
    assert is_ours(answer)
    assert has_our_headers(answer)


def test_a_handler_may_say_itself_when_to_come_back_and_may_not_allow_caching(rig):
    rig.app.register_error_handler(
        429, lambda e: ("wait", 429, {"Retry-After": "3600", "Cache-Control": "public, max-age=600"})
    )
    answer = rig.refused()
    assert answer.headers["Retry-After"] == "3600"
    assert answer.headers.getlist("Cache-Control") == ["no-store"]


def test_a_handler_is_called_whatever_is_trapped(rig):
    rig.app.config["TRAP_HTTP_EXCEPTIONS"] = True
    rig.app.register_error_handler(429, lambda e: ("mine", 429))
    assert rig.refused().text == "mine"


def test_our_own_api_answers_problem_documents_whatever_the_application_has(rig):
    rig.app.register_error_handler(429, lambda e: ("mine", 429))
    rig.refused()
    client = rig.app.test_client()
    for _ in range(121):
        answer = client.get("/api/rate-limit/metrics")
    assert is_ours(answer)


def store_away(rig, monkeypatch):
    def take(*args):
        raise StorageUnavailableError("ConnectionError")

    rig.rate_limit = RateLimit(
        rig.app,
        policy=parse_policy(rig._policy, "test.toml"),
        environ={},
        sinks=[rig.decisions.append],
    )
    monkeypatch.setattr(type(rig.rate_limit._parts.storage.store), "take", take)
    return rig.app.test_client().get("/thing")


@pytest.mark.parametrize("kind", [503, ServiceUnavailable, HTTPException, LimitsUnavailableError])
def test_the_store_away_is_answered_by_the_applications_handler(rig, monkeypatch, kind):
    seen = []
    rig.app.register_error_handler(kind, lambda e: seen.append(e) or ("back soon", 503))
    answer = store_away(rig, monkeypatch)
    assert (answer.status_code, answer.text) == (503, "back soon")
    assert int(answer.headers["Retry-After"]) == seen[0].retry_after >= 1
    assert answer.headers["Cache-Control"] == "no-store"
    assert [decision.kind for decision in rig.decisions] == [DecisionKind.ERROR]


def test_the_store_away_is_ours_where_there_is_no_handler_or_one_for_everything(rig, monkeypatch):
    rig.app.register_error_handler(Exception, lambda e: ("sorry", 500))
    answer = store_away(rig, monkeypatch)
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")


class Declared:
    """An application whose limits are declared with decorators on our limiter."""

    def __init__(self):
        self.app = flask.Flask("target")
        self.decisions = []
        self.rate_limit = RateLimit(
            self.app,
            policy=parse_policy('version = 1\n[tiers]\ndefault = "1000/minute"\n', "test.toml"),
            environ={},
            sinks=[self.decisions.append],
        )
        limiter = self.rate_limit.limiter

        @self.app.get("/view")
        @limiter.limit("2/minute")
        def view():
            return "ok"

        @limiter.limit("2/minute", error_message="not so often")
        def work():
            return "ok"

        @self.app.get("/within")
        def within():
            return work()

        class Thing(MethodView):
            decorators = (limiter.limit("2/minute", on_breach=lambda _: flask.Response("breached", 429)),)

            def get(self):
                return "ok"

        self.app.add_url_rule("/class", view_func=Thing.as_view("class"))

    def refused(self, path):
        client = self.app.test_client()
        assert [client.get(path).status_code for _ in range(2)] == [200, 200]
        answer = client.get(path)
        assert self.decisions[-1].kind is DecisionKind.BLOCKED
        assert len(self.decisions) == 3
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.headers["Cache-Control"] == "no-store"
        return answer


@pytest.mark.parametrize("path", ["/view", "/within", "/class"])
@pytest.mark.parametrize("kind", [429, TooManyRequests, HTTPException, RateLimitExceeded, QuotaExceededError])
def test_limits_declared_with_decorators_take_the_same_way(path, kind):
    declared = Declared()
    declared.app.register_error_handler(kind, lambda e: (f"mine: {e.description}", 429))
    said = "not so often" if path == "/within" else "2 per 1 minute"
    assert declared.refused(path).text == f"mine: {said}"


@pytest.mark.parametrize("path", ["/view", "/within"])
def test_a_declared_limit_is_answered_by_us_where_there_is_no_handler(path):
    declared = Declared()
    declared.app.register_error_handler(Exception, lambda e: ("sorry", 500))
    answer = declared.refused(path)
    assert is_ours(answer)
    assert answer.json["violated-policies"] == ["2-per-minute"]


def test_what_a_limits_own_on_breach_answers_goes_out():
    assert Declared().refused("/class").text == "breached"


def test_the_applications_own_limiter_has_its_own_handlers_and_errors():
    app = flask.Flask("target")
    own = Limiter(get_remote_address, app=app, storage_uri="memory://")
    rate_limit = RateLimit(app, policy=parse_policy("version = 1", "test.toml"), environ={})
    app.add_url_rule("/thing", "thing", own.limit("1/minute")(lambda: "ok"))
    seen = []
    app.register_error_handler(429, lambda e: seen.append(type(e)) or ("mine", 429))
    client = app.test_client()
    assert [client.get("/thing").text for _ in range(2)] == ["ok", "mine"]
    assert seen == [RateLimitExceeded]
    rate_limit.close()


def test_a_blueprints_handler_of_a_declared_limit_is_completed_too():
    app = flask.Flask("target")
    rate_limit = RateLimit(app, policy=parse_policy("version = 1", "test.toml"), environ={})
    shop = flask.Blueprint("shop", __name__)
    shop.add_url_rule("/thing", "thing", rate_limit.limiter.limit("1/minute")(lambda: "ok"))
    shop.register_error_handler(429, lambda e: ("mine", 429))
    app.register_blueprint(shop)
    client = app.test_client()
    assert client.get("/thing").text == "ok"
    answer = client.get("/thing")
    assert (answer.text, answer.headers["Cache-Control"]) == ("mine", "no-store")
    assert int(answer.headers["Retry-After"]) > 0
    rate_limit.close()


def test_handlers_of_ours_go_with_us_and_those_of_the_application_stay(rig):
    def mine(error):
        return "mine", 429

    rig.app.register_error_handler(QuotaExceededError, mine)
    rig.refused()
    rig.rate_limit.detach(rig.app)
    assert rig.app.error_handler_spec[None][429] == {QuotaExceededError: mine}
    assert not rig.app.error_handler_spec[None][503]
    assert not rig.app.error_handler_spec[None][None]
