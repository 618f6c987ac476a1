"""The panels of the dashboards show a known day correctly."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from dashboard_day import DAY, JOBS, NOON, REFUSED, USAGE, VIOLATION

from otel_ratelimit.analytics import calculate_breathing_room
from otel_ratelimit.postgres.cache_reports import PostgresCacheReports
from otel_ratelimit.postgres.query_writer import PostgresQueryWriter
from otel_ratelimit.queries.records import QueryBatch, RequestRepeats

# What they say


@pytest.mark.usefixtures("seeded")
def test_clients_are_counted_once_and_not_those_in_shadow(ask):
    assert ask("Clients refused", "overview.json") == [{"Clients": 2}]


@pytest.mark.usefixtures("seeded")
def test_routes_have_their_violations_and_clients(ask):
    first, second = ask("Most limited routes")
    assert (first["Route"], first["Refused"], first["In shadow"], first["Clients"]) == (
        *("/api/jobs/<int:id>", 7, 7, 3),
    )
    assert (second["Route"], second["Refused"], second["In shadow"]) == ("/api/ai", 1, 0)


@pytest.mark.usefixtures("seeded")
def test_clients_have_their_violations_and_routes(ask):
    found = {
        (row["Client"], row["User"]): (row["Refused"], row["In shadow"], row["Routes"])
        for row in ask("Most limited clients")
    }
    assert found == {
        ("192.0.2.9", ""): (0, 7, 1),
        ("192.0.2.1", ""): (5, 0, 2),
        ("192.0.2.2", "user:ann"): (3, 0, 1),
    }


@pytest.mark.usefixtures("seeded")
def test_the_newest_violation_is_the_first(ask):
    newest, *_ = ask("Last violations")
    assert (newest["Client"], newest["User"], newest["Times"]) == ("192.0.2.2", "user:ann", 3)
    assert (newest["Limit"], newest["Outcome"], newest["Trace"]) == (
        "5 per 1 minute",
        "refused",
        "a" * 32,
    )


@pytest.mark.parametrize(
    "panel", ["Room by limit", "Most limited routes", "Most limited clients", "Last violations"]
)
def test_two_services_with_one_route_have_rows_of_their_own(ask, write, panel):
    write(VIOLATION, USAGE)
    write(replace(VIOLATION, n=9), REFUSED, service="jobs")
    assert sorted(row["Service"] for row in ask(panel)) == ["jobs", "shop"]
    assert [row["Service"] for row in ask(panel, job=["jobs"])] == ["jobs"]


def test_two_services_with_one_limit_have_courses_of_their_own(ask, write):
    write(VIOLATION)
    write(replace(VIOLATION, n=9), service="jobs")
    assert {(row["metric"], row["value"]) for row in ask("Violations by limit")} == {
        ("jobs, default: 5 per 1 minute", 9),
        ("shop, default: 5 per 1 minute", 3),
    }


@pytest.mark.parametrize(
    ("jobs", "clients"),
    [
        (["shop"], 1),
        (["payments/shop"], 1),
        (["payments/shop", "payments/other"], 1),
        (["a/other", "a.b/c-d/shop"], 1),
        (["other", "payments/jobs"], 1),
        (["payments/shop", "jobs"], 2),
        (["payments/other"], 0),
        (["shop/payments"], 0),
        (["payments/shopping", "shop/", "/", "a(b/sho", "x|y/hop"], 0),
    ],
)
def test_a_job_may_begin_with_the_namespace_of_its_service(ask, write, jobs, clients):
    write(VIOLATION)
    write(replace(VIOLATION, client="192.0.2.2"), service="jobs")
    assert ask("Clients refused", "overview.json", job=jobs) == [{"Clients": clients}]


@pytest.mark.usefixtures("seeded")
def test_room_is_what_the_functions_of_the_package_say(ask, database, monkeypatch):
    monkeypatch.setenv("OTEL_RATELIMIT_DATABASE_URL", database)
    said = calculate_breathing_room("2026-01-09", "2026-01-09")
    found = ask("Room by limit")
    assert len(said) == 3
    assert [
        (
            *(row["Route"], row["Method"], row["Tier"], row["Limit"], row["Requests"], row["Refused"]),
            *(
                row["Half use"],
                row["95 % use"],
                row["99 % use"],
                row["Highest"],
                row["Room"],
                row["Units left"],
            ),
        )
        for row in found
    ] == [
        (
            *(room.endpoint, room.method, room.tier, room.limit_text, room.requests, room.refused),
            *(room.p50, room.p95, room.p99, room.highest, room.room, room.units_left),
        )
        for room in said
    ]


@pytest.mark.usefixtures("seeded")
def test_repeats_are_summed_and_lead_to_the_worst_request(ask):
    [row] = ask("Repeated in one request", "query-cache-advisor.json")
    assert (row["Route"], row["Query"], row["Requests"]) == ("/api/jobs", JOBS.text, 3)
    assert (row["In each"], row["In the worst"], row["Trace"]) == (pytest.approx(70 / 3), 40, "b" * 32)


@pytest.mark.parametrize(
    ("jobs", "services"),
    [
        ({}, ["jobs", "not known", "shop"]),
        ({"job": ["jobs"]}, ["jobs"]),
        ({"job": ["payments/jobs", "shop"]}, ["jobs", "shop"]),
        ({"job": ["other"]}, []),
    ],
)
def test_repeats_of_two_services_are_told_apart(ask, opened, jobs, services):
    for service in ("shop", "jobs", ""):
        found = (RequestRepeats(int(NOON.timestamp()), "/api/jobs", JOBS, 2, 60, 40, "b" * 32),)
        writer = PostgresQueryWriter(opened, NOON.timestamp, lambda service=service: service)
        writer.write(QueryBatch(uuid4(), "one", (), (), (), found))
    rows = ask("Repeated in one request", "query-cache-advisor.json", **jobs)
    assert sorted(row["Service"] for row in rows) == services
    assert all(row["Requests"] == 2 for row in rows)


@pytest.mark.usefixtures("seeded")
def test_the_advice_is_that_of_the_last_report(ask, cache_report):
    report = cache_report(DAY, value_of_saved_ms=0.001)

    def value(panel):
        [[found]] = [row.values() for row in ask(panel, "query-cache-advisor.json")]
        return found

    assert value("Would it pay?") == int(report.worthwhile)
    assert value("Hit potential") == report.hit_potential
    assert value("Recommended TTL") == report.recommended_ttl_seconds
    assert value("Memory") == round(report.memory_bytes)
    assert value("Load taken off") == report.cost.load_reduction
    assert value("Break-even") == report.cost.break_even_executions_a_day
    assert 0 <= value("Report made") < 300
    [reason] = ask("Reason", "query-cache-advisor.json")
    assert (reason["Day"], reason["Reason"]) == ("2026-01-09", report.reason)
    assert reason["Certainty"] == report.cost.certainty


@pytest.mark.usefixtures("seeded")
def test_the_most_worthwhile_queries_come_with_how_to_cache_them(ask, cache_report):
    [best, *_] = cache_report(DAY, value_of_saved_ms=0.001).analysis.most_worth
    [first, *_] = ask("Top 10 to cache", "query-cache-advisor.json")
    at = best.advice.at
    assert (first["Query"], first["TTL"], first["Hits"]) == (best.template, at.ttl_seconds, at.hit_ratio)
    assert (first["Executions"], first["Takes"]) == (best.executions, best.mean_duration_ms)
    assert (first["Saves a day"], first["Memory"]) == (at.latency_saved_ms, at.peak_bytes)
    assert (first["How"], first["Why"]) == ("TTL alone", best.advice.reason)
    assert (first["Worth it"], first["Repeats"]) == ("yes", best.duplicates)


@pytest.mark.usefixtures("seeded")
def test_where_nothing_is_worth_it_the_queries_that_repeat_most_come_with_why_not(ask, opened, cache_report):
    report = cache_report(DAY + timedelta(days=1), lookup_ms=10.0)
    PostgresCacheReports(opened).save(report)
    assert report.analysis.plan is None
    [repeated] = report.analysis.most_repeated

    [row] = ask("Top 10 to cache", "query-cache-advisor.json")

    assert (row["Query"], row["Repeats"]) == (repeated.template, repeated.duplicates)
    assert (row["Worth it"], row["How"], row["Why"]) == ("no", "do not cache it", repeated.not_worth)
    assert (row["TTL"], row["Hits"], row["Saves a day"], row["Memory"]) == (None, None, None, None)
    # It saves the database work, and takes the queries longer.
    _, database, waiting, *_ = ask("With and without a cache", "query-cache-advisor.json")
    assert database["Difference"] < 0 < waiting["Difference"]


@pytest.mark.usefixtures("seeded")
def test_what_the_cache_changes_stands_in_one_table(ask, opened, cache_report):
    report = cache_report(DAY, value_of_saved_ms=0.001)

    rows = ask("With and without a cache", "query-cache-advisor.json")

    assert [(row["Without"], row["With"]) for row in rows] == [
        (figure.without_cache, figure.with_cache) for figure in report.comparison.figures
    ]
    assert all(row["What"] for row in rows)
    assert [row["Unit"] for row in rows] == ["queries", "ms", "ms", "bytes", "USD", "USD", "USD"]
    # A report of an earlier version has no such table.
    older = report.model_copy(update={"comparison": None, "analysis_date": DAY + timedelta(days=1)})
    PostgresCacheReports(opened).save(older)
    assert ask("With and without a cache", "query-cache-advisor.json") == []


@pytest.mark.usefixtures("seeded")
def test_hits_by_ttl_are_in_order_of_the_ttl(ask, cache_report):
    by_ttl = cache_report(DAY, value_of_saved_ms=0.001).analysis.by_ttl
    found = ask("Hit ratio by TTL", "query-cache-advisor.json")
    assert [row["TTL"] for row in found] == ["1 min", "10 min", "1 h"]
    assert [row["Writes drop nothing"] for row in found] == [at.hit_ratio for at in by_ttl]


@pytest.mark.usefixtures("seeded")
def test_days_come_one_after_another(ask):
    days = ask("Hit potential by day", "query-cache-advisor.json")
    assert [row["time"].date() for row in days] == [DAY - timedelta(days=back) for back in (2, 1, 0)]


@pytest.mark.usefixtures("seeded")
def test_days_of_the_query_log_are_one_table(ask):
    names = [row["Table"] for row in ask("Tables", "plugin-health.json")]
    assert names.count("query_logs") == 1
    assert not [name for name in names if re.search(r"query_logs_", name)]
