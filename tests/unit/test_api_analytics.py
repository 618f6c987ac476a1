"""The analytics endpoint over a reader whose figures are known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import flask
import pytest

from otel_ratelimit.analytics.reader import (
    Excess,
    LimitUse,
    RequestTotal,
    Scope,
    ViolationGroup,
    ViolationPage,
)
from otel_ratelimit.core.decision import DecisionKind
from otel_ratelimit.web.api import api_blueprint

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TOKEN = "a-token-for-reading"
LIMIT = ("/a", "GET", "t", "10 per 1 minute", 10, 60)


class Reader:
    """Notes what it is asked for."""

    def __init__(self):
        self.asked = []
        self.recorded = ["jobs"]

    def services(self, period=None):
        self.asked.append(("services", period))
        return self.recorded if period is not None else [*self.recorded, "long ago"]

    def violations(self, period, group_by, scope, *, limit=50, offset=0):
        self.asked.append(("violations", period, group_by, scope, limit, offset))
        group = ViolationGroup(f"some {group_by}", 30, 5, 2, 1, NOW - DAY, NOW)
        return ViolationPage([group], 7, 99)

    def requests(self, period, scope):
        self.asked.append(("requests", period, scope))
        return [
            RequestTotal("/a", "GET", "t", DecisionKind.ALLOWED, 75),
            RequestTotal("/a", "GET", "t", DecisionKind.BLOCKED, 25),
            RequestTotal("/b", "GET", "", DecisionKind.EXEMPT, 10),
        ]

    def limits(self, period, scope):
        self.asked.append(("limits", period, scope))
        return [LimitUse(*LIMIT, {50: 75, 101: 25}, {50: 30, 101: 5})]

    def excess(self, period, scope):
        self.asked.append(("excess", period, scope))
        return [Excess(*LIMIT, 5, 5)]


@pytest.fixture
def reader():
    return Reader()


@pytest.fixture
def ask(reader, api_services):
    services = api_services(
        clock=NOW.timestamp, reader=reader, read_tokens=(TOKEN,), own_service=lambda: "own"
    )
    app = flask.Flask(__name__)
    app.register_blueprint(api_blueprint(lambda: services))
    app.add_url_rule("/jobs", "jobs", lambda: "ok")
    app.add_url_rule("/all-jobs", "jobs")
    app.add_url_rule("/jobs", "create", methods=["POST"])
    client = app.test_client()

    def ask(**query):
        return client.get(
            "/api/rate-limit/analytics",
            query_string=query,
            headers={"Authorization": f"Bearer {TOKEN}"},
        )

    return ask


def test_every_figure_is_of_the_same_period_and_scope(ask, reader):
    body = ask(date_range="7d", endpoint="/a", service="jobs").json
    period = (NOW - 7 * DAY, NOW)
    assert {asked[1] for asked in reader.asked} == {period}
    assert {scope for asked in reader.asked for scope in asked if isinstance(scope, Scope)} == {
        (("/a",), "jobs")
    }
    assert body["period"] == {"start": "2026-01-03T12:00:00Z", "end": "2026-01-10T12:00:00Z"}
    assert (body["endpoint"], body["service"]) == ("/a", "jobs")


def test_to_group_by_ip_is_to_group_by_client(ask, reader):
    body = ask(group_by="ip").json["violations"]
    assert body["group_by"] == "client"
    assert {asked[2] for asked in reader.asked if asked[0] == "violations"} == {"client", "endpoint"}
    assert "group_by" in ask(group_by="address").json["errors"][0]["parameter"]


def test_an_endpoint_may_be_a_route_or_the_name_of_a_flask_endpoint_and_it_is_said_which(ask, reader):
    def asked_of(endpoint):
        reader.asked.clear()
        body = ask(endpoint=endpoint).json
        assert body["endpoint"] == endpoint
        [scope] = {scope for asked in reader.asked for scope in asked if isinstance(scope, Scope)}
        return body["endpoint_matched"], body["routes"], list(scope.endpoint)

    assert asked_of("jobs") == ("flask_endpoint", ["/jobs", "/all-jobs"], ["/jobs", "/all-jobs"])
    assert asked_of("/jobs") == ("route", ["/jobs"], ["/jobs"])
    # A route that is gone, a name that an application records under, what is neither.
    for name in ("/gone/<int:id>", "nightly export", "job"):
        assert asked_of(name) == ("route", [name], [name])


def test_without_an_endpoint_nothing_is_said_to_have_matched(ask):
    body = ask().json
    assert (body["endpoint"], body["endpoint_matched"], body["routes"]) == (None, None, None)


def test_pages_are_counted_from_one(ask, reader):
    body = ask(group_by="client", page="3", page_size="2").json["violations"]
    assert ("client", Scope(service="jobs"), 2, 4) in [asked[2:] for asked in reader.asked]
    assert (body["page"], body["page_size"], body["pages"], body["total_groups"]) == (3, 2, 4, 7)
    assert body["total_violations"] == 99
    [group] = body["groups"]
    assert (group["key"], group["violations"], group["shadow"]) == ("some client", 30, 5)


def test_those_with_most_violations_are_clients_and_endpoints_whatever_the_grouping(ask):
    body = ask(group_by="hour").json
    assert [group["key"] for group in body["top_clients"]] == ["some client"]
    assert [group["key"] for group in body["top_endpoints"]] == ["some endpoint"]


def test_hit_rates_are_by_endpoint_and_overall(ask):
    rates = ask().json["hit_rates"]
    assert [(rate["endpoint"], rate["hit_rate"]) for rate in rates["by_endpoint"]] == [
        ("/a", 0.25),
        ("/b", 0.0),
    ]
    overall = rates["overall"]
    assert (overall["requests"], overall["limited"], overall["refused"]) == (110, 100, 25)
    assert overall["hit_rate"] == 0.25


def test_breathing_room_is_by_limit(ask):
    [room] = ask().json["breathing_room"]
    assert (room["endpoint"], room["limit_text"], room["p50"], room["p95"]) == (
        "/a",
        "10 per 1 minute",
        0.5,
        1.0,
    )
    assert (room["room"], room["units_left"], room["refused"]) == (0.0, 0, 25)


def test_a_recommended_limit_follows_the_share_that_may_be_rejected(ask):
    [strict] = ask(max_rejected_share="0").json["recommendations"]
    [lenient] = ask(max_rejected_share="0.5").json["recommendations"]
    assert strict["recommended"]["limit_value"] == 15
    assert strict["recommended"]["rejected_clients"] == 0
    assert lenient["recommended"]["limit_value"] < 10
    assert strict["client_windows"] == 30
    assert strict["reason"]
    values = [candidate["limit_value"] for candidate in strict["candidates"]]
    assert values == sorted(values)


def test_violations_whose_usage_is_not_there_yet_make_no_share_above_one(ask, reader):
    reader.excess = lambda period, scope: [Excess(*LIMIT, 1000, 500)]
    response = ask()
    assert response.status_code == 200
    [recommendation] = response.json["recommendations"]
    shares = [candidate["rejected_requests_share"] for candidate in recommendation["candidates"]]
    assert 0.99 < max(shares) <= 1.0


@pytest.mark.parametrize(
    "date_range",
    [
        "yesterday",
        "0h",
        "400d",
        "-1h",
        "2026-02-31",
        "2026-01-02/2026-01-01",
        "2020-01-01/2026-01-01",
        "0001-01-01T00:00:00+14:00/0001-01-02",
        "2026-01-01/2026-01-02/2026-01-03",
        "٢h",
        "'; DROP TABLE x; --",
    ],
)
def test_a_period_that_is_none_is_400_with_examples(ask, reader, date_range):
    response = ask(date_range=date_range)
    assert response.status_code == 400
    [error] = response.json["errors"]
    assert error["parameter"] == "date_range"
    assert error["what"]
    assert error["instead"]
    assert not reader.asked


def test_a_period_of_whole_days_includes_the_last(ask, reader):
    assert ask(date_range="2026-01-01/2026-01-02").status_code == 200
    assert reader.asked[0][1] == (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC))


@pytest.mark.parametrize(
    ("recorded", "asked", "service"),
    [
        ([], None, None),
        (["jobs"], None, "jobs"),
        (["jobs", "shop"], None, None),
        (["jobs", "own", "shop"], None, "own"),
        (["jobs", "own", "shop"], "*", None),
        (["jobs", "own", "shop"], "shop", "shop"),
        (["jobs", "own"], "long ago", "long ago"),
    ],
)
def test_whose_figures_they_are_is_said(ask, reader, recorded, asked, service):
    reader.recorded = recorded
    body = ask(**({} if asked is None else {"service": asked})).json
    assert (body["service"], body["services"]) == (service, recorded)
    assert {scope.service for asked in reader.asked for scope in asked if isinstance(scope, Scope)} == {
        service
    }
    is_mixed = service is None and len(recorded) > 1
    assert bool(body["recommendations"]) != is_mixed, "a limit is for one service"


def test_a_service_of_which_nothing_is_recorded_is_404_with_those_that_there_are(ask, reader):
    reader.recorded = ["jobs", "shop"]
    response = ask(service="jbos")
    assert response.status_code == 404
    assert response.json["detail"] == (
        "Nothing is recorded of a service 'jbos'; recorded are jobs, shop, long ago."
    )
    assert {asked[0] for asked in reader.asked} == {"services"}
