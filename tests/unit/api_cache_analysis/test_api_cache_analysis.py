"""The endpoint of the cache analysis, over reports that were made of days of queries."""

from __future__ import annotations

import json
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from api_reports import YESTERDAY, Reports


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
