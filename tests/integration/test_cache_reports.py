"""Reports are kept and read back as they were, once a day, by one process at a time."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from otel_ratelimit.cache_advice.prices import Price
from otel_ratelimit.cache_advice.stored_reports import DayInBrief
from otel_ratelimit.core.errors import DatabaseError, SchemaMissingError
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.cache_reports import PostgresCacheReports
from otel_ratelimit.postgres.query_writer import PostgresQueryWriter
from otel_ratelimit.queries.records import QueryBatch, QueryTemplate, TemplateTotal

DAY = date(2026, 1, 9)
NEXT = DAY + timedelta(days=1)
TIMES = """
SELECT created_at, updated_at, mailed_at, count(*) OVER () FROM otel_ratelimit.cache_analysis_daily
WHERE analysis_date = %(day)s
"""


@pytest.fixture
def opened(database):
    with closing(Database(database)) as opened:
        yield opened


@pytest.fixture
def reports(opened):
    return PostgresCacheReports(opened)


def test_a_report_comes_back_as_it_went_in(reports, cache_report):
    report = cache_report(DAY, ZoneInfo("Europe/Berlin"), value_of_saved_ms=0.001, currency="EUR")

    reports.save(report)

    stored = reports.latest(DAY, DAY)
    assert stored.report == report
    assert stored.mailed_at is None
    assert abs(datetime.now(UTC) - stored.made_at) < timedelta(minutes=5)


def test_the_columns_are_the_trend(reports, cache_report):
    report, idle = cache_report(DAY, value_of_saved_ms=0.001), cache_report(NEXT, busy=False)
    reports.save(idle)
    reports.save(report)

    first, last = reports.trend(DAY, NEXT)

    assert first == DayInBrief(
        analysis_date=DAY,
        total_queries=640,
        unique_queries=45,
        duplicate_queries=595,
        duplicate_percentage=report.analysis.duplicate_percentage,
        hit_potential=report.hit_potential,
        recommended_ttl_seconds=report.recommended_ttl_seconds,
        estimated_memory_bytes=round(report.memory_bytes),
        latency_saved_ms=report.cost.latency_saved_ms_a_day,
        monthly_cost=round(report.cost.monthly_cost, 2),
        worthwhile=report.worthwhile,
        currency="USD",
    )
    assert (last.analysis_date, last.total_queries, last.hit_potential) == (NEXT, 0, 0.0)
    assert (last.recommended_ttl_seconds, last.monthly_cost, last.worthwhile) == (None, 0.0, False)


def test_only_the_days_asked_for_are_read_both_ends_included(reports, cache_report):
    days = [DAY + timedelta(days=at) for at in range(4)]
    for day in days:
        reports.save(cache_report(day, busy=False))

    assert [brief.analysis_date for brief in reports.trend(days[1], days[2])] == days[1:3]
    assert reports.latest(days[1], days[2]).report.analysis_date == days[2]
    assert reports.trend(date(1, 1, 1), date(9999, 12, 31))[-1].analysis_date == days[3]
    assert reports.latest(DAY - timedelta(days=9), DAY - timedelta(days=1)) is None
    assert reports.trend(days[2], days[1]) == []
    assert reports.reported() == frozenset(days)


def test_a_day_that_is_reported_on_again_keeps_when_that_was_first_and_when_it_was_mailed(
    opened, reports, cache_report
):
    reports.save(cache_report(DAY, busy=False))
    reports.mailed(DAY)
    [(created, updated, mailed, _)] = opened.rows(TIMES, {"day": DAY})

    better = cache_report(DAY)
    reports.save(better)

    [(created_then, updated_then, mailed_then, rows)] = opened.rows(TIMES, {"day": DAY})
    assert (created_then, mailed_then, rows) == (created, mailed, 1)
    assert updated_then > updated
    stored = reports.latest(DAY, DAY)
    assert (stored.report, stored.made_at, stored.mailed_at) == (better, updated_then, mailed)


def test_that_a_report_was_mailed_is_known_of_its_day_only(reports, cache_report):
    for day in (DAY, NEXT):
        reports.save(cache_report(day, busy=False))

    reports.mailed(DAY)
    reports.mailed(DAY + timedelta(days=50))  # of which there is none

    assert reports.latest(DAY, DAY).mailed_at is not None
    assert reports.latest(NEXT, NEXT).mailed_at is None
    assert len(reports.reported()) == 2


def test_when_the_first_query_was_is_known(opened, reports):
    assert reports.first_query() is None
    assert reports.reported() == frozenset()
    template = QueryTemplate(1, "SELECT ?", "select", (), is_write=False, volatile=False)
    at = datetime(2026, 1, 9, 8, tzinfo=UTC)
    totals = tuple(
        TemplateTotal(int(at.timestamp()) + 60 * minute, template, "shop", 1, 0, 0) for minute in (5, 0)
    )
    PostgresQueryWriter(opened, at.timestamp).write(QueryBatch(UUID(int=1), "one", (), totals, (), ()))

    assert reports.first_query() == at


def test_one_process_makes_reports_at_a_time(database, reports):
    with closing(Database(database)) as other:
        another = PostgresCacheReports(other)
        with reports.exclusive() as first, another.exclusive() as second:
            assert (first, second) == (True, False)
        with another.exclusive() as free:
            assert free


def test_who_was_not_alone_takes_nothing_from_who_is(database, reports):
    with closing(Database(database)) as other, reports.exclusive():
        for _ in range(3):
            with PostgresCacheReports(other).exclusive() as second:
                assert not second


def test_making_reports_is_free_again_after_an_error(database, reports):
    def fail():
        with reports.exclusive() as first:
            assert first
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    with closing(Database(database)) as other, PostgresCacheReports(other).exclusive() as free:
        assert free


def test_reports_are_kept_and_read_while_the_lock_is_held(reports, cache_report):
    with reports.exclusive():
        reports.save(cache_report(DAY, busy=False))
        assert reports.reported() == {DAY}


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 'a' AS \"b\" -- \\ \\u0041 %s %(day)s $1 {} ' \"",
        "SELECT $$\n\r\t\x01\x1f\x7f$$",
        "SELECT 'ключ 検索 \U0001f980 \u202e \ud7ff \U0010ffff e\u0301'",
        "SELECT '</script><!--'",
        "'; DROP SCHEMA otel_ratelimit CASCADE; --",
        "SELECT " + ", ".join("?" * 20_000),
    ],
    ids=["quotes", "control", "unicode", "markup", "sql", "long"],
)
def test_a_query_comes_back_to_the_character(reports, cache_report, text):
    report = cache_report(DAY, query=text)

    reports.save(report)

    stored = reports.latest(DAY, DAY).report
    assert stored.analysis.most_worth[0].template == text
    assert stored == report


@pytest.mark.parametrize("month", [123_456_789.999, 1e12, 1e18, 1e100, 1.7e308])
def test_a_cost_of_any_size_is_kept(reports, cache_report, month):
    report = cache_report(DAY, prices=(Price(name="gold", kind="self-hosted", month=month),))

    reports.save(report)

    [brief] = reports.trend(DAY, DAY)
    assert brief.monthly_cost == min(round(month, 2), 999_999_999_999.99)
    assert reports.latest(DAY, DAY).report == report


def test_a_row_without_a_report_is_passed_over_and_still_a_trend(opened, reports, cache_report):
    for day in (DAY, NEXT):
        reports.save(cache_report(day, busy=False))
    opened.rows(
        "UPDATE otel_ratelimit.cache_analysis_daily SET details = '{}' WHERE analysis_date = %(day)s",
        {"day": NEXT},
    )

    assert reports.latest(DAY, NEXT).report.analysis_date == DAY
    assert reports.latest(NEXT, NEXT) is None
    assert [brief.analysis_date for brief in reports.trend(DAY, NEXT)] == [DAY, NEXT]


@pytest.mark.parametrize(
    "change",
    [
        "details - 'cost'",
        "jsonb_set(details, '{analysis,engine}', '\"dragonfly\"')",
        "jsonb_set(details, '{analysis}', '[]')",
        "jsonb_set(details, '{cost,monthly_cost}', ('1' || repeat('0', 400))::jsonb)",
    ],
)
def test_a_report_that_cannot_be_understood_is_none(opened, reports, cache_report, change):
    reports.save(cache_report(DAY))
    opened.rows(f"UPDATE otel_ratelimit.cache_analysis_daily SET details = {change}")

    assert reports.latest(DAY, DAY) is None
    assert len(reports.trend(DAY, DAY)) == 1


def test_what_a_later_version_adds_is_left_out(opened, reports, cache_report):
    report = cache_report(DAY)
    reports.save(report)
    opened.rows("""
        UPDATE otel_ratelimit.cache_analysis_daily
        SET details = jsonb_set(details || '{"later": 1}', '{analysis,plan,at,later}', '[1]')
    """)

    assert reports.latest(DAY, DAY).report == report


def test_a_database_without_our_tables_says_what_to_do(empty_database, cache_report):
    with closing(Database(empty_database)) as opened:
        reports = PostgresCacheReports(opened)
        for ask in (
            lambda: reports.latest(DAY, DAY),
            lambda: reports.trend(DAY, DAY),
            reports.reported,
            reports.first_query,
            lambda: reports.save(cache_report(DAY)),
        ):
            with pytest.raises(SchemaMissingError, match="db upgrade"):
                ask()


def test_a_currency_that_is_none_is_refused_and_nothing_kept(reports, cache_report):
    with pytest.raises(DatabaseError):
        reports.save(cache_report(DAY, currency="dollars"))

    assert reports.reported() == frozenset()
