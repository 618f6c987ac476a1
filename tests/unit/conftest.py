"""Reports to show: a busy shop's day with and without prices, and days that have little to tell."""

from __future__ import annotations

import random
from datetime import UTC, date, timedelta
from types import SimpleNamespace

import pytest
from memory_day import QueryRowsDay
from query_rows import DAY as PERIOD
from query_rows import MIDNIGHT, query_row, read_template, write_template

from otel_ratelimit.cache_advice.analyse import analyze_cache_potential
from otel_ratelimit.cache_advice.daily_report import conclude
from otel_ratelimit.cache_advice.prices import PRICES, Pricing
from otel_ratelimit.cache_advice.stored_reports import DayInBrief
from otel_ratelimit.core.cache_assumptions import Assumptions
from otel_ratelimit.queries.records import TableWrite
from otel_ratelimit.storage import BoundedMemoryStorage
from otel_ratelimit.web.api import ApiServices

DAY = date(2026, 3, 28)
HOSTILE = (
    """SELECT '<script>alert("x")</script>' AS "</td><b>" """
    "FROM jobs WHERE a < ? AND b = '[bold red]x[/]' -- {{ 7 * 7 }}"
)
LONG = (
    "SELECT "
    + ", ".join(f"t.a_rather_long_column_name_{n}" for n in range(120))
    + " FROM reports t WHERE t.id = ?"
)


JOB = read_template(1, "SELECT id, title, salary FROM jobs WHERE id = ?", "jobs")
HOT_ONES = [
    JOB,
    read_template(2, HOSTILE, "jobs"),
    read_template(3, LONG, "reports"),
    read_template(4, "SELECT * FROM companies WHERE slug = ?", "companies"),
    *(
        read_template(
            10 + n, f"SELECT * FROM lookup_{n} WHERE code = ? ORDER BY position LIMIT ?", f"lookup_{n}"
        )
        for n in range(9)
    ),
]
RARE = read_template(30, "SELECT count(*) FROM invoices WHERE paid_on BETWEEN ? AND ?", "invoices")
NOW = read_template(40, "SELECT now() FROM jobs", "jobs", volatile=True)
UPDATE = write_template(41, "UPDATE jobs SET title = ? WHERE id = ?", "jobs")
PING = read_template(42, "SELECT ?")


def row(at, key, template=JOB, **given):
    return query_row(at, template, key, **given)


def busy_rows(rate=0.5):
    """Executions of half of the keys, each of a template with other habits."""
    draw = random.Random(7)
    rows = []
    for place, template in enumerate(HOT_ONES):
        for key in range(20 + 9 * place):
            name = bytes([draw.randrange(128), place, key]).ljust(16, b"\1")
            first, lasts = draw.uniform(0, 60_000), 400.0 * (place + 1)
            for _ in range(max(1, round((70 - 4 * place) / (key + 1) ** 0.7))):
                at = first + draw.random() * lasts
                more = {"sample_rate": rate, "duration_us": 20_000 * (place + 1)}
                rows.append(row(at, name, template, **more, result_bytes=6_000 * (1 + place % 5)))
    rows += [row(at, "r", RARE) for at in (100, 200)]
    # A hot key: many executions in each second of a minute.
    busy = [3] * 60
    rows += [
        row(60.0 * minute, "h", HOT_ONES[3], tier="hot", n=sum(busy), buckets=tuple(busy), duration_us=900)
        for minute in range(30)
    ]
    rows += [row(at * 100.0, "n", NOW) for at in range(80)]
    rows += [row(at * 300.0, "w", UPDATE) for at in range(40)]
    rows += [row(at * 200.0, "p", PING) for at in range(20)]
    return rows


WRITES = [
    *(TableWrite(MIDNIGHT + 60 * minute, "shop", "jobs", "update", 1) for minute in range(0, 1_440, 90)),
    *(TableWrite(MIDNIGHT + 3_600 * hour, "shop", "lookup_8", "update", 1) for hour in range(24)),
    *(TableWrite(MIDNIGHT + 3_600 * hour, "shop", "lookup_7", "insert", 2) for hour in range(1, 5)),
]


def concluded(rows=(), writes=(), *, ms=0.0, second=0.0, lookup_ms=0.5, prices=PRICES, ttls=None):
    assumed = Assumptions(lookup_ms=lookup_ms, value_of_saved_ms=ms, value_of_database_second=second)
    day = QueryRowsDay(PERIOD, rows, (), writes)
    analysis = analyze_cache_potential(day, assumed, **({} if ttls is None else {"ttls": ttls}))
    return conclude(analysis, assumed, Pricing(prices=prices), day=DAY, zone=UTC)


def days(count):
    return [
        DayInBrief(
            analysis_date=DAY - timedelta(days=count - 1 - n),
            total_queries=1_200_000 + 10_000 * n,
            unique_queries=400_000,
            duplicate_queries=800_000,
            duplicate_percentage=66.0 + n / 2,
            hit_potential=0.5 + n / 100,
            recommended_ttl_seconds=600.0 if n else None,
            estimated_memory_bytes=12_300_000,
            latency_saved_ms=7_200_000.0,
            monthly_cost=8.66,
            worthwhile=bool(n),
            currency="USD",
        )
        for n in range(count)
    ]


@pytest.fixture(scope="session")
def cache_reports():
    """A busy day: `open` (nothing has a value), `paid`, `dear` (brings too little); and days with little."""
    rows = busy_rows()
    return SimpleNamespace(
        open=concluded(rows, WRITES),
        paid=concluded(rows, WRITES, ms=0.0001, second=0.002),
        dear=concluded(rows, WRITES, ms=1e-10),
        none=concluded(),
        useless=concluded([row(at, f"k{at}") for at in range(50)]),
        uncacheable=concluded([row(at, "n", NOW) for at in range(9)]),
        single=concluded([row(5, "a")]),
        days=days,
        hostile=HOSTILE,
        long=LONG,
    )


@pytest.fixture
def api_services():
    """`api_services(**given)`: what an API is joined to, with a store of its own and nothing recorded."""

    def make(**given):
        return ApiServices(
            **{
                "store": BoundedMemoryStorage().counters,
                "enforcement": lambda: None,
                "clock": lambda: 1_700_000_000.0,
                "storage_name": "bounded-memory",
                "storage_healthy": lambda: True,
                "retry_seconds": lambda: 1.0,
                "snapshot": lambda: None,
                "cleanup": lambda: None,
                "recorder": lambda: None,
                "reader": None,
                "cache_reports": None,
                **given,
            }
        )

    return make
