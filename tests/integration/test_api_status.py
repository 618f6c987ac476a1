"""Would this client be limited here now? Held against what then happens to its request."""

from __future__ import annotations

import platform
import textwrap

import flask
import pytest

from otel_ratelimit import RateLimit
from otel_ratelimit.core.errors import StorageUnavailableError

READ, ADMIN = "read-token-of-someone", "token-of-the-administrator"
POLICY = """
version = 1
key = "ip"
exempt = ["/health"]

[identity]
user = "header:X-User"

[tiers]
default = "2/minute; 10/hour"

[[routes]]
match = "POST /users/*"
limits = "2/minute"
key = "user"

[[routes]]
match = "/keyed"
limits = "1/minute"
key = "header:X-Api-Key"

[[routes]]
match = "/computed"
limits = "1/minute"
key = "platform:python_implementation"

[[routes]]
match = "/costly"
limits = "10/minute"
cost = 4

[[routes]]
match = "/watched"
limits = "1/minute"
shadow = true

[[clients]]
match = "ip:203.0.113.0/24"
multiply = 3

[[clients]]
match = "user:root"
exempt = true
"""


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def app():
    app = flask.Flask(__name__)
    for path in ("/plain", "/plain/<int:number>", "/keyed", "/computed", "/costly", "/watched", "/health"):
        app.add_url_rule(path, path, lambda number=0: "ok", methods=["GET", "POST"])
    app.add_url_rule("/users/<name>", "users", lambda name: "ok", methods=["POST"])
    app.add_url_rule("/folder/", "folder", lambda: "ok")
    return app


@pytest.fixture
def limited(app, clock, tmp_path):
    path = tmp_path / "ratelimit.toml"
    path.write_text(textwrap.dedent(POLICY))
    limited = RateLimit(app, policy=path, environ={}, clock=clock, api_token=READ, admin_token=ADMIN)
    yield limited
    limited.close()


@pytest.fixture
def client(app, limited):
    return app.test_client()


def ask(client, verb="GET", token=READ, **query):
    response = client.open(
        "/api/rate-limit/status",
        method=verb,
        query_string=query,
        headers={"Authorization": f"Bearer {token}"},
    )
    return response.status_code, response.json


def send(client, path, ip="192.0.2.7", method="GET", **headers):
    return client.open(
        path, method=method, headers=headers, environ_overrides={"REMOTE_ADDR": ip}
    ).status_code


def test_the_answer_foretells_the_next_request_until_the_limit_and_after_it(client, clock):
    for sent in range(5):
        status, body = ask(client, path="/plain/7", ip="192.0.2.7")
        assert status == 200
        minute, hour = body["limits"]
        assert (minute["used"], minute["remaining"]) == (min(sent, 2), max(2 - sent, 0))
        assert body["limited"] is (sent >= 2)
        assert send(client, "/plain/8") == (429 if body["limited"] else 200)
    assert body["decision"] == "blocked"
    assert body["retry_after"] == minute["retry_after"] == pytest.approx(60.0)
    assert hour["retry_after"] == 0.0
    clock.now += body["retry_after"]
    assert ask(client, path="/plain/7", ip="192.0.2.7")[1]["limited"] is False
    assert send(client, "/plain/8") == 200


def test_asking_counts_nothing(client):
    for _ in range(20):
        _, body = ask(client, path="/plain", ip="192.0.2.7")
    assert [limit["used"] for limit in body["limits"]] == [0, 0]
    assert send(client, "/plain") == 200


def test_the_answer_names_route_tier_rule_and_limits(client):
    _, body = ask(client, path="/plain/7", ip="192.0.2.7")
    assert body["route"] == {
        "route": "/plain/<int:number>",
        "endpoint": "/plain/<int:number>",
        "method": "GET",
        "tier": "default",
        "rule": "default_tier",
        "key": "ip",
        "cost": 1,
        "exempt": False,
    }
    assert [limit["limit"] for limit in body["limits"]] == ["2 per 1 minute", "10 per 1 hour"]
    assert [limit["name"] for limit in body["limits"]] == ["2-per-minute", "10-per-hour"]
    _, body = ask(client, path="/costly", ip="192.0.2.7")
    assert body["route"]["rule"].startswith("routes[3] (")
    assert body["route"]["cost"] == 4


def test_another_client_and_another_method_stand_apart(client):
    send(client, "/plain")
    send(client, "/plain")
    assert ask(client, path="/plain", ip="192.0.2.7")[1]["limited"] is True
    assert ask(client, path="/plain", ip="192.0.2.8")[1]["limited"] is False
    assert ask(client, path="/users/x", method="GET", ip="192.0.2.7")[1]["route"]["route"] == "<unmatched>"


def test_a_user_is_found_without_an_address(client):
    for _ in range(2):
        send(client, "/users/x", method="POST", **{"X-User": "alice"})
    status, body = ask(client, path="/users/y", method="POST", user="alice")
    assert (status, body["limited"]) == (200, True)
    assert (body["client"]["counted_by"], body["client"]["user"]) == ("user", "alice")
    assert ask(client, path="/users/y", method="POST", user="bob")[1]["limited"] is False


def test_an_anonymous_request_to_a_route_by_user_is_asked_for_its_address(client):
    status, body = ask(client, path="/users/y", method="POST")
    assert status == 400
    [error] = body["errors"]
    assert error["parameter"] == "ip"
    assert "user=" in error["instead"]


def test_a_header_key_is_found_by_its_value(client):
    send(client, "/keyed", **{"X-Api-Key": "k1"})
    assert ask(client, path="/keyed", key="k1")[1]["limited"] is True
    assert ask(client, path="/keyed", key="k2")[1]["limited"] is False


def test_a_function_key_is_found_by_what_the_function_answers(client):
    send(client, "/computed")
    body = ask(client, path="/computed", key=platform.python_implementation())[1]
    assert (body["limited"], body["client"]["counted_by"]) == (True, "function")


def test_a_parameter_that_makes_no_difference_is_said(client):
    body = ask(client, path="/plain", ip="192.0.2.7", user="alice", key="k")[1]
    assert body["client"] == {
        "counted_by": "ip",
        "address": "192.0.2.7",
        "user": None,
        "override": None,
        "unused_parameters": ["user", "key"],
    }


def test_an_override_of_the_client_is_applied(client):
    _, body = ask(client, path="/plain", ip="203.0.113.5")
    assert [limit["amount"] for limit in body["limits"]] == [6, 30]
    assert body["client"]["override"].startswith("clients[0]")
    body = ask(client, path="/users/x", method="POST", user="root")[1]
    assert (body["decision"], body["limited"], body["limits"]) == ("exempt", False, [])
    assert body["route"]["exempt"] is True


def test_an_exempt_route_needs_no_client(client):
    status, body = ask(client, path="/health")
    assert (status, body["decision"], body["client"]) == (200, "exempt", None)


def test_what_a_shadow_limit_would_refuse_is_not_limited(client):
    send(client, "/watched")
    body = ask(client, path="/watched", ip="192.0.2.7")[1]
    assert (body["decision"], body["limited"], body["retry_after"]) == ("shadow_blocked", False, 0.0)
    [limit] = body["limits"]
    assert limit["shadow"] is True
    assert limit["retry_after"] > 0


@pytest.mark.parametrize("path", ["/nowhere", "/plain/x", "//", "/plain/7/", "/\u20ac", "/%00"])
def test_a_path_without_a_route_is_governed_by_the_bucket_of_all_such(client, path):
    body = ask(client, path=path, ip="192.0.2.7")[1]
    assert (body["route"]["route"], body["route"]["endpoint"]) == ("<unmatched>", "")
    assert body["limits"]


def test_the_api_itself_can_be_asked_about(client):
    body = ask(client, path="/api/rate-limit/metrics", ip="192.0.2.7")[1]
    assert body["route"]["tier"] == "rate-limit-api"


def test_a_reset_lets_the_client_in_again_and_nobody_else(client):
    for ip in ("192.0.2.7", "192.0.2.8"):
        send(client, "/plain", ip)
        send(client, "/plain", ip)
    status, body = ask(client, "DELETE", ADMIN, path="/plain", ip="192.0.2.7")
    assert (status, body["cleared"], body["client"]["address"]) == (200, 2, "192.0.2.7")
    assert send(client, "/plain") == 200
    assert send(client, "/plain", "192.0.2.8") == 429
    assert ask(client, "DELETE", ADMIN, path="/plain", ip="198.51.100.1")[1]["cleared"] == 0


def test_a_reset_of_one_route_leaves_the_others(client):
    for _ in range(2):
        send(client, "/plain")
        send(client, "/plain/1")
    ask(client, "DELETE", ADMIN, path="/plain", ip="192.0.2.7")
    assert send(client, "/plain") == 200
    assert send(client, "/plain/1") == 429


def test_a_readers_token_resets_nothing(client):
    send(client, "/plain")
    send(client, "/plain")
    assert ask(client, "DELETE", READ, path="/plain", ip="192.0.2.7")[0] == 403
    assert send(client, "/plain") == 429


def test_a_store_that_fails_is_503_with_retry_after(client, limited, monkeypatch):
    def away(*_):
        raise StorageUnavailableError("timeout")

    client.get("/plain")
    monkeypatch.setattr(limited._parts.storage.store, "peek", away)
    response = client.get(
        "/api/rate-limit/status?path=/plain&ip=192.0.2.7", headers={"Authorization": f"Bearer {READ}"}
    )
    assert response.status_code == 503
    assert "timeout" in response.json["detail"]
    assert int(response.headers["Retry-After"]) >= 1


def test_after_the_limits_are_taken_away_the_api_answers_404(app, limited):
    limited.detach(app)
    response = app.test_client().get("/api/rate-limit/metrics", headers={"Authorization": f"Bearer {READ}"})
    assert response.status_code == 404
    assert response.mimetype == "application/problem+json"


@pytest.mark.parametrize(("path", "route"), [("/folder", "/folder/"), ("/plain//7", "/plain/<int:number>")])
def test_a_redirect_is_described_as_the_route_it_leads_to(client, path, route):
    assert ask(client, path=path, ip="192.0.2.7")[1]["route"]["route"] == route
    assert [send(client, path) for _ in range(3)] == [308, 308, 429]
    assert ask(client, path=path, ip="192.0.2.7")[1]["limited"] is True


def test_a_static_file_is_exempt_where_it_is_there(app, client, tmp_path):
    app.static_folder = tmp_path
    (tmp_path / "there").write_text("x")
    assert ask(client, path="/static/there", ip="192.0.2.7")[1]["route"]["exempt"] is True
    assert ask(client, path="/static/missing", ip="192.0.2.7")[1]["route"]["route"] == "<unmatched>"
