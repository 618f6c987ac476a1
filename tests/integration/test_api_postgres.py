"""The API over a real PostgreSQL: what was sent is what is told, whatever is written in the query."""

from __future__ import annotations

import flask
import pytest

from otel_ratelimit import RateLimit
from otel_ratelimit.postgres import Database
from otel_ratelimit.web.api.endpoints import ENDPOINTS

READ, ADMIN = "read-token-of-someone", "token-of-the-administrator"
POLICY = """
version = 1
key = "ip"

[identity]
user = "header:X-User"

[tiers]
default = "2/minute"

[[routes]]
match = "/api/rate-limit/*"
limits = "10000/minute"
"""
HOSTILE = [
    "'; DROP SCHEMA otel_ratelimit CASCADE; --",
    "' OR '1'='1",
    "1; SELECT pg_sleep(10)",
    "endpoint) UNION SELECT secret FROM otel_ratelimit.hash_keys --",
    "%s",
    "%(start)s",
    "$1",
    "\\'",
    '"',
    "{{7*7}}",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "/%2e%2e/",
    "a\0b",
    "\r\nSet-Cookie: x=1",
    "\ud7ff\U0010ffff\u202e",
    "-1",
    "99999999999999999999",
    "1e400",
    "NaN",
    "null",
    "[]",
    "x" * 5000,
    "ключ",
]


@pytest.fixture
def start(tmp_path):
    """`start(database_url)`: an application with limits and analytics, and what limits it."""
    started = []

    def start(url):
        app = flask.Flask("shop")
        app.add_url_rule("/jobs/<int:number>", "jobs", lambda number: "ok")
        policy = tmp_path / "ratelimit.toml"
        policy.write_text(POLICY)
        limited = RateLimit(
            app, policy=policy, environ={}, database_url=url, api_token=READ, admin_token=ADMIN
        )
        started.append(limited)
        return app.test_client(), limited

    yield start
    for limited in started:
        limited.close()


def ask(client, place, verb="GET", token=READ, **query):
    return client.open(
        f"/api/rate-limit{place}",
        method=verb,
        query_string=query,
        headers={"Authorization": f"Bearer {token}"},
    )


def test_what_was_refused_is_told_with_who_and_where(database, start):
    client, limited = start(database)
    for ip, times in (("192.0.2.7", 5), ("192.0.2.8", 3)):
        for _ in range(times):
            client.get("/jobs/7", environ_overrides={"REMOTE_ADDR": ip})
    assert limited.analytics.recorder.flush()

    body = ask(client, "/analytics", date_range="1h", group_by="client", endpoint="/jobs/<int:number>").json
    assert [(g["key"], g["violations"]) for g in body["violations"]["groups"]] == [
        ("192.0.2.7", 3),
        ("192.0.2.8", 1),
    ]
    assert body["violations"]["total_violations"] == 4
    assert body["top_clients"] == body["violations"]["groups"]
    assert [g["key"] for g in body["top_endpoints"]] == ["/jobs/<int:number>"]
    overall = body["hit_rates"]["overall"]
    assert (overall["limited"], overall["refused"], overall["hit_rate"]) == (8, 4, 0.5)
    [room] = body["breathing_room"]
    assert (room["limit_text"], room["requests"], room["refused"]) == ("2 per 1 minute", 8, 4)
    [recommendation] = body["recommendations"]
    assert recommendation["recommended"]["limit_value"] == 6
    assert recommendation["enough_evidence"] is False
    assert ask(client, "/metrics").json["recorder"]["recorded"] == 4
    assert ask(client, "/analytics", endpoint="/other").json["violations"]["total_violations"] == 0


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_nothing_written_in_a_query_does_harm(database, start, endpoint):
    client, limited = start(database)
    for _ in range(3):
        client.get("/jobs/7")
    assert limited.analytics.recorder.flush()
    needed = {"path": "/jobs/7", "ip": "192.0.2.7"} if "path" in endpoint.parameters.model_fields else {}

    for name in [*endpoint.parameters.model_fields, "unknown"]:
        for value in HOSTILE:
            query = {**needed, name: value}
            response = ask(client, endpoint.path, endpoint.method, ADMIN, **query)
            expected = {400, 404} if name == "service" else {200, 400}
            assert response.status_code in expected, (name, value, response.data)
            assert "Set-Cookie" not in response.headers
            if response.status_code == 400:
                assert name in {error["parameter"] for error in response.json["errors"]}
    # The tables are there, with what was refused.
    opened = Database(database)
    [(violations,)] = opened.rows("SELECT sum(n) FROM otel_ratelimit.rate_limit_analytics")
    opened.close()
    assert violations == 1


def test_hostile_names_of_clients_come_back_as_they_are(database, start):
    client, limited = start(database)
    for value in HOSTILE:
        name = value.replace("\r\n", " ").replace("\0", "").encode("utf-8", "replace").decode("latin-1")
        for _ in range(3):
            client.get("/jobs/7", headers={"X-User": name})
    assert limited.analytics.recorder.flush()
    assert ask(client, "/analytics", group_by="user").status_code == 200


def test_a_database_that_is_away_costs_analytics_only(own_postgres, start):
    client, _ = start(own_postgres.url())
    own_postgres.stop()
    response = ask(client, "/analytics")
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert "127.0.0.1" not in response.get_data(as_text=True)
    assert ask(client, "/metrics").status_code == 200
    assert ask(client, "/status", path="/jobs/7", ip="192.0.2.7").status_code == 200


def test_a_database_without_tables_says_how_to_make_them(empty_database, start):
    client, _ = start(empty_database)
    response = ask(client, "/analytics")
    assert response.status_code == 503
    assert "otel-ratelimit db upgrade" in response.json["detail"]
