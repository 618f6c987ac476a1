"""The way of a request through the API: who may ask, and what is answered when something is wrong."""

from __future__ import annotations

import dataclasses
import json
import logging

import flask
import pytest
from werkzeug.exceptions import Forbidden

from otel_ratelimit.analytics.recorder import RecorderState
from otel_ratelimit.core.counter_store import StorageSnapshot
from otel_ratelimit.core.errors import DatabaseError, DatabaseTimeoutError, SchemaMissingError
from otel_ratelimit.web.api import api_blueprint

READ, OTHER_READ, ADMIN = "read-token-of-someone", "read-token-of-another", "token-of-the-administrator"
PATHS = ["/metrics", "/analytics", "/cache-analysis", "/status?path=/&ip=192.0.2.7", "/openapi.json"]


class NoEnforcement:
    """The questions asked here never get as far as the policy."""

    def __call__(self):
        raise ZeroDivisionError("a fault")


class Unreadable:
    def __init__(self, error):
        self._error = error

    def services(self, period=None):
        raise self._error


@pytest.fixture
def services(api_services):
    return api_services(enforcement=NoEnforcement(), read_tokens=(READ, OTHER_READ), admin_tokens=(ADMIN,))


@pytest.fixture
def client(services):
    """Its attribute `services` is what the next request finds."""
    app = flask.Flask(__name__)
    client = app.test_client()
    client.services = services
    app.register_blueprint(api_blueprint(lambda: client.services))

    @app.errorhandler(Exception)
    def never(error):
        raise AssertionError("the application's error handler was called") from error

    return client


def ask(client, path, token=READ, method="GET", **headers):
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return client.open(f"/api/rate-limit{path}", method=method, headers=headers)


def problem(response, status):
    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    body = json.loads(response.data)
    assert body["type"] == "about:blank"
    assert body["status"] == status
    assert body["title"]
    return body


# --- who may ask ---


@pytest.mark.parametrize("path", [*PATHS, "/nothing", "", "/", "/metrics?bad=1"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "QUERY"])
def test_without_a_token_every_path_and_method_is_401(client, path, method):
    response = ask(client, path, token=None, method=method)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="otel-ratelimit"'


@pytest.mark.parametrize("token", ["wrong", "", READ + "x", READ[:-1], READ.upper(), "é" * 20, "\x7f", ","])
def test_a_wrong_token_is_401(client, token):
    problem(ask(client, "/metrics", token=token), 401)


@pytest.mark.parametrize(
    "value",
    [
        "Bearer",
        "Basic cmVhZDpyZWFk",
        "Basic \xff",
        READ,
        f"Token {READ}",
        f"Bearer {READ},{ADMIN}",
        'Digest "\xff',
    ],
)
def test_another_form_of_authorization_is_401(client, value):
    response = client.get("/api/rate-limit/metrics", headers={"Authorization": value})
    problem(response, 401)


@pytest.mark.parametrize("token", [READ, OTHER_READ, ADMIN])
def test_every_configured_token_may_read(client, token):
    assert ask(client, "/metrics", token=token).status_code == 200


def test_the_scheme_is_not_case_sensitive(client):
    response = client.get("/api/rate-limit/metrics", headers={"Authorization": f"bearer {READ}"})
    assert response.status_code == 200


def test_a_token_in_the_query_is_no_token(client):
    response = ask(client, f"/metrics?access_token={READ}", token=None)
    problem(response, 401)


def test_without_configured_tokens_nobody_may_ask(client, services):
    client.services = dataclasses.replace(services, read_tokens=(), admin_tokens=())
    assert "OTEL_RATELIMIT_API_TOKEN" in problem(ask(client, "/metrics"), 401)["detail"]
    problem(ask(client, "/metrics", token=""), 401)


def test_a_reader_may_not_change(client):
    response = ask(client, "/status?path=/&ip=192.0.2.7", method="DELETE")
    assert "administrator" in problem(response, 403)["detail"]
    assert 'error="insufficient_scope"' in response.headers["WWW-Authenticate"]


def test_without_an_administrators_token_nobody_may_change(client, services):
    client.services = dataclasses.replace(services, admin_tokens=())
    response = ask(client, "/status?path=/&ip=192.0.2.7", method="DELETE")
    assert "OTEL_RATELIMIT_ADMIN_TOKEN" in problem(response, 403)["detail"]
    problem(ask(client, "/status?path=/&ip=192.0.2.7", token=ADMIN, method="DELETE"), 401)


def test_every_token_is_compared_to_the_end(client, monkeypatch):
    compared = []

    def compare(given, known):
        compared.append(known)
        return given == known

    monkeypatch.setattr("hmac.compare_digest", compare)
    assert ask(client, "/metrics", token=READ).status_code == 200
    assert sorted(compared) == sorted(token.encode() for token in (READ, OTHER_READ, ADMIN))


def test_the_applications_own_check_stands_in_place_of_tokens(client, services):
    asked = []

    def authorize(access):
        asked.append((access, flask.request.path))
        return access == "read"

    client.services = dataclasses.replace(services, authorize=authorize)
    assert ask(client, "/metrics", token=None).status_code == 200
    problem(ask(client, "/status?path=/&ip=192.0.2.7", token=ADMIN, method="DELETE"), 403)
    assert asked == [("read", "/api/rate-limit/metrics"), ("admin", "/api/rate-limit/status")]


@pytest.mark.parametrize("answer", [None, 1, "yes", object(), flask.Response("no", status=401)])
def test_only_true_from_the_applications_check_allows(client, services, answer):
    client.services = dataclasses.replace(services, authorize=lambda access: answer)
    problem(ask(client, "/metrics"), 403)


def test_an_asynchronous_check_refuses_instead_of_counting_as_true(client, services, caplog):
    async def authorize(access):
        return True

    client.services = dataclasses.replace(services, authorize=authorize)
    with pytest.warns(RuntimeWarning, match="never awaited"):
        problem(ask(client, "/metrics"), 403)
    assert "coroutine" in caplog.text


def test_a_check_that_fails_refuses_and_is_logged(client, services, caplog):
    def authorize(access):
        raise KeyError("session")

    client.services = dataclasses.replace(services, authorize=authorize)
    assert "session" not in str(problem(ask(client, "/metrics"), 403))
    assert "KeyError" in caplog.text


def test_a_check_that_aborts_refuses_without_noise(client, services, caplog):
    def authorize(access):
        raise Forbidden

    client.services = dataclasses.replace(services, authorize=authorize)
    problem(ask(client, "/metrics"), 403)
    assert not caplog.records


def test_tokens_are_neither_in_answers_nor_in_the_log_nor_in_reprs(client, services, caplog):
    caplog.set_level(logging.DEBUG)
    client.services = dataclasses.replace(services, reader=Unreadable(DatabaseError("away")))
    said = repr(services)
    for path in [*PATHS, "/nothing", "/metrics?token=1"]:
        for token in (READ, ADMIN, "an-attempt-to-guess"):
            for method in ("GET", "DELETE", "POST"):
                response = ask(client, path, token=token, method=method)
                said += response.get_data(as_text=True) + str(response.headers)
    said += caplog.text
    assert "administrator's token" in said
    for token in (READ, OTHER_READ, ADMIN, "an-attempt-to-guess"):
        assert token not in said


# --- other paths, methods and states ---


@pytest.mark.parametrize("path", ["", "/", "/nothing", "/metrics/", "/metrics/x", "/%00", "/%ff", "/..%2fx"])
def test_an_unknown_path_below_the_prefix_is_a_404_of_ours(client, path):
    problem(ask(client, path), 404)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY"])
def test_another_method_is_405_and_says_which_are_possible(client, method):
    response = ask(client, "/metrics", method=method)
    problem(response, 405)
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"


def test_the_allowed_methods_are_those_of_the_path(client):
    response = ask(client, "/status", method="PUT")
    assert response.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS"


def test_options_is_answered_without_a_token(client):
    response = ask(client, "/status", token=None, method="OPTIONS")
    assert response.status_code == 204
    assert response.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS"
    assert not response.data


def test_head_answers_as_get_without_a_body(client):
    get, head = ask(client, "/metrics"), ask(client, "/metrics", method="HEAD")
    assert head.status_code == 200
    assert head.headers["Content-Length"] == get.headers["Content-Length"]
    assert not head.data


def test_paths_beside_the_prefix_are_the_applications(client):
    with pytest.raises(AssertionError, match="the application's error handler"):
        client.get("/api/rate-limits")


def test_a_detached_application_answers_404_even_with_a_token(client):
    client.services = None
    for path in [*PATHS, "/nothing"]:
        assert "not attached" in problem(ask(client, path), 404)["detail"]


def test_bad_parameters_are_400_with_one_entry_each(client):
    body = problem(ask(client, "/analytics?page=0&grupby=client"), 400)
    assert [error["parameter"] for error in body["errors"]] == ["grupby", "page"]
    assert all(error["what"] and error["instead"] for error in body["errors"])


def test_analytics_that_are_off_say_which_variable_to_set(client):
    response = ask(client, "/analytics")
    assert "OTEL_RATELIMIT_DATABASE_URL" in problem(response, 503)["detail"]
    assert "Retry-After" not in response.headers


def test_a_database_that_is_away_is_503_without_its_whereabouts(client, services, caplog):
    client.services = dataclasses.replace(services, reader=Unreadable(DatabaseError("host db.internal away")))
    response = ask(client, "/analytics")
    assert "db.internal" not in str(problem(response, 503))
    assert int(response.headers["Retry-After"]) > 0
    assert "db.internal" in caplog.text


def test_missing_tables_are_503_and_say_how_to_make_them(client, services):
    client.services = dataclasses.replace(services, reader=Unreadable(SchemaMissingError("no table")))
    assert "otel-ratelimit db upgrade" in problem(ask(client, "/analytics"), 503)["detail"]


def test_a_reading_that_takes_too_long_is_503_and_says_to_ask_for_less(client, services):
    client.services = dataclasses.replace(services, reader=Unreadable(DatabaseTimeoutError("slow")))
    answer = ask(client, "/analytics")
    assert "shorter date_range" in problem(answer, 503)["detail"]
    assert int(answer.headers["Retry-After"]) > 0


def test_a_fault_of_ours_is_logged_and_answered_without_internals(client, caplog):
    body = problem(ask(client, "/status?path=/&ip=192.0.2.7"), 500)
    assert "a fault" not in str(body)
    assert "ZeroDivisionError" in caplog.text


def test_services_that_cannot_be_had_are_a_500_of_ours(services):
    app = flask.Flask(__name__)
    app.testing = True  # which lets every exception through that nobody catches

    def broken():
        raise RuntimeError("half detached")

    app.register_blueprint(api_blueprint(broken))
    assert app.test_client().get("/api/rate-limit/metrics").status_code == 500


# --- metrics ---


def test_metrics_say_what_the_store_holds(client, services):
    snapshot = StorageSnapshot(
        "bounded-memory", 41_000_000, 50_000_000, 12, 3, {"a": 2, "b": 10}, {"ip": 5, "user": 7}
    )
    client.services = dataclasses.replace(
        services,
        snapshot=lambda: snapshot,
        recorder=lambda: RecorderState(5, 1, 2, "host db.internal away"),
        keys_by_user=lambda: {"alice": 1, "bob": 6, "": 5},
    )
    body = ask(client, "/metrics").json
    assert body["at"] == "2023-11-14T22:13:20Z"
    memory = body["memory"]
    assert (memory["used_bytes"], memory["used_megabytes"], memory["used_percent"]) == (
        41_000_000,
        41.0,
        82.0,
    )
    assert (memory["capacity_bytes"], memory["status"]) == (50_000_000, "warning")
    assert body["keys"]["active"] == 12
    assert body["keys"]["overflows"] == 3
    assert list(body["keys"]["by_endpoint"].items()) == [("b", 10), ("a", 2)]
    assert list(body["keys"]["by_client_kind"]) == ["user", "ip"]
    assert body["keys"]["by_user"] == {"bob": 6, "": 5, "alice": 1}
    # Endpoints are Flask's; which routes they are stands beside them.
    assert body["keys"]["routes"] == {"a": [], "b": []}
    assert body["recorder"] == {"recorded": 5, "dropped": 1, "pending": 2, "healthy": False}


@pytest.mark.parametrize(
    ("size", "status"), [(0, "ok"), (29, "ok"), (30, "warning"), (39, "warning"), (40, "critical")]
)
def test_the_status_follows_the_thresholds_given(client, services, size, status):
    client.services = dataclasses.replace(
        services,
        snapshot=lambda: StorageSnapshot("x", size * 1_000_000, 50_000_000, 0, 0),
        memory_warning_bytes=30_000_000,
        memory_critical_bytes=40_000_000,
    )
    assert ask(client, "/metrics").json["memory"]["status"] == status


def test_a_store_elsewhere_has_a_health_and_no_contents(client, services):
    client.services = dataclasses.replace(services, storage_name="redis", storage_healthy=lambda: False)
    body = ask(client, "/metrics").json
    assert body["storage"] == {"name": "redis", "healthy": False, "tells_contents": False}
    assert body["memory"] is body["keys"] is body["cleanup"] is body["recorder"] is None
