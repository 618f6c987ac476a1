"""The recorder, the database and the HTTP API, as `RateLimit` joins them to an application."""

from __future__ import annotations

import contextlib
import logging
import re
from pathlib import Path

import flask
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_ratelimit import RateLimit
from otel_ratelimit.analytics import log_rate_limit_violation
from otel_ratelimit.core import names
from otel_ratelimit.policy import parse_policy
from otel_ratelimit.postgres import Database

READ, ADMIN = "read-token-0123456789", "admin-token-0123456789"
POLICY = 'version = 1\n[tiers]\ndefault = "3/minute"\n[analytics]\nclient_addresses = "{addresses}"\n'
VIOLATIONS = (
    "SELECT endpoint, client, user_id, user_agent, sum(n)::int FROM otel_ratelimit.rate_limit_analytics"
    " GROUP BY 1, 2, 3, 4"
)
"""Sums, because there is a row for each minute."""
LOG_PAGE = (Path(__file__).parents[2] / "docs/reference/logs.md").read_text(encoding="utf-8")


@pytest.fixture
def app():
    app = flask.Flask(__name__)
    app.add_url_rule("/a", "a", lambda: "ok")
    return app


@pytest.fixture
def rows(database):
    opened = Database(database)
    yield opened.rows
    opened.close()


@pytest.fixture
def limited(app, database):
    made = []

    def make(addresses="whole", **options):
        given = {"database_url": database, "api_token": READ, "admin_token": ADMIN, **options}
        policy = parse_policy(POLICY.format(addresses=addresses), "test.toml")
        made.append(RateLimit(app, policy=policy, environ={}, **given))
        return made[-1]

    yield make
    for rate_limit in made:
        rate_limit.close()


def get(client, path, token=READ, **options):
    return client.get(path, headers={"Authorization": f"Bearer {token}"}, **options)


@pytest.mark.parametrize(("addresses", "kept"), [("whole", "127.0.0.1"), ("masked", "127.0.0.0/24")])
def test_what_is_refused_is_written_when_it_closes(app, limited, rows, addresses, kept):
    rate_limit = limited(addresses)
    client = app.test_client()
    statuses = [client.get("/a", headers={"User-Agent": "curl/8"}).status_code for _ in range(5)]
    assert statuses == [200] * 3 + [429] * 2
    rate_limit.close()
    assert rows(VIOLATIONS) == [("/a", kept, None, "curl/8", 2)]


def test_the_api_answers_from_the_database_what_was_recorded(app, limited):
    rate_limit = limited()
    client = app.test_client()
    for _ in range(5):
        client.get("/a")
    assert rate_limit.analytics.recorder.flush()
    answer = get(client, "/api/rate-limit/analytics?date_range=1h").json
    assert answer["violations"]["total_violations"] == 2
    assert answer["hit_rates"]["by_endpoint"][0]["hit_rate"] == 0.4
    assert answer["breathing_room"][0]["room"] == 0.0
    metrics = get(client, "/api/rate-limit/metrics").json
    assert metrics["recorder"]["recorded"] == 2
    assert metrics["keys"]["active"] > 0
    assert get(client, "/api/rate-limit/status?path=/a&ip=127.0.0.1").json["limited"] is True
    reset = client.delete(
        "/api/rate-limit/status?path=/a&ip=127.0.0.1", headers={"Authorization": f"Bearer {ADMIN}"}
    )
    assert reset.json["cleared"] == 1
    assert client.get("/a").status_code == 200


def test_an_application_may_check_itself_who_asks(app, limited):
    asked = []

    def check(access):
        asked.append(access)
        return flask.request.headers.get("X-Role") == "operator" and access == "read"

    limited(api_authorize=check)
    client = app.test_client()
    path = "/api/rate-limit/metrics"
    assert client.get(path, headers={"X-Role": "operator"}).status_code == 200
    assert get(client, path).status_code == 403, "tokens count for nothing then"
    status = "/api/rate-limit/status?path=/a&ip=127.0.0.1"
    assert client.delete(status, headers={"X-Role": "operator"}).status_code == 403
    assert asked == ["read", "read", "admin"]


@pytest.mark.parametrize("shadow", [False, True])
def test_the_api_is_itself_rate_limited_by_address_also_in_shadow(app, limited, shadow):
    limited(shadow=shadow)
    client = app.test_client()
    paths = ("/api/rate-limit/metrics", "/api/rate-limit/openapi.json")
    statuses = [get(client, paths[n % 2], token=f"guess-number-{n:08}").status_code for n in range(125)]
    assert statuses == [401] * 120 + [429] * 5
    assert get(client, paths[0], environ_base={"REMOTE_ADDR": "192.0.2.9"}).status_code == 200


def test_a_rule_of_the_policy_can_give_the_api_other_limits(app):
    policy = 'version = 1\n[[routes]]\nmatch = "/api/rate-limit/*"\nlimits = "2/minute"\n'
    rate_limit = RateLimit(app, policy=parse_policy(policy, "test.toml"), environ={}, api_token=READ)
    client = app.test_client()
    assert [get(client, "/api/rate-limit/metrics").status_code for _ in range(3)] == [200, 200, 429]
    rate_limit.close()


def test_without_a_database_the_api_says_which_variable_to_set(app, limited):
    limited(database_url=None)
    answer = get(app.test_client(), "/api/rate-limit/analytics")
    assert answer.status_code == 503
    assert "OTEL_RATELIMIT_DATABASE_URL" in answer.json["detail"]


def test_when_the_limits_are_taken_away_the_api_is_not_there_and_comes_back_with_them(app, limited):
    client = app.test_client()
    limited().close()
    assert get(client, "/api/rate-limit/metrics").status_code == 404
    limited()
    assert get(client, "/api/rate-limit/metrics").status_code == 200


def test_an_application_that_has_served_already_is_limited_without_the_api(app, limited, caplog):
    caplog.set_level(logging.WARNING)
    client = app.test_client()
    assert client.get("/a").status_code == 200
    limited(api_before_hooks=False)
    assert "/api/rate-limit is not offered" in caplog.text
    assert [client.get("/a").status_code for _ in range(4)] == [200] * 3 + [429]
    assert get(client, "/api/rate-limit/metrics").status_code == 404


def test_ahead_of_its_hooks_it_has_the_api_all_the_same(app, limited, caplog):
    caplog.set_level(logging.WARNING)
    client = app.test_client()
    assert client.get("/a").status_code == 200
    limited()
    assert "not offered" not in caplog.text
    assert get(client, "/api/rate-limit/metrics").status_code == 200


def test_a_route_of_the_application_that_is_hidden_is_said_once(app, limited, caplog):
    limited()
    app.add_url_rule("/api/rate-limit/metrics", "theirs", lambda: "theirs")
    client = app.test_client()
    for _ in range(2):
        assert get(client, "/api/rate-limit/metrics").json["storage"]
    said = [r.message for r in caplog.records if "/api/rate-limit" in r.message]
    assert said == [
        "/api/rate-limit belongs to otel-ratelimit, which may answer in place of /api/rate-limit/metrics"
    ]


def test_an_application_may_have_a_blueprint_called_as_we_are(app, limited):
    limited()
    blueprint = flask.Blueprint("otel_ratelimit", __name__)
    blueprint.add_url_rule("/theirs", "view", lambda: "theirs")
    app.register_blueprint(blueprint)
    assert app.test_client().get("/theirs").text == "theirs"


def test_the_application_can_record_a_refusal_of_its_own(app, limited, rows):
    def view():
        recorded = log_rate_limit_violation(
            endpoint="/a",
            client="192.0.2.7",
            user_id="ann",
            limit_text="1 per 1 day",
            limit_value=1,
            limit_seconds=86_400,
            current_count=1,
        )
        return str(recorded)

    app.add_url_rule("/own", "own", view)
    rate_limit = limited()
    assert app.test_client().get("/own", headers={"User-Agent": "curl/8"}).text == "True"
    rate_limit.close()
    assert rows(VIOLATIONS) == [("/a", "192.0.2.7", "ann", "curl/8", 1)]


def test_where_analytics_are_off_nothing_is_recorded_and_without_limits_it_is_an_error(app, limited):
    own = {"endpoint": "/a", "client": "c", "limit_text": "1 per 1 day", "limit_value": 1}
    for context, said in (
        (contextlib.nullcontext(), "no application here; call this within a request or"),
        (flask.Flask("bare").app_context(), "bare has no rate limits, so nothing is recorded; start it with"),
    ):
        with context, pytest.raises(RuntimeError, match=said):
            log_rate_limit_violation(**own, limit_seconds=86_400, current_count=1)
    limited(database_url=None)
    with app.app_context():
        assert log_rate_limit_violation(**own, limit_seconds=86_400, current_count=1) is False


@pytest.mark.parametrize("has_database", [True, False])
def test_what_the_start_says_is_said_by_loggers_that_are_documented(app, limited, caplog, has_database):
    caplog.set_level(logging.INFO)
    rate_limit = limited(**({} if has_database else {"database_url": None}))
    get(app.test_client(), "/a")
    rate_limit.close()
    rows = re.finditer(r"^\| `(otel_ratelimit\.[a-z_.]+)` \| (?:INFO|WARNING)", LOG_PAGE, re.MULTILINE)
    documented = {row[1] for row in rows}
    ours = [record for record in caplog.records if record.name.startswith("otel_ratelimit.")]
    assert {record.name for record in ours if record.levelno == logging.INFO} <= documented
    started = [record.getMessage() for record in ours if record.name == "otel_ratelimit.start"]
    state = "on: refusals and requests are recorded in the database of " if has_database else "off: "
    [said] = [message for message in started if message.startswith("analytics are ")]
    assert said.startswith(f"analytics are {state}OTEL_RATELIMIT_DATABASE_URL")
    assert "postgresql" not in said
    assert any("sampling 100 % of distinct queries" in message for message in started) is has_database


def test_a_database_url_that_makes_no_sense_leaves_the_limits(app, limited, caplog):
    limited(database_url="no url at all")
    assert "analytics are off: OTEL_RATELIMIT_DATABASE_URL" in caplog.text
    assert [app.test_client().get("/a").status_code for _ in range(4)] == [200] * 3 + [429]


def test_no_secret_stands_in_a_log_or_an_answer(app, limited, caplog):
    caplog.set_level(logging.DEBUG)
    limited()
    client = app.test_client()
    answers = [
        get(client, f"/api/rate-limit/{path}", token=token)
        for path in ("metrics", "analytics", "openapi.json", "status?path=/a", "nowhere")
        for token in (READ, ADMIN, "wrong-token-0123456789")
    ]
    seen = caplog.text + "".join(answer.text + str(answer.headers) for answer in answers)
    assert READ not in seen
    assert ADMIN not in seen
    assert "wrong-token" not in seen


def test_what_waits_for_the_database_is_reported(app, limited):
    reader = InMemoryMetricReader()
    rate_limit = limited(meter_provider=MeterProvider(metric_readers=[reader]))
    client = app.test_client()
    for _ in range(5):
        client.get("/a")
    assert values(reader, names.QUEUE_LENGTH)["violations"] == 1
    assert values(reader, names.QUEUE_CAPACITY) == {"violations": 5_000, "queries": 50_000}
    assert rate_limit.analytics.recorder.flush()
    assert values(reader, names.QUEUE_LENGTH) == {"violations": 0, "queries": 0}


def test_what_is_lost_or_dropped_is_counted_from_zero(limited):
    reader = InMemoryMetricReader()
    limited(meter_provider=MeterProvider(metric_readers=[reader]))
    assert values(reader, names.VIOLATIONS_DROPPED) == {"": 0}
    assert values(reader, names.QUERIES) == {"recorded": 0, "sampled_out": 0, "dropped": 0}


def values(reader, name):
    """Values of the metric's points, by their only attribute."""
    return {
        next(iter(point.attributes.values()), ""): point.value
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.data.data_points
    }
