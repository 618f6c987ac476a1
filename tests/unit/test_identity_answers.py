"""Answers of an application's function or session: text that stands for a client, or a counted fallback."""

from __future__ import annotations

import asyncio
import enum
import gc
import logging
import warnings
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from uuid import UUID

import flask
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup
from werkzeug.local import LocalProxy

from otel_ratelimit.core.route_plan import KeySpec
from otel_ratelimit.policy.identity import Identifier, TrustedProxies
from otel_ratelimit.policy.identity.application_answer import UnusableAnswerError, client_text
from otel_ratelimit.web.client_source import FlaskClientSource, load_function, user_reader

Role = enum.Enum("Role", {"ADMIN": "admin"}, type=str)  # the older way, whose `str()` is `Role.ADMIN`


class Number(enum.IntEnum):
    FIVE = 5


class Restless(str):
    __slots__ = ()
    made = 0

    def __str__(self):
        Restless.made += 1
        return f"{Restless.made}"

    __repr__ = __str__

    def __hash__(self):
        return id(self)

    def __eq__(self, other):
        return False


class RestlessNumber(int):
    def __repr__(self):
        return str(id(self))

    __str__ = __repr__


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("bob", "bob"),
        (b"bob", "bob"),
        ("J\u00f6rg", "J\u00f6rg"),
        ("J\u00f6rg".encode(), "J\u00f6rg"),
        (5, "5"),
        ("5", "5"),
        (0, "0"),
        (-3, "-3"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Markup("bob"), "bob"),
        (Role.ADMIN, "admin"),
        (Number.FIVE, "5"),
        (Restless("bob"), "bob"),
        (RestlessNumber(5), "5"),
        ("x" * 1_000_000, "x" * 1_000_000),
        ("meet at 0x7f", "meet at 0x7f"),
        ("<bob@example.com>", "<bob@example.com>"),
        (None, ""),
        (False, ""),
        ("", ""),
        (b"", ""),
        (Restless(""), ""),
    ],
    ids=lambda value: (
        f"{type(value).__name__} {ascii(value)[:20]}"
        if type(value) in {str, bytes, int}
        else type(value).__name__
    ),
)
def test_text_bytes_whole_numbers_and_uuids_are_clients(answer, text):
    found = client_text(answer)
    assert found == text
    assert type(found) is str


async def coroutine_function():
    return "bob"


async def async_generator():
    yield "bob"


UNUSABLE = [
    object,
    lambda: object,
    lambda: True,
    lambda: 2.5,
    lambda: float("nan"),
    lambda: Decimal(5),
    lambda: 5j,
    lambda: ["bob"],
    lambda: ("bob",),
    lambda: {"id": "bob"},
    lambda: {"bob"},
    lambda: (n for n in ()),
    lambda: object().__str__,
    lambda: lambda: "bob",
    lambda: bytearray(b"bob"),
    lambda: datetime.now(tz=UTC),
    lambda: flask.Response("bob"),
    lambda: SimpleNamespace(id="bob"),
    lambda: asyncio.Future(loop=asyncio.new_event_loop()),
    async_generator,
    coroutine_function,
    lambda: RuntimeError("bob"),
    lambda: NotImplemented,
    lambda: ...,
]


@pytest.mark.parametrize("make", UNUSABLE)
def test_anything_else_is_none(make):
    answer = make()
    with pytest.raises(UnusableAnswerError) as caught:
        client_text(answer)
    assert str(caught.value) == f"an object of type {type(answer).__name__}"


@pytest.mark.parametrize(
    "write", [str, repr, "tenant-{}".format, lambda o: Markup(repr(o)), lambda o: f"[{[o]}]"]
)
def test_the_text_that_python_gives_an_object_without_one_is_none_either(write):
    with pytest.raises(UnusableAnswerError, match="shows the address of an object in memory"):
        client_text(write(object()))


def test_a_coroutine_is_closed_so_that_python_does_not_warn_of_each_one():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(UnusableAnswerError):
            client_text(coroutine_function())
        gc.collect()
    assert not [warning for warning in seen if issubclass(warning.category, RuntimeWarning)]


def test_a_number_too_large_to_be_written_is_an_error():
    with pytest.raises(ValueError, match="integer string conversion"):
        client_text(10**5000)


@settings(deadline=None)
@given(st.binary(), st.binary())
def test_different_bytes_are_different_clients(one, other):
    assert (client_text(one) == client_text(other)) == (one == other)


def test_bytes_that_are_no_utf_8_are_told_apart():
    assert len({client_text(answer) for answer in (b"\xff", b"\xfe", b"\xc3\xbf", b"\xef\xbf\xbd")}) == 4


@settings(deadline=None)
@given(st.text())
def test_text_and_its_bytes_are_one_client(text):
    assert client_text(text.encode()) == client_text(text)


def asked(answer, *, kind="key"):
    """Identities of requests whose function answers this; a new answer each time."""
    name = {"key": "tenant", "user": "user"}[kind]
    spec = KeySpec("function", f"app:{name}") if kind == "key" else KeySpec("user")
    identifier = Identifier(TrustedProxies(), user_from="app:user")
    source = SimpleNamespace(
        peer="198.51.100.7",
        proxied=False,
        header=lambda name: None,
        user=answer,
        evaluate=lambda path: answer(),
    )
    return {identifier.identify(spec, source) for _ in range(3)}


@pytest.mark.parametrize("kind", ["key", "user"])
@pytest.mark.parametrize("make", UNUSABLE)
def test_what_is_no_client_is_counted_by_its_address_and_the_log_says_once_what_to_return(kind, make, caplog):
    with caplog.at_level(logging.WARNING):
        (found,) = asked(make, kind=kind)
    assert (found.kind, found.address, found.fallback) == ("ip", "198.51.100.7", "error")
    (record,) = caplog.records
    setting = {"key": 'key = "app:tenant"', "user": '[identity] user = "app:user"'}[kind]
    assert record.getMessage().startswith(f"{setting} returned an object of type ")
    assert "return text, bytes, an int or a UUID, or None" in record.getMessage()


def test_a_whole_number_is_the_user_that_an_override_names():
    (found,) = asked(lambda: 5, kind="user")
    assert (found.user, found.fallback) == ("5", "")
    assert found == asked(lambda: "5", kind="user").pop()


def test_a_function_that_raises_is_named_once(caplog):
    def fails():
        raise KeyError("sub")

    with caplog.at_level(logging.WARNING):
        (found,) = asked(fails, kind="user")
    assert found.fallback == "error"
    assert [record.getMessage()[:45] for record in caplog.records] == [
        '[identity] user = "app:user" raised KeyError:'
    ]


def test_faults_of_ever_new_types_do_not_fill_the_log(caplog):
    identifier = Identifier(TrustedProxies())
    with caplog.at_level(logging.WARNING):
        for number in range(100):
            answer = type(f"T{number}", (), {})()
            source = SimpleNamespace(
                peer="198.51.100.7", proxied=False, header=lambda _: None, evaluate=lambda _, a=answer: a
            )
            identifier.identify(KeySpec("function", "app:tenant"), source)
    assert len(caplog.records) == 32


@pytest.fixture
def app():
    app = flask.Flask(__name__)
    app.secret_key = "s" * 32
    return app


def read(app, spec, *, session=None, environ=None, answer=None, monkeypatch=None):
    if monkeypatch is not None:
        load_function.cache_clear()
        monkeypatch.setattr(f"{__name__}.chosen", answer, raising=False)
        monkeypatch.setitem(
            __import__("sys").modules, "identity_answers", __import__("sys").modules[__name__]
        )
    with app.test_request_context(environ_overrides=environ or {}) as context:
        if session is not None:
            context.request.environ["HTTP_COOKIE"] = "a=b"
            context.session.update(session)
        return user_reader(spec)(context.request)


@pytest.mark.parametrize(
    ("session", "found"),
    [
        ({"_user_id": "bob"}, "bob"),
        ({"user_id": 5}, 5),
        ({"user_id": 0}, 0),
        ({"_user_id": None, "user_id": "bob"}, "bob"),
        ({"_user_id": "", "user_id": "bob"}, "bob"),
        ({"_user_id": False, "user_id": "bob"}, "bob"),
        ({"_user_id": {"id": 1}, "user_id": "bob"}, {"id": 1}),
        ({}, "remote"),
        ({"user_id": ""}, "remote"),
    ],
)
def test_the_session_is_read_as_it_is_and_nobody_is_passed_over(app, session, found):
    assert read(app, "auto", session=session, environ={"REMOTE_USER": "remote"}) == found


def test_an_object_of_the_session_is_never_compared(app):
    class Column:
        def __eq__(self, other):
            raise TypeError

        __hash__ = None

    column = Column()
    assert read(app, "session:user", session={"user": column}) is column


@pytest.mark.parametrize("value", ["bob", "x" * 100_000, "J\u00c3\u00b6rg"])
def test_remote_user_and_headers_are_text(app, value):
    assert read(app, "auto", environ={"REMOTE_USER": value}) == value
    assert read(app, "header:X-User", environ={"HTTP_X_USER": value}) == value
    assert read(app, "header:Content-Type", environ={"CONTENT_TYPE": value}) == value
    assert read(app, "header:X-User", environ={"HTTP_X_USER": ""}) is None


@pytest.mark.parametrize(("behind", "text"), [("bob", "bob"), (5, "5"), (None, ""), (b"bob", "bob")])
def test_a_local_proxy_is_what_it_stands_for(app, behind, text, monkeypatch):
    answer = LocalProxy(lambda: behind)
    found = read(app, "identity_answers:chosen", answer=lambda: answer, monkeypatch=monkeypatch)
    assert client_text(found) == text
    with app.test_request_context() as context:
        source = FlaskClientSource(context.request, user_reader("none"))
        assert client_text(source.evaluate("identity_answers:chosen")) == text


def test_a_local_proxy_around_a_model_is_no_client(app, monkeypatch):
    answer = LocalProxy(object)
    found = read(app, "identity_answers:chosen", answer=lambda: answer, monkeypatch=monkeypatch)
    with pytest.raises(UnusableAnswerError, match="object"):
        client_text(found)
