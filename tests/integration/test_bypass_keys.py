"""Ways around a limiter by another key: empty, failing, and answers that differ each time."""

from __future__ import annotations

import flask
import pytest
from bypass_attempts import AMOUNT, TRIES, make_app, passed, protect, stock


def test_stock_can_be_passed_through_an_empty_key():
    app = make_app()
    stock(app, key_func=lambda: flask.request.headers.get("X-Api-Key", ""))
    assert passed(app, lambda client, i: client.get("/thing")) == TRIES


KEYED = '[[routes]]\nmatch = "/thing"\nlimits = "5/minute"\nkey = "{}"\n'


def test_an_empty_header_falls_back_to_the_address():
    app = make_app()
    protect(app, KEYED.format("header:X-Api-Key"))
    assert passed(app, lambda client, i: client.get("/thing", headers={"X-Api-Key": ""})) == AMOUNT


@pytest.mark.parametrize("function", ["failing_key", "empty_key", "not_there"])
def test_a_key_function_that_fails_or_answers_nothing_falls_back_to_the_address(function, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "bypass_keys", sys.modules[__name__])
    app = make_app()
    protect(app, KEYED.format(f"bypass_keys:{function}"))
    assert passed(app, lambda client, i: client.get("/thing")) == AMOUNT


class Model:
    """A user as an ORM gives it, made in each request, without a text of its own."""


class Counting:
    """An object whose text changes each time."""

    made = 0

    def __repr__(self):
        Counting.made += 1
        return f"<User {Counting.made}>"


async def coroutine():
    return "bob"


def numbered():
    Counting.made += 1
    return Counting.made


STRANGE_ANSWERS = {
    "model": Model,
    "changing": Counting,
    "its text": lambda: str(Model()),
    "coroutine": coroutine,
    "generator": lambda: (n for n in ()),
    "dict": lambda: {"id": numbered()},
    "list": lambda: [numbered()],
    "tuple": lambda: ("bob", numbered()),
    "float": lambda: numbered() + 0.5,
    "nan": lambda: float("nan"),
    "lambda": lambda: lambda: "bob",
    "true": lambda: True,
    "type": lambda: type("User", (), {}),
    "exception": lambda: RuntimeError(numbered()),
    "response": lambda: flask.Response(str(numbered())),
}


@pytest.mark.parametrize("answer", [Counting, STRANGE_ANSWERS["dict"], STRANGE_ANSWERS["float"]])
def test_stock_can_be_passed_by_a_key_function_that_answers_an_object(answer):
    app = make_app()
    stock(app, key_func=answer)
    assert passed(app, lambda client, i: client.get("/thing"), tries=40) == 40


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("answer", STRANGE_ANSWERS.values(), ids=STRANGE_ANSWERS)
@pytest.mark.parametrize("setting", ["user", "key"])
def test_an_answer_that_cannot_stand_for_a_client_is_not_a_new_client_each_time(
    setting, answer, monkeypatch, caplog
):
    import sys

    monkeypatch.setitem(sys.modules, "bypass_keys", sys.modules[__name__])
    monkeypatch.setattr(sys.modules[__name__], "strange", answer, raising=False)
    app = make_app()
    rules = {"user": '[identity]\nuser = "bypass_keys:strange"\n', "key": KEYED.format("bypass_keys:strange")}
    protect(app, rules[setting])
    caplog.clear()
    assert passed(app, lambda client, i: client.get("/thing"), tries=40) == AMOUNT
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "bypass_keys:strange" in line
    assert "return text, bytes, an int or a UUID" in line


def test_an_object_in_a_session_is_not_a_new_client_each_time():
    app = make_app()
    app.secret_key = "s" * 32
    protect(app)

    class Sessions(flask.sessions.SecureCookieSessionInterface):
        """A session that lives on the server and returns any object that was put into it."""

        def open_session(self, app, request):
            return flask.sessions.SecureCookieSession({"user_id": {"id": numbered()}})

    app.session_interface = Sessions()
    client = app.test_client(use_cookies=False)
    statuses = [client.get("/thing", headers={"Cookie": "a=b"}).status_code for _ in range(40)]
    assert statuses.count(200) == AMOUNT


@pytest.mark.parametrize(
    "value",
    ["a/b", "a\0b", "x" * 1_000_000, "🦆" * 50, "a" * 10 + "/5/1/minute", "%2F", "\udce9"],
    ids=["slash", "nul", "a-megabyte", "emoji", "key-syntax", "encoded", "surrogate"],
)
def test_a_strange_header_key_is_one_client_and_no_error(value):
    app = make_app()
    protect(app, KEYED.format("header:X-Api-Key"))
    assert passed(app, lambda c, i: c.get("/thing", environ_base={"HTTP_X_API_KEY": value})) == AMOUNT


def test_a_slash_in_a_key_cannot_reach_another_clients_counter():
    app = make_app()
    protect(app, KEYED.format("header:X-Api-Key"))
    client = app.test_client()
    for _ in range(AMOUNT):
        client.get("/thing", headers={"X-Api-Key": "victim"})
    assert client.get("/thing", headers={"X-Api-Key": "victim"}).status_code == 429
    assert client.get("/thing", headers={"X-Api-Key": "victim/x"}).status_code == 200


def test_a_key_function_of_a_decorator_that_answers_nothing_falls_back_to_the_client():
    app = flask.Flask("target")
    limiter = protect(app, amount=1000).limiter
    keyed = limiter.limit("5/minute", key_func=lambda: flask.request.headers.get("X-Api-Key", ""))
    app.add_url_rule("/thing", "thing", keyed(lambda: "ok"))
    assert passed(app, lambda client, i: client.get("/thing")) == AMOUNT
