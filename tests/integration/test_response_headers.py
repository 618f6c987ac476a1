"""Whatever a view returns goes out, with our headers where they can be written."""

from __future__ import annotations

from collections import UserDict
from pathlib import Path
from types import MappingProxyType

import flask
import pytest
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from werkzeug.datastructures import EnvironHeaders, Headers, ImmutableMultiDict
from werkzeug.wrappers import Response as PlainResponse

from otel_ratelimit import RateLimit
from otel_ratelimit.policy import parse_policy

POLICY = 'version = 1\n[tiers]\ndefault = "100/minute"\n'
OURS = {"ratelimit", "ratelimit-policy", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}


class CountingDict(dict):
    """A mapping of the application's own."""


class ReadOnlyHeaders(flask.Response):
    """Headers that nobody may replace."""

    @property
    def headers(self):
        return MappingProxyType(dict(self.kept)) if getattr(self, "sealed", False) else self.kept

    @headers.setter
    def headers(self, value):
        if getattr(self, "sealed", False):
            raise AttributeError("headers")
        self.kept = value


class Sealed(flask.Response):
    """Nothing may be set any more."""

    def __setattr__(self, name, value):
        if name == "headers" and self.__dict__.get("sealed"):
            raise AttributeError(name)
        super().__setattr__(name, value)


class StubbornHeaders(Headers):
    """Takes nothing new."""

    def extend(self, *args, **kwargs):
        if kwargs or (args and args[0] and getattr(self, "closed", False)):
            raise TypeError("closed")
        super().extend(*args, **kwargs)


def with_headers(headers):
    def view():
        response = flask.make_response("body")
        response.headers = headers() if callable(headers) else headers
        return response

    return view


def sealed(kind):
    def view():
        response = kind("body")
        response.sealed = True
        return response

    return view


def stubborn():
    response = flask.make_response("body")
    response.headers = StubbornHeaders({"X-Own": "1"})
    response.headers.closed = True
    return response


def sealed_dict():
    response = Sealed("body")
    response.headers = {"X-Own": "1"}
    response.sealed = True
    return response


def passthrough():
    response = flask.Response(iter([b"bo", b"dy"]), direct_passthrough=True)
    response.headers = {"X-Own": "1"}
    return response


def wsgi(environ, start_response):
    start_response("200 OK", [("X-Own", "1"), ("X-Own", "2")])
    return [b"body"]


def stream():
    yield "bo"
    yield "dy"


WRITABLE = {
    "dict": with_headers({"WWW-Authenticate": "Basic"}),
    "dict of lists": with_headers({"X-Own": ["1", "2"]}),
    "dict subclass": with_headers(CountingDict({"X-Own": "1"})),
    "user dict": with_headers(UserDict({"X-Own": "1"})),
    "list": with_headers([("X-Own", "1"), ("X-Own", "2")]),
    "tuple": with_headers((("X-Own", "1"),)),
    "generator": with_headers(lambda: iter([("X-Own", "1")])),
    "frozen": with_headers(MappingProxyType({"X-Own": "1"})),
    "multi dict": with_headers(ImmutableMultiDict([("X-Own", "1"), ("X-Own", "2")])),
    "none": with_headers(None),
    "empty": with_headers({}),
    "text": lambda: "body",
    "pair": lambda: ("body", {"X-Own": "1"}),
    "triple": lambda: ("body", 201, [("X-Own", "1")]),
    "generator body": stream,
    "streamed": lambda: flask.Response(flask.stream_with_context(stream())),
    "passthrough": passthrough,
    "plain response": lambda: PlainResponse("body", headers={"X-Own": "1"}),
    "wsgi": lambda: wsgi,
    "no content": lambda: ("", 204),
    "redirect": lambda: flask.redirect("/elsewhere"),
    "json": lambda: {"a": 1},
    "stubborn": stubborn,
    "environ headers": with_headers(lambda: EnvironHeaders({"HTTP_X_OWN": "1"})),
}
UNWRITABLE = {
    "read-only property": sealed(ReadOnlyHeaders),
    "sealed": sealed_dict,
}


def answer(view, **options):
    """The answers that a client gets, from the application alone and with rate limits."""
    app = flask.Flask("sample")
    app.add_url_rule("/", "view", view)
    rate_limit = (
        RateLimit(app, policy=parse_policy(POLICY, "t.toml"), environ={}, **options) if options else None
    )
    response = app.test_client().get("/")
    if rate_limit is not None:
        rate_limit.close()
    return response


def own(response):
    return sorted((name, value) for name, value in response.headers if name.lower() not in OURS)


@pytest.mark.parametrize("shadow", [False, True])
@pytest.mark.parametrize("name", [*WRITABLE, *UNWRITABLE])
def test_whatever_a_view_returns_goes_out(name, shadow):
    view = (WRITABLE | UNWRITABLE)[name]
    alone, limited = answer(view), answer(view, shadow=shadow)
    assert (limited.status, limited.data, own(limited)) == (alone.status, alone.data, own(alone))
    written = {header.lower() for header, _ in limited.headers} & OURS
    assert written == (OURS if name in WRITABLE and not shadow else set())


@pytest.mark.parametrize("shadow", [False, True])
@pytest.mark.parametrize("name", UNWRITABLE)
def test_what_cannot_be_written_to_is_logged_once_in_shadow_too(name, shadow, caplog):
    app = flask.Flask("sample")
    app.add_url_rule("/", "view", UNWRITABLE[name])
    RateLimit(app, policy=parse_policy(POLICY, "t.toml"), environ={}, shadow=shadow)
    client = app.test_client()
    for _ in range(3):
        assert client.get("/").status_code == 200
    logged = [r for r in caplog.records if "headers cannot be written" in r.getMessage()]
    assert len(logged) == 1


def test_the_body_of_a_generator_is_not_read_ahead():
    read = []

    def body():
        for part in ("a", "b"):
            read.append(part)
            yield part

    app = flask.Flask("sample")
    app.add_url_rule("/", "view", lambda: flask.Response(body()))
    RateLimit(app, policy=parse_policy(POLICY, "t.toml"), environ={})
    response = app.test_client().get("/", buffered=False)
    assert "RateLimit" in response.headers
    assert len(read) <= 1


@pytest.mark.parametrize(
    ("name", "stays", "ours"),
    [
        ("X-RateLimit-Remaining", {"x-ratelimit-remaining"}, {"ratelimit", "ratelimit-policy"}),
        ("ratelimit", {"ratelimit"}, {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}),
        ("RateLimit-Policy", {"ratelimit-policy"}, {"x-ratelimit-limit"}),
    ],
)
def test_a_header_that_the_application_wrote_stays_its_own_with_what_belongs_to_it(name, stays, ours):
    limited = answer(lambda: ("body", {name: "the application's"}), shadow=False)
    assert limited.headers.getlist(name) == ["the application's"]
    written = {header.lower() for header, _ in limited.headers} & OURS
    assert written >= stays | ours
    family = {"ratelimit", "ratelimit-policy"} if name.lower().startswith("ratelimit") else set()
    assert written & family <= stays | (set() if family else family)


def test_a_refusal_is_the_same_whatever_the_view_returns():
    app = flask.Flask("sample")
    app.add_url_rule("/", "view", WRITABLE["dict"])
    RateLimit(app, policy=parse_policy('version = 1\n[tiers]\ndefault = "1/minute"\n', "t.toml"), environ={})
    Limiter(get_remote_address, app=app, default_limits=["50/minute"], storage_uri="memory://")
    client = app.test_client()
    first, second = client.get("/"), client.get("/")
    assert (first.status_code, second.status_code) == (200, 429)
    assert first.headers["WWW-Authenticate"] == "Basic"
    assert second.headers.getlist("Retry-After") == ["60"]


def test_the_readme_shows_the_headers_that_a_client_gets():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    block = readme.partition("HTTP/1.1 429 TOO MANY REQUESTS\n")[2].partition("\n\n")[0]
    shown = {line.partition(":")[0].lower() for line in block.splitlines()}
    app = flask.Flask("shop")
    app.add_url_rule("/", "index", lambda: "ok")
    RateLimit(app, policy=parse_policy('version = 1\n[tiers]\ndefault = "1/minute; 50/hour"\n', "test"))
    passed, refused = (app.test_client().get("/") for _ in range(2))
    assert (passed.status_code, refused.status_code) == (200, 429)
    assert shown == OURS | {"retry-after", "content-type"}
    assert shown <= {name.lower() for name, _ in refused.headers}
    assert {name.lower() for name, _ in passed.headers} >= OURS
    assert "Retry-After" not in passed.headers
