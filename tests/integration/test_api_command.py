"""`otel-ratelimit status` against running applications, and against what is none."""

from __future__ import annotations

import json
import socket
import threading

import flask
import pytest
from click.testing import CliRunner
from werkzeug.serving import make_server

from otel_ratelimit import RateLimit
from otel_ratelimit.cli.status import status
from otel_ratelimit.policy import parse_policy

TOKEN = "read-token-of-someone"
POLICY = """
version = 1
key = "ip+user"

[identity]
user = "header:X-User"

[tiers]
default = "2/minute"
"""


@pytest.fixture
def serve():
    """`serve(app)`: the URL of a running server."""
    running = []

    def serve(app):
        server = make_server("127.0.0.1", 0, app)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def app():
    app = flask.Flask("shop")
    app.add_url_rule("/jobs/<int:number>", "jobs", lambda number: "ok")
    return app


@pytest.fixture
def limit(app, tmp_path):
    """`limit(database_url)`: gives `app` its limits."""
    made = []

    def limit(database_url=""):
        policy = tmp_path / "ratelimit.toml"
        policy.write_text(POLICY)
        limited = RateLimit(app, policy=policy, environ={}, database_url=database_url, api_token=TOKEN)
        made.append(limited)
        return limited

    yield limit
    for limited in made:
        limited.close()


def run(*arguments, token=TOKEN):
    environ = dict.fromkeys(("OTEL_RATELIMIT_API_TOKEN", "OTEL_RATELIMIT_ADMIN_TOKEN"))
    if token is not None:
        environ["OTEL_RATELIMIT_API_TOKEN"] = token
    result = CliRunner().invoke(status, arguments, env=environ)
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert token is None or token not in result.output
    return result


def test_memory_counters_and_who_was_limited_are_shown(database, app, limit, serve):
    limited = limit(database)
    for user in ("alice", "bob"):
        for _ in range(5):
            app.test_client().get("/jobs/7", headers={"X-User": user})
    assert limited.analytics.recorder.flush()
    result = run("--url", serve(app))
    assert result.exit_code == 0, result.output
    assert "bounded-memory, healthy" in result.output
    assert "of 50.0 MB (" in result.output
    assert "6 recorded, 0 pending, 0 dropped" in result.output
    assert "/jobs/<int:number>" in result.output
    assert "6 of" in result.output
    assert (
        "In 24h (service shop): 10 requests; limits refused, or in shadow would have refused,"
        " 6 of 10 requests (60 %); 6 violations."
    ) in result.output
    assert "127.0.0.1" in result.output


def test_names_cannot_steer_the_terminal(app, limit, serve):
    app.add_url_rule("/odd", "odd\x1b[2J\nFAKE ROW\u202e", lambda: "ok")
    limit()
    app.test_client().get("/odd")
    output = run("--url", serve(app)).output
    assert "odd\ufffd[2J\ufffdFAKE ROW\ufffd" in output


def test_json_holds_both_answers_whole(database, app, limit, serve):
    limit(database)
    result = run("--url", serve(app), "--json")
    found = json.loads(result.stdout)
    assert found["metrics"]["storage"]["name"] == "bounded-memory"
    assert found["analytics"]["violations"]["total_violations"] == 0
    assert found["analytics_problem"] is None


def test_without_analytics_the_rest_is_shown_and_what_to_set(app, limit, serve):
    limit()
    url = serve(app)
    result = run("--url", url)
    assert result.exit_code == 0
    assert "bounded-memory" in result.output
    assert "OTEL_RATELIMIT_DATABASE_URL" in result.output
    found = json.loads(run("--url", url, "--json").stdout)
    assert found["analytics"] is None
    assert "OTEL_RATELIMIT_DATABASE_URL" in found["analytics_problem"]


def test_the_token_may_be_given_in_place_of_the_variable(app, limit, serve):
    limit()
    url = serve(app)
    assert run("--url", url, "--token", TOKEN, token=None).exit_code == 0
    assert run("--url", url, token=f"{TOKEN},another-token-of-somebody").exit_code == 0


def test_a_refused_token_is_said_and_not_shown(app, limit, serve):
    limit()
    result = run("--url", serve(app), token="quite-another-token")
    assert result.exit_code == 1
    assert "401" in result.stderr
    assert "OTEL_RATELIMIT_API_TOKEN" in result.stderr


def test_without_a_token_nothing_is_asked(app, limit, serve):
    limit()
    result = run("--url", serve(app), token=None)
    assert result.exit_code == 2
    assert "OTEL_RATELIMIT_API_TOKEN" in result.stderr


def test_where_nothing_runs_that_is_said():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        result = run("--url", url)
    assert result.exit_code == 1
    assert f"no answer from {url}" in result.stderr
    assert "--url" in result.stderr


@pytest.mark.parametrize(
    "answer",
    [
        flask.Response("<h1>Not Found</h1>", 404),
        flask.Response("hello", 200),
        flask.Response('{"ok": true}', 200, mimetype="application/json"),
        flask.Response("[]", 500, mimetype="application/problem+json"),
        flask.Response("\xff\x00", 503, mimetype="application/problem+json"),
    ],
)
def test_what_is_no_application_of_ours_is_said(serve, answer):
    app = flask.Flask("other")
    app.add_url_rule("/<path:rest>", "any", lambda rest: answer)
    result = run("--url", serve(app))
    assert result.exit_code == 1
    assert "is not from the API of otel-ratelimit" in result.stderr


def test_a_redirect_is_not_followed_with_the_token(serve):
    seen = []
    elsewhere = flask.Flask("elsewhere")
    elsewhere.add_url_rule("/<path:rest>", "any", lambda rest: seen.append(dict(flask.request.headers)) or "")
    target = serve(elsewhere)
    app = flask.Flask("redirects")
    app.add_url_rule("/<path:rest>", "any", lambda rest: flask.redirect(f"{target}/{rest}"))
    result = run("--url", serve(app))
    assert result.exit_code == 1
    assert not seen
    assert f"302, a redirect to {target}/api/rate-limit/metrics" in result.stderr


@pytest.mark.parametrize(
    ("location", "remedy"),
    [
        ("/login?next=%2Fapi", "OTEL_RATELIMIT_API_BEFORE_HOOKS"),
        ("https://shop.example/api/rate-limit/metrics", "--url"),
        ("https://sso.example/" + "x" * 5000, "--url"),
    ],
)
def test_a_redirect_is_named_with_what_to_do(serve, app, location, remedy):
    policy = parse_policy(POLICY, "test.toml")
    made = RateLimit(app, policy=policy, environ={}, api_token=TOKEN, api_before_hooks=False)
    app.before_request(lambda: flask.redirect(location))
    result = run("--url", serve(app))
    assert result.exit_code == 1
    assert f"302, a redirect to {location[:100]}" in result.stderr
    assert remedy in result.stderr
    assert len(result.stderr) < 800
    made.close()


def test_a_login_in_front_of_the_application_is_not_in_front_of_the_api(serve, app):
    made = RateLimit(app, policy=parse_policy(POLICY, "test.toml"), environ={}, api_token=TOKEN)
    app.before_request(lambda: flask.redirect("/login"))
    assert run("--url", serve(app)).exit_code == 0
    made.close()


def test_a_server_that_does_not_speak_http_is_said():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"220 mail ready\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        result = run("--url", f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join()
    assert result.exit_code == 1
    assert "no answer from" in result.stderr


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000", "ftp://host", "http://", "http://user:pw@host", "http://host?x=1", "http://host:x",
     "http://host:99999", "http://ho st", "http://[::1", "file:///etc/passwd"],
)  # fmt: skip
def test_a_url_that_cannot_be_used_is_wrong_use(url):
    result = run("--url", url)
    assert result.exit_code == 2
    assert "pw" not in result.output
    assert "http://127.0.0.1:8000" in result.stderr


def test_the_applications_root_and_the_apis_prefix_may_be_part_of_the_url(app, limit, serve):
    limit()
    url = serve(app)
    assert run("--url", f"{url}/").exit_code == 0
    assert run("--url", f"{url}/api/rate-limit/").exit_code == 0
