"""The endpoint of the cache analysis, over reports that were made of days of queries."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import flask
import jsonschema_rs
import pytest

from otel_ratelimit.cache_advice.prices import Price
from otel_ratelimit.cache_advice.stored_reports import DayInBrief, StoredReport
from otel_ratelimit.web.api import api_blueprint

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
YESTERDAY = date(2026, 1, 9)
TOKEN = "a-token-for-reading"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
BERLIN = timezone(timedelta(hours=1))


class Reports:
    """Those that it was given; notes the days that it is asked for."""

    def __init__(self, *reports):
        self.kept = [
            StoredReport(report, datetime(2026, 1, 10, 2, tzinfo=BERLIN), None) for report in reports
        ]
        self.brief = [in_brief(report) for report in reports]
        self.asked = []

    def latest(self, first, last):
        self.asked.append((first, last))
        return self.kept[-1] if self.kept else None

    def trend(self, first, last):
        self.asked.append((first, last))
        return self.brief


def in_brief(report, **more):
    executions, unique = round(report.analysis.executions), round(report.analysis.unique)
    brief = DayInBrief(
        analysis_date=report.analysis_date,
        total_queries=executions,
        unique_queries=unique,
        duplicate_queries=executions - unique,
        duplicate_percentage=report.analysis.duplicate_percentage,
        hit_potential=report.hit_potential,
        recommended_ttl_seconds=report.recommended_ttl_seconds,
        estimated_memory_bytes=round(report.memory_bytes),
        latency_saved_ms=report.cost.latency_saved_ms_a_day,
        monthly_cost=round(report.cost.monthly_cost, 2),
        worthwhile=report.worthwhile,
        currency=report.supposed.currency,
    )
    return brief._replace(**more)


@pytest.fixture
def ask(api_services):
    """`ask(reports, **query)`: the answer, which is held against the document."""

    def get(reports, path, **query):
        services = api_services(clock=NOW.timestamp, cache_reports=reports, read_tokens=(TOKEN,))
        app = flask.Flask(__name__)
        app.register_blueprint(api_blueprint(lambda: services))
        return app.test_client().get(f"/api/rate-limit/{path}", query_string=query, headers=HEADERS)

    def ask(reports, **query):
        response = get(reports, "cache-analysis", **query)
        # JSON without NaN.
        body = json.loads(response.data, parse_constant=pytest.fail)
        if response.status_code == 200:
            document = get(reports, "openapi.json").json
            schema = {
                "$ref": "#/components/schemas/CacheAnalysisAnswer",
                "components": document["components"],
            }
            jsonschema_rs.Draft202012Validator(schema).validate(body)
        return response

    return ask


def test_the_latest_report_is_told_whole(cache_report, ask):
    report = cache_report(YESTERDAY, ZoneInfo("Europe/Berlin"), value_of_saved_ms=0.001)
    analysis, cost = report.analysis, report.cost

    latest = ask(Reports(report)).json["latest"]

    assert (latest["date"], latest["time_zone"]) == ("2026-01-09", "Europe/Berlin")
    assert latest["period"] == {"start": "2026-01-08T23:00:00Z", "end": "2026-01-09T23:00:00Z"}
    assert (latest["scale"], latest["covered_seconds"]) == ("day", 86_400)
    assert latest["made_at"] == "2026-01-10T01:00:00Z"
    assert (latest["currency"], latest["engine"]) == ("USD", "valkey")
    assert (latest["worthwhile"], latest["certainty"], latest["reason"]) == (
        report.worthwhile,
        cost.certainty,
        report.reason,
    )
    # 600 of jobs with 5 keys and 40 of users, all different; 10 writes.
    assert latest["queries"] == {
        "total": 650,
        "database_ms": pytest.approx(6_180.0),
        "cacheable": 640,
        "unique": 45,
        "duplicates": 595,
        "duplicate_percentage": pytest.approx(100 * 595 / 640),
    }
    [refused] = latest["not_cacheable"]
    assert (refused["reason"], refused["executions"], refused["share"]) == (
        "writes",
        10,
        pytest.approx(10 / 650),
    )
    assert latest["sample"] == analysis.sample.model_dump()
    assert latest["supposed"] == report.supposed.model_dump()


def test_the_plan_is_the_cache_that_is_advised(cache_report, ask):
    report = cache_report(YESTERDAY)
    advised = report.analysis.plan

    plan = ask(Reports(report)).json["latest"]["plan"]

    assert (plan["templates"], plan["invalidate"], plan["reason"]) == (1, False, advised.reason)
    for name in (
        *("ttl_seconds", "hit_ratio", "hit_ratio_low", "hit_ratio_high"),
        *("stale_by_table", "stale_by_row", "latency_saved_ms", "database_saved_ms"),
    ):
        assert plan[name] == getattr(advised.at, name)
    assert (plan["memory_bytes"], plan["peak_keys"]) == (
        round(advised.at.peak_bytes),
        round(advised.at.peak_keys),
    )


def test_every_time_to_live_is_told_in_order(cache_report, ask):
    report = cache_report(YESTERDAY)

    by_ttl = ask(Reports(report)).json["latest"]["by_ttl"]

    assert [(at["ttl_seconds"], at["hit_ratio"]) for at in by_ttl] == [
        (at.ttl_seconds, at.hit_ratio) for at in report.analysis.by_ttl
    ]


def test_what_it_costs_stands_beside_what_it_brings(cache_report, ask):
    report = cache_report(YESTERDAY, value_of_saved_ms=0.01, value_of_database_second=0.5)
    cost = report.cost

    latest = ask(Reports(report)).json["latest"]

    assert latest["cost_benefit"] == {
        "monthly_cost": cost.monthly_cost,
        "monthly_benefit": cost.monthly_benefit,
        "by_price": [{"name": name, "monthly_cost": money} for name, money in cost.by_price],
        "cheapest": {"name": "Valkey, serverless", "kind": "serverless", "as_of": "2026-06-01"},
        "load_reduction": cost.load_reduction,
        "break_even_executions_a_day": cost.break_even_executions_a_day,
        "latency_saved_ms_a_day": cost.latency_saved_ms_a_day,
        "value_of_saved_ms": 0.01,
        "value_of_database_second": 0.5,
    }


def test_templates_come_with_their_advice_or_why_there_is_none(cache_report, ask):
    report = cache_report(YESTERDAY)

    latest = ask(Reports(report)).json["latest"]

    [job] = latest["most_worth"]
    assert latest["most_repeated"] == [job]
    # 64 bits, which a number of JavaScript would round.
    assert job["template_hash"] == "-4611686018427387904"
    assert (job["query"], job["database"], job["tables"]) == (
        "SELECT * FROM jobs WHERE id = ?",
        "shop",
        ["jobs"],
    )
    assert (job["executions"], job["unique"], job["duplicates"], job["writes"]) == (600, 5, 595, 0)
    [template] = report.analysis.most_worth
    assert job["advice"]["hit_ratio"] == template.advice.at.hit_ratio
    assert (job["worthwhile"], job["not_worth"], job["obstacles"]) == (True, "", [])


def test_where_nothing_is_worth_it_the_top_is_what_repeats_most_and_why_not(cache_report, ask):
    # An execution takes 10 ms, and so does the cache.
    report = cache_report(YESTERDAY, lookup_ms=10.0)
    assert report.analysis.plan is None

    body = ask(Reports(report)).json

    assert body["latest"]["most_worth"] == []
    [told] = body["latest"]["most_repeated"]
    assert (told["advice"], told["worthwhile"], told["obstacles"]) == (None, False, ["small_gain"])
    assert told["not_worth"].startswith(
        "the database answers in 10 ms on average, the cache in 10 ms: 580 hits"
    )
    assert body["charts"]["top_queries"] == {
        "unit": "repeats a day",
        "labels": [told["query"]],
        "values": [595.0],
        "worthwhile": [False],
        "reasons": [told["not_worth"]],
    }
    table = body["charts"]["comparison_table"]
    assert table["basis"] == "everything"
    [queries, database, waiting, *_] = table["rows"]
    assert (queries["without_cache"], queries["difference"]) == (650, -580)
    # The database is relieved, and yet queries take longer.
    assert database["difference"] < 0 < waiting["difference"]


def test_what_the_cache_changes_is_a_table(cache_report, ask):
    report = cache_report(YESTERDAY, value_of_saved_ms=0.001, currency="EUR")
    plan, cost = report.analysis.plan.at, report.cost

    body = ask(Reports(report)).json

    table = body["charts"]["comparison_table"]
    assert (table["basis"], table["ttl_seconds"]) == ("plan", plan.ttl_seconds)
    took = report.analysis.database_ms
    assert {row["name"]: (row["unit"], row["without_cache"], row["with_cache"]) for row in table["rows"]} == {
        "database_queries": ("queries a day", 650, 650 - plan.hits),
        "database_time": ("ms a day", took, took - plan.database_saved_ms),
        "query_time": ("ms a day", took, took - plan.latency_saved_ms),
        "memory": ("bytes", 0, plan.peak_bytes),
        "monthly_cost": ("EUR a month", 0, cost.monthly_cost),
        "monthly_value": ("EUR a month", 0, cost.monthly_benefit),
        "monthly_balance": ("EUR a month", 0, cost.monthly_benefit - cost.monthly_cost),
    }
    for row in table["rows"]:
        assert row["difference"] == row["with_cache"] - row["without_cache"]


def test_units_say_that_only_a_part_of_the_day_was_analysed(cache_report, ask):
    whole = cache_report(YESTERDAY)
    at_noon = whole.analysis.model_copy(
        update={"period_end": whole.analysis.period_start + timedelta(hours=12)}
    )
    part = whole.model_copy(update={"scale": "so_far", "analysis": at_noon})

    body = ask(Reports(part)).json

    assert (body["latest"]["scale"], body["latest"]["covered_seconds"]) == ("so_far", 43_200)
    assert body["charts"]["top_queries"]["unit"] == "ms so far"
    units = [row["unit"] for row in body["charts"]["comparison_table"]["rows"]]
    assert units == ["queries so far", "ms so far", "ms so far", "bytes", "USD a month"]


def test_units_say_that_recording_began_on_that_day(cache_report, ask):
    report = cache_report(YESTERDAY).model_copy(update={"scale": "part"})

    body = ask(Reports(report)).json

    assert body["latest"]["scale"] == "part"
    assert body["charts"]["top_queries"]["unit"] == "ms in that time"


@pytest.mark.parametrize("assumed", [{}, {"lookup_ms": 10.0}])
def test_bars_name_the_database_where_one_text_is_of_several(cache_report, ask, assumed):
    report = cache_report(YESTERDAY, **assumed)
    listed = "most_repeated" if assumed else "most_worth"
    [template] = getattr(report.analysis, listed)[:1]
    both = (template, template.model_copy(update={"database": "archive"}))
    analysis = report.analysis.model_copy(update={listed: both})

    labels = ask(Reports(report.model_copy(update={"analysis": analysis}))).json["charts"]["top_queries"][
        "labels"
    ]

    assert [label.partition(": ")[0] for label in labels] == [template.database, "archive"]
    [alone] = ask(Reports(report)).json["charts"]["top_queries"]["labels"][:1]
    assert alone.startswith(template.template[:20])


def test_a_report_of_an_earlier_version_has_no_table_and_no_obstacles(cache_report, ask):
    report = cache_report(YESTERDAY, lookup_ms=10.0)
    kept = json.loads(report.model_dump_json())
    for new in ("scale", "covered_seconds", "comparison"):
        del kept[new]
    del kept["analysis"]["held_back"]
    for template in kept["analysis"]["most_repeated"]:
        del template["obstacles"]

    body = ask(Reports(type(report).model_validate(kept))).json

    assert body["charts"]["comparison_table"] is None
    assert body["charts"]["top_queries"]["reasons"] == [body["latest"]["most_repeated"][0]["not_worth"]]


def test_the_trend_has_a_row_for_each_day(cache_report, ask):
    reports = Reports(*(cache_report(YESTERDAY - timedelta(days=back), busy=back != 1) for back in (2, 1, 0)))

    trend = ask(reports).json["trend"]

    for told, brief in zip(trend, reports.brief, strict=True):
        assert told == {
            "date": str(brief.analysis_date),
            **{name: value for name, value in brief._asdict().items() if name != "analysis_date"},
        }


def test_charts_hold_the_same_figures(cache_report, ask):
    euros = cache_report(YESTERDAY, currency="EUR", value_of_saved_ms=0.001)
    reports = Reports(cache_report(YESTERDAY - timedelta(days=1)), euros)

    body = ask(reports).json

    charts, latest = body["charts"], body["latest"]
    assert charts["hit_potential"] == [
        {
            "date": day["date"],
            "hit_potential": day["hit_potential"],
            "duplicate_share": pytest.approx(day["duplicate_percentage"] / 100),
        }
        for day in body["trend"]
    ]
    [job] = latest["most_worth"]
    assert charts["top_queries"] == {
        "unit": "ms a day",
        "labels": [job["query"]],
        "values": [job["advice"]["latency_saved_ms"]],
        "worthwhile": [True],
        "reasons": [job["advice"]["reason"]],
    }
    prices = latest["cost_benefit"]["by_price"]
    assert charts["cost_comparison"] == {
        "unit": "EUR a month",
        "labels": [*(price["name"] for price in prices), "monthly benefit"],
        "values": [*(price["monthly_cost"] for price in prices), latest["cost_benefit"]["monthly_benefit"]],
    }


def test_a_long_query_is_a_short_label_on_one_line(cache_report, ask):
    report = cache_report(YESTERDAY, query=f"SELECT *\n  FROM jobs\n WHERE id IN ({', '.join('?' * 500)})")

    body = ask(Reports(report)).json

    [label] = body["charts"]["top_queries"]["labels"]
    assert label.startswith("SELECT * FROM jobs WHERE id IN (?, ?")
    assert label.endswith("…")
    assert len(label) == 60
    assert "\n" in body["latest"]["most_worth"][0]["query"]


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
