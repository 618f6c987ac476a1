"""The endpoint of the cache analysis at its limits: empty days, wrong periods, figures out of bounds."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date

import pytest
from api_reports import YESTERDAY, Reports, in_brief

from otel_ratelimit.cache_advice.prices import Price


def test_a_day_without_any_query_has_no_plan_and_says_so(cache_report, ask):
    body = ask(Reports(cache_report(YESTERDAY, busy=False, value_of_saved_ms=1.0))).json

    latest = body["latest"]
    assert (latest["worthwhile"], latest["certainty"]) == (False, "certain")
    assert latest["reason"] == "there was no query on that day"
    assert (latest["plan"], latest["surface"], latest["most_worth"]) == (None, None, [])
    assert set(latest["queries"].values()) == {0}
    cost = latest["cost_benefit"]
    assert (cost["monthly_cost"], cost["by_price"], cost["cheapest"]) == (0.0, [], None)
    assert body["charts"]["cost_comparison"]["labels"] == ["monthly benefit"]
    assert body["trend"][0]["recommended_ttl_seconds"] is None


def test_days_without_a_report_are_no_mistake(ask):
    assert ask(Reports(), date_range="7d").json == {
        "period": {"first": "2026-01-03", "last": "2026-01-10"},
        "latest": None,
        "trend": [],
        "charts": {
            "hit_potential": [],
            "top_queries": {"unit": "", "labels": [], "values": [], "worthwhile": [], "reasons": []},
            "cost_comparison": {"unit": "", "labels": [], "values": []},
            "comparison_table": None,
        },
    }


def test_a_trend_without_a_report_that_can_be_read_is_told_all_the_same(cache_report, ask):
    reports = Reports(cache_report(YESTERDAY))
    reports.kept = []

    body = ask(reports).json

    assert body["latest"] is None
    assert len(body["trend"]) == len(body["charts"]["hit_potential"]) == 1


@pytest.mark.parametrize(
    ("query", "first", "last"),
    [
        ({}, date(2025, 12, 11), date(2026, 1, 10)),
        ({"date_range": "7d"}, date(2026, 1, 3), date(2026, 1, 10)),
        ({"date_range": "30m"}, date(2026, 1, 10), date(2026, 1, 10)),
        # From 12:00 to 12:00.
        ({"date_range": "24h"}, date(2026, 1, 9), date(2026, 1, 10)),
        ({"date_range": "2026-01-09"}, date(2026, 1, 9), date(2026, 1, 9)),
        ({"date_range": "2026-01-01/2026-01-09"}, date(2026, 1, 1), date(2026, 1, 9)),
        # Midnight belongs to the day that it begins.
        ({"date_range": "2026-01-01T00:00/2026-01-09T00:00"}, date(2026, 1, 1), date(2026, 1, 8)),
        ({"date_range": "2026-01-01T00:00/2026-01-09T00:00:00.000001"}, date(2026, 1, 1), date(2026, 1, 9)),
        ({"date_range": "2026-01-01T23:59:59+02:00/2026-01-09"}, date(2026, 1, 1), date(2026, 1, 9)),
        ({"date_range": "2026-01-02T01:00+02:00/2026-01-09"}, date(2026, 1, 1), date(2026, 1, 9)),
        ({"date_range": "0001-01-01"}, date(1, 1, 1), date(1, 1, 1)),
        ({"date_range": "9999-12-30"}, date(9999, 12, 30), date(9999, 12, 30)),
    ],
)
def test_the_days_are_those_that_the_period_touches(query, first, last, ask):
    reports = Reports()

    body = ask(reports, **query).json

    assert set(reports.asked) == {(first, last)}
    assert body["period"] == {"first": first.isoformat(), "last": last.isoformat()}


@pytest.mark.parametrize(
    "date_range", ["yesterday", "0d", "367d", "2026-02-31", "2026-01-02/2026-01-01", "9999-12-31", "'; --"]
)
def test_a_period_that_is_none_is_400_with_examples(date_range, ask):
    reports = Reports()

    response = ask(reports, date_range=date_range)

    assert response.status_code == 400
    [error] = response.json["errors"]
    assert error["parameter"] == "date_range"
    assert error["what"]
    assert error["instead"]
    assert not reports.asked


def test_a_parameter_of_another_endpoint_is_refused(ask):
    [error] = ask(Reports(), service="jobs").json["errors"]
    assert (error["parameter"], error["instead"]) == ("service", "known are date_range")


def test_where_analytics_are_off_it_says_how_to_turn_them_on(ask):
    response = ask(None)
    assert response.status_code == 503
    assert "OTEL_RATELIMIT_DATABASE_URL" in response.json["detail"]
    assert "Retry-After" not in response.headers


def test_figures_that_rounding_led_out_of_their_bounds_are_at_them(cache_report, ask):
    report = cache_report(YESTERDAY)
    plan = report.analysis.plan
    above = plan.at.model_copy(
        update={"hit_ratio": 1.0000000000000002, "stale_by_row": -1e-17, "database_saved_ms": -1e-9}
    )
    analysis = report.analysis.model_copy(
        update={
            "plan": plan.model_copy(update={"at": above}),
            "duplicate_percentage": 100.00000000000001,
            "unique": 640.4,
            "executions": 639.6,
        }
    )
    cost = report.cost.model_copy(update={"break_even_executions_a_day": -1e-17, "load_reduction": 1.0000001})
    reports = Reports(report.model_copy(update={"analysis": analysis, "cost": cost}))
    reports.brief = [in_brief(report, duplicate_percentage=100.0)]

    latest = ask(reports).json["latest"]

    told = latest["plan"]
    assert (told["hit_ratio"], told["stale_by_row"], told["database_saved_ms"]) == (1.0, 0.0, 0.0)
    assert latest["queries"]["duplicate_percentage"] == 100.0
    assert (latest["queries"]["unique"], latest["queries"]["duplicates"]) == (640, 0)
    assert latest["cost_benefit"]["break_even_executions_a_day"] == 0.0
    assert latest["cost_benefit"]["load_reduction"] == 1.0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    ("part", "name"), [("cost", "monthly_benefit"), ("cost", "load_reduction"), ("analysis", "database_ms")]
)
def test_what_is_no_number_is_never_answered(cache_report, caplog, part, name, value, ask):
    report = cache_report(YESTERDAY)
    broken = getattr(report, part).model_copy(update={name: value})
    reports = Reports(report)
    reports.kept = [reports.kept[0]._replace(report=report.model_copy(update={part: broken}))]

    response = ask(reports)

    assert response.status_code == 500
    assert name in caplog.text


def test_money_may_be_huge(cache_report, ask):
    golden = Price(name="gold", kind="self-hosted", month=1e300)

    body = ask(Reports(cache_report(YESTERDAY, prices=(golden,)))).json

    assert body["charts"]["cost_comparison"]["values"] == [1e300]


WITHOUT_NUMPY = """
import json, sys
from datetime import UTC, date, datetime

sys.modules["numpy"] = None  # so that to import it fails, here and in whatever is imported

import flask
from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.cache_advice.stored_reports import StoredReport
from otel_ratelimit.postgres.cache_reports import PostgresCacheReports
from otel_ratelimit.storage import BoundedMemoryStorage
from otel_ratelimit.web.api import ApiServices, api_blueprint

class Reports:
    def latest(self, first, last):
        return StoredReport(DailyCacheReport.model_validate_json(sys.stdin.read()), datetime.now(UTC), None)

    def trend(self, first, last):
        return []

services = ApiServices(
    store=BoundedMemoryStorage().counters, enforcement=lambda: None, clock=lambda: 1_700_000_000.0,
    storage_name="bounded-memory", storage_healthy=lambda: True, retry_seconds=lambda: 1.0,
    snapshot=lambda: None, cleanup=lambda: None, recorder=lambda: None, reader=None,
    cache_reports=Reports(), read_tokens=("a-token-for-reading",),
)
app = flask.Flask("shop")
app.register_blueprint(api_blueprint(lambda: services))
answer = app.test_client().get(
    "/api/rate-limit/cache-analysis", headers={"Authorization": "Bearer a-token-for-reading"}
)
assert sys.modules["numpy"] is None
print(answer.get_data(as_text=True))
"""


def test_it_is_answered_where_numpy_is_not_installed(cache_report):
    report = cache_report(YESTERDAY)

    answered = subprocess.run(
        [sys.executable, "-c", WITHOUT_NUMPY],
        input=report.model_dump_json(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert answered.returncode == 0, answered.stderr
    assert json.loads(answered.stdout)["latest"]["plan"]["hit_ratio"] == report.hit_potential
