"""Reading from PostgreSQL returns the recorded data, by period, endpoint and group, through indexes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from variants import quick_first

from otel_ratelimit.analytics.reader import Excess, LimitUse, RequestTotal, Scope
from otel_ratelimit.analytics.records import Batch, UsageRow, Violation
from otel_ratelimit.core.decision import DecisionKind
from otel_ratelimit.core.errors import SchemaMissingError
from otel_ratelimit.core.names import OTHER_CLIENTS
from otel_ratelimit.core.periods import Period
from otel_ratelimit.postgres import Database, PostgresAnalyticsWriter
from otel_ratelimit.postgres.analytics_reader import PostgresAnalytics
from otel_ratelimit.postgres.sql_files import statements

DAY = datetime(2026, 1, 10, tzinfo=UTC)
JANUARY = Period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
HOSTILE = [
    "'; DROP SCHEMA otel_ratelimit CASCADE; --",
    "%s",
    "%(start)s",
    "\\",
    "{}",
    "$1",
    "/a' OR '1'='1",
    "ключ",
    "/nul\0",
    "/half \ud83d",
    "/long" * 200,
]


def violation(when, endpoint="/a", client="192.0.2.1", **fields):
    seconds = (DAY + when).timestamp()
    first = Violation(
        seconds, seconds, endpoint, "GET", client, None, "t", "5 per 1 minute", 5, 60, 5, "ua", None, False
    )
    return replace(first, **fields)


def usage(when, decision, requests, utilization, clients):
    minute = int((DAY + when).timestamp())
    return UsageRow(
        minute, "/a", "GET", "t", decision, "5 per 1 minute", 5, 60, requests, utilization, clients
    )


@pytest.fixture
def opened(each_database):
    found = Database(each_database)
    yield found
    found.close()


@pytest.fixture
def reader(opened):
    return PostgresAnalytics(opened)


@pytest.fixture
def write(opened):
    def write(*rows, service="jobs"):
        writer = PostgresAnalyticsWriter(opened, lambda: service)
        violations = tuple(row for row in rows if isinstance(row, Violation))
        writer.write(Batch(uuid4(), violations, tuple(r for r in rows if isinstance(r, UsageRow))))

    return write


HOURS = timedelta(hours=1)


def test_groups_have_sums_of_counts_and_not_of_rows(reader, write):
    write(
        violation(HOURS, n=7),
        violation(2 * HOURS, n=3, client="192.0.2.2", shadow=True),
        violation(3 * HOURS, "/b", n=4, user_id="ann"),
    )
    page = reader.violations(JANUARY, "endpoint")
    assert (page.total_groups, page.total_violations) == (2, 14)
    first, second = page.groups
    assert (first.key, first.violations, first.shadow, first.clients, first.endpoints) == ("/a", 10, 3, 2, 1)
    assert (first.first_at, first.last_at) == (DAY + HOURS, DAY + 2 * HOURS)
    assert (second.key, second.violations) == ("/b", 4)


@pytest.mark.parametrize(
    ("group_by", "keys"),
    [
        ("client", {"192.0.2.1": 11, "192.0.2.2": 3}),
        ("user", {"": 10, "ann": 4}),
        ("tier", {"t": 14}),
        ("hour", {"2026-01-10T01:00:00Z": 7, "2026-01-10T23:00:00Z": 3, "2026-01-11T01:00:00Z": 4}),
        ("day", {"2026-01-10": 10, "2026-01-11": 4}),
    ],
)
def test_each_grouping_has_its_keys(reader, write, group_by, keys):
    write(
        violation(HOURS * 1.5, n=7),
        violation(HOURS * 23.9, n=3, client="192.0.2.2", shadow=True),
        violation(25 * HOURS, "/b", n=4, user_id="ann"),
    )
    assert {group.key: group.violations for group in reader.violations(JANUARY, group_by).groups} == keys


def test_hours_and_days_are_those_of_utc_and_in_order(reader, write, opened):
    opened.rows("ALTER ROLE CURRENT_USER SET TimeZone = 'Asia/Kathmandu'")
    try:
        opened.close()  # the next connection has that time zone
        write(violation(HOURS * 23.9, n=1), violation(HOURS * 24.1, n=50))
        assert opened.rows("SHOW TimeZone") == [("Asia/Kathmandu",)]
        assert [g.key for g in reader.violations(JANUARY, "day").groups] == ["2026-01-10", "2026-01-11"]
    finally:
        opened.rows("ALTER ROLE CURRENT_USER RESET TimeZone")


def test_pages_follow_each_other_and_an_empty_one_still_has_the_totals(reader, write):
    write(*(violation(HOURS, client=f"192.0.2.{n}", n=n) for n in range(1, 8)))
    pages = [reader.violations(JANUARY, "client", limit=3, offset=offset) for offset in (0, 3, 6, 9)]
    assert [[group.violations for group in page.groups] for page in pages] == [[7, 6, 5], [4, 3, 2], [1], []]
    assert {(page.total_groups, page.total_violations) for page in pages} == {(7, 28)}


def test_a_period_includes_its_start_and_not_its_end(reader, write):
    write(violation(timedelta(), n=1), violation(HOURS, n=10), violation(2 * HOURS, n=100))
    page = reader.violations(Period(DAY, DAY + 2 * HOURS), "endpoint")
    assert page.total_violations == 11


def test_an_endpoint_or_a_service_can_be_asked_for_alone(reader, write):
    write(violation(HOURS), violation(HOURS, "/b"))
    write(violation(HOURS, n=5), service="shop")
    assert reader.violations(JANUARY, "endpoint", Scope("/a")).total_violations == 6
    assert reader.violations(JANUARY, "endpoint", Scope(service="jobs")).total_violations == 2
    assert reader.violations(JANUARY, "endpoint", Scope("/a", "shop")).total_violations == 5


def test_requests_and_histograms_of_several_minutes_and_processes_are_summed(reader, write):
    allowed, blocked = DecisionKind.ALLOWED, DecisionKind.BLOCKED
    write(usage(HOURS, allowed, 3, {20: 2, 40: 1}, {20: 2, 40: 1}))
    write(usage(HOURS, allowed, 2, {20: 1, 100: 1}, {20: 1}), usage(HOURS * 2, blocked, 4, {101: 4}, {}))
    assert reader.requests(JANUARY) == [
        RequestTotal("/a", "GET", "t", allowed, 5),
        RequestTotal("/a", "GET", "t", blocked, 4),
    ]
    assert reader.limits(JANUARY) == [
        LimitUse("/a", "GET", "t", "5 per 1 minute", 5, 60, {20: 3, 40: 1, 100: 1, 101: 4}, {20: 3, 40: 1})
    ]


def test_excess_counts_refusals_of_one_client_in_one_window_of_the_limit(reader, write):
    second = timedelta(seconds=1)
    write(
        violation(HOURS, n=2),
        violation(HOURS + 59 * second, n=3),  # the same window: 5
        violation(HOURS + 60 * second, n=5),  # the next one
        violation(HOURS, client="192.0.2.2", n=1),
        violation(HOURS, client=OTHER_CLIENTS, n=500),
    )
    assert reader.excess(JANUARY) == [
        Excess("/a", "GET", "t", "5 per 1 minute", 5, 60, 1, 1),
        Excess("/a", "GET", "t", "5 per 1 minute", 5, 60, 5, 2),
    ]


def test_an_empty_database_answers_nothing(reader):
    page = reader.violations(JANUARY, "hour")
    assert (page.groups, page.total_groups, page.total_violations) == ([], 0, 0)
    assert reader.requests(JANUARY) == reader.limits(JANUARY) == reader.excess(JANUARY) == []


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_filter_finds_just_what_is_called_so(reader, write, text):
    write(violation(HOURS), violation(HOURS, text, n=3))
    assert reader.violations(JANUARY, "endpoint", Scope(text)).total_violations == 3
    assert reader.violations(JANUARY, "endpoint", Scope(service=text)).total_violations == 0
    assert reader.requests(JANUARY, Scope(text, text)) == []


def test_a_grouping_that_there_is_none_is_refused(reader):
    with pytest.raises(ValueError, match="endpoint, client, user"):
        reader.violations(JANUARY, "id; DROP TABLE x")


def test_without_tables_it_is_said_what_makes_them(empty_database):
    database = Database(empty_database)
    with pytest.raises(SchemaMissingError, match="db upgrade"):
        PostgresAnalytics(database).requests(JANUARY)
    database.close()


@pytest.mark.parametrize(
    ("statement", "table"),
    quick_first(
        [
            ("violations", "rate_limit_analytics"),
            ("excess", "rate_limit_analytics"),
            ("requests", "rate_limit_usage"),
            ("limits", "rate_limit_usage"),
            ("services", "rate_limit_analytics, otel_ratelimit.rate_limit_usage"),
        ]
    ),
)
def test_an_hour_of_a_month_is_found_through_an_index(opened, statement, table):
    opened.rows(
        """
        INSERT INTO otel_ratelimit.rate_limit_analytics (occurred_at, last_at, service, endpoint, method,
        client,
            tier, limit_text, limit_value, limit_seconds, current_count, shadow, n)
        SELECT t, t, 's', '/e' || i % 40, 'GET', i::text, 't', '5 per 1 minute', 5, 60, 5, false, 1
        FROM (SELECT i, timestamptz '2026-01-01Z' + i * interval '52 seconds' AS t
              FROM generate_series(1, 50000) AS i) AS rows
        """
    )
    opened.rows(
        """
        INSERT INTO otel_ratelimit.rate_limit_usage SELECT timestamptz '2026-01-01Z' + i * interval '52
        seconds', 's', '/e' || i % 40, 'GET', 't', 'allowed',
            '5 per 1 minute', 5, 60, 1, '{20}', '{1}', '{1}'
        FROM generate_series(1, 50000) AS i
        """
    )
    opened.rows(f"ANALYZE otel_ratelimit.{table}")
    parameters = {
        "start": DAY,
        "end": DAY + HOURS,
        "endpoint": None,
        "service": None,
        "group_by": "client",
        "limit": 50,
        "offset": 0,
        "others": OTHER_CLIENTS,
    }
    [(plan,)] = opened.rows("EXPLAIN (FORMAT JSON) " + statements("analytics")[statement], parameters)
    text = json.dumps(plan)
    assert "Index" in text
    assert "Seq Scan" not in text
