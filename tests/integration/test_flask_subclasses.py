"""Applications whose class overrides what Flask calls: they start, and their limits hold."""

from __future__ import annotations

import copy
import gc
import sys
import threading
import weakref

import flask
import pytest
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from otel_ratelimit import RateLimit
from otel_ratelimit.policy import parse_policy
from otel_ratelimit.runtime.instrumentor import RateLimitInstrumentor

POLICY = 'version = 1\n[tiers]\ndefault = "2/minute"\n'
TOKEN = "a-token-of-this-test"
OVERRIDDEN = [
    "add_url_rule",
    "register_blueprint",
    "before_request",
    "after_request",
    "register_error_handler",
    "errorhandler",
    "full_dispatch_request",
    "dispatch_request",
    "preprocess_request",
    "process_response",
    "make_response",
    "handle_user_exception",
    "request_context",
    "app_context",
    "create_url_adapter",
    "wsgi_app",
    "teardown_request",
    "iter_blueprints",
    "test_request_context",
]


OPENTELEMETRYS_OWN = {"before_request", "teardown_request"}
"""OpenTelemetry's Flask instrumentation calls them within the constructor; that is not ours to fix."""


@pytest.fixture(params=["otel-first", "ours-first", "alone"])
def instrumented(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ratelimit.toml").write_text(POLICY)
    monkeypatch.setenv("OTEL_RATELIMIT_API_TOKEN", TOKEN)
    ours, theirs = RateLimitInstrumentor(), FlaskInstrumentor()
    order = {"otel-first": (theirs, ours), "ours-first": (ours, theirs), "alone": (ours,)}[request.param]
    for instrumentor in order:
        instrumentor.instrument(meter_provider=MeterProvider(), skip_dep_check=True)
    yield ours
    for instrumentor in (ours, theirs):
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()


def overriding(method):
    """A class whose `method` needs what its `__init__` sets last."""

    def override(self, *args, **kwargs):
        assert self.prefix == "/v1"
        return getattr(super(made, self), method)(*args, **kwargs)

    def initialise(self, *args, **kwargs):
        super(made, self).__init__(*args, **kwargs)
        self.prefix = "/v1"

    made = type("Prefixed", (flask.Flask,), {method: override, "__init__": initialise})
    return made


def assert_limited(app, path="/a"):
    if not app.url_map._rules_by_endpoint.get("a"):
        app.add_url_rule("/a", "a", lambda: "ok")
    client = Client(app)
    assert [client.get(path).status_code for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize("method", OVERRIDDEN)
def test_a_method_that_needs_the_finished_application_is_not_called_before(instrumented, method):
    if method in OPENTELEMETRYS_OWN and FlaskInstrumentor().is_instrumented_by_opentelemetry:
        pytest.skip("OpenTelemetry's instrumentation of Flask calls it within the constructor")
    assert_limited(overriding(method)("sample", static_folder=None))


@pytest.mark.parametrize("method", OVERRIDDEN)
def test_by_hand_it_is_the_same(method):
    app = overriding(method)("sample", static_folder=None)
    rate_limit = RateLimit(app, policy=parse_policy(POLICY, "here.toml"), environ={})
    assert_limited(app)
    rate_limit.close()


@pytest.mark.parametrize(
    "name", ["extensions", "import_name", "url_map", "before_request_funcs", "view_functions", "blueprints"]
)
def test_a_property_that_needs_the_finished_application(instrumented, name):
    class Careful(flask.Flask):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.prefix = "/v1"

    def read(self):
        # Flask's own constructor may read it, and nobody else.
        if not sys._getframe(1).f_globals["__name__"].startswith("flask."):
            assert self.prefix == "/v1"
        return self.__dict__[f"_{name}"]

    setattr(Careful, name, property(read, lambda self, value: self.__dict__.update({f"_{name}": value})))
    assert_limited(Careful("sample", static_folder=None))


class Strict(flask.Flask):
    """Has a fixed set of attributes once it is made, and looks at each of them."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.prefix = "/v1"
        self.sealed = True

    def __setattr__(self, name, value):
        if getattr(self, "sealed", False) and name.startswith("full_"):
            raise AttributeError(name)
        super().__setattr__(name, value)

    def __getattribute__(self, name):
        if name == "__dict__":
            raise AttributeError(name)
        return super().__getattribute__(name)

    def __eq__(self, other):
        return self.prefix == other.prefix

    __hash__ = None  # cannot be hashed, which is the point


class Mixin:
    def __init__(self, *args, colour, **kwargs):
        super().__init__(*args, **kwargs)
        self.colour = colour


class Mixed(Mixin, flask.Flask):
    def add_url_rule(self, *args, **kwargs):
        assert self.colour
        super().add_url_rule(*args, **kwargs)


class Slotted(flask.Flask):
    __slots__ = ("prefix",)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.prefix = "/v1"

    def register_blueprint(self, *args, **kwargs):
        assert self.prefix
        super().register_blueprint(*args, **kwargs)


class Twice(flask.Flask):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        super().__init__(*args, **kwargs)
        self.prefix = "/v1"


class Dispatches(flask.Flask):
    """Does the work of Flask's methods itself."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.prefix = "/v1"

    def full_dispatch_request(self, *args):
        assert self.prefix
        answer = self.preprocess_request(*args)
        if answer is None:
            answer = self.dispatch_request(*args)
        return self.finalize_request(*args, answer)


class Serves(flask.Flask):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.prefix = "/v1"

    def wsgi_app(self, environ, start_response):
        assert self.prefix
        with self.request_context(environ):
            return self.full_dispatch_request()(environ, start_response)


class Meta(type):
    def __call__(cls, *args, **kwargs):
        made = super().__call__(*args, **kwargs)
        made.prefix = "/v1"
        return made


class OfAMeta(flask.Flask, metaclass=Meta):
    def add_url_rule(self, *args, **kwargs):
        assert self.prefix
        super().add_url_rule(*args, **kwargs)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Strict("sample", static_folder=None),
        lambda: Mixed("sample", static_folder=None, colour="blue"),
        lambda: Slotted("sample"),
        lambda: Twice("sample"),
        lambda: Dispatches("sample"),
        lambda: Serves("sample"),
        lambda: OfAMeta("sample", static_folder=None),
    ],
    ids=["strict", "mixin", "slots", "twice", "dispatches", "serves", "metaclass"],
)
def test_unusual_classes_start_and_their_limits_hold(instrumented, make):
    assert_limited(make())


def test_nothing_of_ours_is_in_the_application_before_its_first_request(instrumented):
    app = flask.Flask("sample")
    assert not app.extensions
    assert not app.blueprints
    assert [rule.endpoint for rule in app.url_map.iter_rules()] == ["static"]


def test_the_api_answers_even_the_very_first_request(instrumented):
    app = flask.Flask("sample")
    app.add_url_rule("/<path:anything>", "all", lambda anything: flask.abort(418))
    answer = app.test_client().get(
        "/api/rate-limit/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"}
    )
    assert answer.status_code == 200


def test_a_policy_that_cannot_be_used_stops_the_application_when_it_is_made(instrumented, tmp_path):
    (tmp_path / "ratelimit.toml").write_text("version = 1\n[tiers]\ndefault = 'nonsense'\n")
    with pytest.raises(Exception, match=r"ratelimit\.toml:3"):
        flask.Flask("sample")


def test_a_copy_is_limited_and_so_is_the_original(instrumented):
    app = flask.Flask("sample", static_folder=None)
    app.add_url_rule("/a", "a", lambda: "ok")
    # As below OpenTelemetry's instrumentation, a copy serves with the original.
    for each in (copy.copy(app), app):
        client = Client(each)
        assert 429 in [client.get("/a").status_code for _ in range(3)]


def test_someone_who_wraps_the_dispatch_before_the_first_request(instrumented):
    app = flask.Flask("sample")
    seen, inner = [], app.full_dispatch_request

    def wrapped(*args):
        seen.append(1)
        return inner(*args)

    app.full_dispatch_request = wrapped
    assert_limited(app)
    assert len(seen) == 3
    instrumented.uninstrument()
    assert Client(app).get("/a").status_code == 200


def test_a_dispatcher_of_applications(instrumented):
    one, other = overriding("add_url_rule")("one", static_folder=None), flask.Flask("other")
    for app in (one, other):
        app.add_url_rule("/a", "a", lambda: "ok")
    client = Client(DispatcherMiddleware(one, {"/other": other}))
    assert [client.get("/a").status_code for _ in range(3)] == [200, 200, 429]
    assert [client.get("/other/a").status_code for _ in range(3)] == [200, 200, 429]


def test_a_request_context_in_a_constructor_is_not_a_first_request(instrumented):
    class Curious(flask.Flask):
        def __init__(self, *args):
            super().__init__(*args)
            with self.app_context(), self.test_request_context("/a"):
                assert flask.request.path == "/a"
            self.prefix = "/v1"

    assert_limited(Curious("sample"))


@pytest.mark.parametrize("broken", ["blueprints", "extensions", "import_name"])
def test_where_attaching_fails_requests_are_refused_until_it_works(instrumented, caplog, broken):
    class Broken(flask.Flask):
        is_broken = False

    def read(self):
        if self.is_broken:
            raise RuntimeError("not now")
        return self.__dict__[f"_{broken}"]

    setattr(Broken, broken, property(read, lambda self, value: self.__dict__.update({f"_{broken}": value})))
    app = Broken("sample")
    app.add_url_rule("/a", "a", lambda: "ok")
    client = Client(app)
    Broken.is_broken = True
    assert client.get("/a").status_code == 503
    assert caplog.text.count("could not be attached") == 1
    Broken.is_broken = False
    statuses = [client.get("/a").status_code for _ in range(3)]
    assert statuses[-1] == 429


def test_requests_that_come_while_the_first_is_prepared_for_are_limited_too(instrumented):
    arrived, goes_on = threading.Event(), threading.Event()

    class Slow(flask.Flask):
        @property
        def import_name(self):
            # Only what attaches an application asks for it, in the middle of that.
            if threading.current_thread().name == "first":
                arrived.set()
                assert goes_on.wait(10)
            return self.__dict__["import_name"]

        @import_name.setter
        def import_name(self, value):
            self.__dict__["import_name"] = value

    app = Slow("sample")
    app.add_url_rule("/a", "a", lambda: "ok")
    statuses = []

    def ask():
        statuses.append(Client(app).get("/a").status_code)

    first = threading.Thread(target=ask, name="first")
    first.start()
    assert arrived.wait(10)
    others = [threading.Thread(target=ask) for _ in range(4)]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join(0.2)
    goes_on.set()
    for thread in (first, *others):
        thread.join()
    assert sorted(statuses) == [200, 200, 429, 429, 429]


def test_the_routes_of_the_api_are_not_the_applications_to_change(instrumented):
    class Prefixes(flask.Flask):
        def add_url_rule(self, rule, *args, **kwargs):
            super().add_url_rule(f"/v1{rule}", *args, **kwargs)

    app = Prefixes("sample")
    app.add_url_rule("/a", "a", lambda: "ok")
    assert_limited(app, "/v1/a")
    answer = Client(app).get("/api/rate-limit/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200


def test_an_application_that_was_never_asked_is_freed(instrumented):
    app = weakref.ref(flask.Flask("sample"))
    gc.collect()
    assert app() is None


def test_uninstrument_lets_go_of_an_application_that_was_never_asked(instrumented):
    app = flask.Flask("sample")
    before = set(vars(app))
    instrumented.uninstrument()
    assert "full_dispatch_request" in before - set(vars(app))
    app.add_url_rule("/a", "a", lambda: "ok")
    assert [Client(app).get("/a").status_code for _ in range(3)] == [200] * 3
