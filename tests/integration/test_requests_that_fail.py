"""Whatever raises on a request's way: one decision, and a refused client gets its 429."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial

import flask
import pytest
from failing_requests import FAULTS, FailsToOpen, fail
from flask.sessions import SecureCookieSessionInterface
from werkzeug.test import create_environ

from otel_ratelimit import DecisionKind, RateLimit
from otel_ratelimit.policy import parse_policy

AMOUNT = 3
POLICY = f'version = 1\n[tiers]\ndefault = "{AMOUNT}/minute"\n'


class Rig:
    """An application with `/thing` whose parts can be made to fail, and what the sinks were told."""

    def __init__(self, app=None, policy=POLICY, **options):
        self.app = app or flask.Flask("target")
        self.app.secret_key = "secret"
        self.decisions = []
        self.app.add_url_rule("/thing", "thing", lambda: "ok", methods=["GET", "POST"])
        self.rate_limit = RateLimit(
            self.app,
            policy=parse_policy(policy, "test.toml"),
            environ={},
            sinks=[self.decisions.append],
            **options,
        )

    def statuses(self, times=AMOUNT + 2, path="/thing", **options):
        client = self.app.test_client()
        return [client.get(path, **options).status_code for _ in range(times)]

    @property
    def outcomes(self):
        return [decision.kind for decision in self.decisions]


@pytest.fixture(params=["production", "testing"])
def rig(request):
    """In production Flask answers 500; in testing it lets the exception through."""
    rig = Rig()
    rig.app.testing = request.param == "testing"
    yield rig
    rig.rate_limit.close()


def send(app, path="/thing", method="GET"):
    """The status and headers that the server was given last; None where the exception came through."""
    given = []

    def start_response(status, headers, exc_info=None):
        given.append((int(status[:3]), dict(headers)))

    try:
        body = b"".join(app(create_environ(path, method=method), start_response))
    except Exception:  # that it came through is what is asked
        return None
    return (*given[-1], body)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_refused_client_gets_429_whatever_fails(rig, fault):
    fault(rig.app)
    answers = [send(rig.app) for _ in range(AMOUNT + 3)]
    assert 429 not in {answer[0] for answer in answers[:AMOUNT] if answer is not None}
    for answer in answers[AMOUNT:]:
        assert answer is not None
        status, headers, body = answer
        assert status == 429
        assert int(headers["Retry-After"]) > 0
        assert headers["RateLimit"].startswith('"3-per-minute";r=0')
        assert headers["Cache-Control"] == "no-store"
        assert flask.json.loads(body)["violated-policies"] == ["3-per-minute"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_each_request_is_one_decision_whatever_fails(rig, fault):
    fault(rig.app)
    for _ in range(AMOUNT + 3):
        send(rig.app)
    assert rig.outcomes == [DecisionKind.ALLOWED] * AMOUNT + [DecisionKind.BLOCKED] * 3
    assert {decision.plan.route for decision in rig.decisions} == {"/thing"}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_in_shadow_the_application_answers_as_it_would_without_limits(fault):
    apps = []
    for _ in range(2):
        app = flask.Flask("target")
        app.add_url_rule("/thing", "thing", lambda: "ok", methods=["GET", "POST"])
        app.secret_key = "secret"
        fault(app)
        apps.append(app)
    without, limited = apps
    rate_limit = RateLimit(limited, policy=parse_policy(POLICY, "test.toml"), shadow=True, environ={})
    expected = send(without)
    for _ in range(AMOUNT + 2):
        found = send(limited)
        assert (found is None) == (expected is None)
        if found is not None:
            assert (found[0], found[2]) == (expected[0], expected[2])
    rate_limit.close()


def test_a_session_that_cannot_be_opened_does_not_hide_the_route_nor_unmatched_requests(rig):
    rig.app.session_interface = FailsToOpen()
    send(rig.app, "/thing")
    send(rig.app, "/nowhere")
    assert [decision.plan.route for decision in rig.decisions] == ["/thing", "<unmatched>"]


def test_a_user_is_counted_by_address_while_the_session_store_is_away():
    rig = Rig(policy=POLICY.replace("version = 1", 'version = 1\nkey = "user"'))
    rig.app.session_interface = FailsToOpen()
    assert rig.statuses(headers={"Cookie": "session=x"}) == [500] * AMOUNT + [429] * 2
    rig.rate_limit.close()


def test_a_refusal_in_place_of_an_error_keeps_the_headers_that_the_application_adds(rig):
    rig.app.testing = False
    rig.app.session_interface = FailsToOpen()

    @rig.app.after_request
    def add(response):
        response.headers["Content-Security-Policy"] = "default-src 'none'"
        response.headers["Access-Control-Allow-Origin"] = "https://shop.example"
        return response

    _, headers, _ = [send(rig.app) for _ in range(AMOUNT + 1)][-1]
    assert headers["Content-Security-Policy"] == "default-src 'none'"
    assert headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("exception", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
@pytest.mark.parametrize("where", ["view", "before", "after", "teardown", "session", "handler"])
def test_what_ends_the_process_is_one_decision_and_passes(rig, exception, where):
    def end(*args, **kwargs):
        raise exception

    app = rig.app
    if where == "view":
        app.view_functions["thing"] = end
    elif where == "before":
        app.before_request(end)
    elif where == "after":
        app.after_request(end)
    elif where == "teardown":
        app.teardown_request(end)
    elif where == "session":
        app.session_interface = type("Ends", (SecureCookieSessionInterface,), {"open_session": end})()
    else:
        app.view_functions["thing"] = fail
        app.register_error_handler(500, end)
        app.testing = False
    with pytest.raises(exception):
        app(create_environ("/thing"), lambda *_: None)
    assert [(d.kind, d.plan.route) for d in rig.decisions] == [(DecisionKind.ALLOWED, "/thing")]
    assert rig.decisions[0].states[0].used == 1


def test_an_exception_that_ends_the_process_is_no_free_pass(rig):
    rig.app.session_interface = type(
        "Ends", (SecureCookieSessionInterface,), {"open_session": lambda *_: sys.exit(1)}
    )()
    for _ in range(AMOUNT + 2):
        with pytest.raises(SystemExit):
            rig.app(create_environ("/thing"), lambda *_: None)
    assert rig.outcomes == [DecisionKind.ALLOWED] * AMOUNT + [DecisionKind.BLOCKED] * 2


def test_the_default_tier_counts_where_the_process_ends_before_a_decorator_is_reached():
    rig = Rig()
    rig.app.view_functions["thing"] = rig.rate_limit.limiter.limit("9/minute", methods=["POST"])(lambda: "ok")
    rig.app.before_request(lambda: sys.exit(1))
    for _ in range(AMOUNT + 2):
        with pytest.raises(SystemExit):
            rig.app(create_environ("/thing", method="POST"), lambda *_: None)
    assert rig.outcomes == [DecisionKind.ALLOWED] * AMOUNT + [DecisionKind.BLOCKED] * 2
    rig.rate_limit.close()


def test_a_sink_that_wants_the_request_does_not_keep_the_decision_from_the_others():
    seen = []
    app = flask.Flask("target")
    app.add_url_rule("/thing", "thing", lambda: sys.exit(1))
    policy = parse_policy(POLICY, "test.toml")
    wants_request = [lambda _decision: flask.request.path, seen.append]
    rate_limit = RateLimit(app, policy=policy, environ={}, sinks=wants_request)
    with pytest.raises(SystemExit):
        app(create_environ("/thing"), lambda *_: None)
    assert len(seen) == 1
    rate_limit.close()


def test_the_first_request_is_decided_even_where_its_session_does_not_open(rig):
    rig.app.session_interface = FailsToOpen()
    send(rig.app)
    assert rig.outcomes == [DecisionKind.ALLOWED]


def test_an_exception_of_the_application_is_seen_as_before(rig):
    seen = []
    flask.got_request_exception.connect(lambda _app, exception: seen.append(exception), rig.app, weak=False)
    rig.app.view_functions["thing"] = fail
    answers = [send(rig.app) for _ in range(AMOUNT)]
    assert {answer if answer is None else answer[0] for answer in answers} == {
        None if rig.app.testing else 500
    }
    assert [type(exception) for exception in seen] == [RuntimeError] * AMOUNT


def test_hooks_are_taken_away_with_what_stood_there_before():
    app = flask.Flask("target")
    app.add_url_rule("/thing", "thing", lambda: "ok")
    inner = app.wsgi_app
    app.wsgi_app = partial(inner)
    app.handle_exception = lambda error: flask.Response("mine", 500)
    before = dict(app.__dict__)
    rate_limit = RateLimit(app, policy=parse_policy(POLICY, "test.toml"), environ={})
    assert send(app)[0] == 200
    rate_limit.detach(app)
    assert {
        name: app.__dict__.get(name) for name in ("wsgi_app", "handle_exception", "full_dispatch_request")
    } == {name: before.get(name) for name in ("wsgi_app", "handle_exception", "full_dispatch_request")}
    rate_limit.close()


def test_a_middleware_around_ours_stays_after_detaching():
    app = flask.Flask("target")
    app.add_url_rule("/thing", "thing", lambda: "ok")
    rate_limit = RateLimit(app, policy=parse_policy(POLICY, "test.toml"), environ={})
    ours = app.wsgi_app
    app.wsgi_app = partial(ours)
    assert [send(app)[0] for _ in range(AMOUNT + 1)][-1] == 429
    rate_limit.detach(app)
    assert [send(app)[0] for _ in range(AMOUNT + 1)] == [200] * (AMOUNT + 1)
    rate_limit.close()


def test_limits_hold_where_requests_do_not_come_through_wsgi_app(rig):
    def serve():
        with rig.app.test_request_context("/thing"):
            return rig.app.full_dispatch_request().status_code

    assert [serve() for _ in range(AMOUNT + 1)] == [200] * AMOUNT + [429]


def test_the_store_away_is_503_even_where_a_session_does_not_open(rig, monkeypatch):
    rig.app.testing = False
    rig.app.session_interface = FailsToOpen()
    from otel_ratelimit.core.errors import StorageUnavailableError

    def take(*args):
        raise StorageUnavailableError("ConnectionError")

    monkeypatch.setattr(type(rig.rate_limit._parts.storage.store), "take", take)
    status, headers, _ = send(rig.app)
    assert (status, "Retry-After" in headers) == (503, True)
    assert rig.outcomes == [DecisionKind.ERROR]


SERVED = """
    import os, flask
    from otel_ratelimit import RateLimit
    from otel_ratelimit.policy import parse_policy

    app = flask.Flask("target")

    def note(decision):
        with open(os.environ["NOTES"], "a") as notes:
            notes.write(f"{decision.kind} {decision.plan.route}\\n")

    @app.get("/stuck")
    def stuck():
        while True:
            pass

    RateLimit(app, policy=parse_policy('version = 1', 'p'), shadow=False, environ={}, sinks=[note])
"""


@pytest.mark.full
def test_a_worker_that_gunicorn_aborts_leaves_its_decision(tmp_path):
    (tmp_path / "served.py").write_text(textwrap.dedent(SERVED))
    notes, socket = tmp_path / "notes", tmp_path / "socket"
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--bind", f"unix:{socket}", "--timeout", "1", "served:app"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "NOTES": str(notes), "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        deadline = time.monotonic() + 30
        while not socket.exists():
            assert time.monotonic() < deadline, "gunicorn does not start"
            time.sleep(0.02)
        ask_stuck(socket)
        while not notes.exists() or not notes.read_text():
            assert time.monotonic() < deadline, "no decision"
            time.sleep(0.02)
        assert notes.read_text() == "allowed /stuck\n"
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        server.stderr.close()


def ask_stuck(path):
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"GET /stuck HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        connection.settimeout(20)
        received = io.BytesIO()
        while chunk := connection.recv(4096):
            received.write(chunk)
