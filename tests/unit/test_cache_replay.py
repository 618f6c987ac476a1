"""Hits of a cache: a day computed by hand, and random ones by a naive cache."""

from __future__ import annotations

import itertools
import random
from datetime import UTC

import numpy as np
import pytest
from memory_day import QueryRowsDay
from query_rows import DAY, MIDNIGHT, START, query_row, read_template, write_template

from otel_ratelimit.cache_advice.analyse import analyze_cache_potential
from otel_ratelimit.cache_advice.daily_report import conclude
from otel_ratelimit.cache_advice.prices import Pricing
from otel_ratelimit.cache_advice.query_day import Template, Writes
from otel_ratelimit.cache_advice.replay_cold import missed
from otel_ratelimit.cache_advice.table_writes import WrittenTables
from otel_ratelimit.core.cache_assumptions import Assumptions
from otel_ratelimit.queries.records import QueryTemplate, TableWrite, TemplateTotal

JOB = read_template(11, "SELECT * FROM jobs WHERE id = ?", "jobs")
USER = read_template(12, "SELECT * FROM users WHERE id = ?", "users")
NOW = read_template(13, "SELECT now() FROM jobs", "jobs", volatile=True)
WRITE = write_template(14, "UPDATE jobs SET x = ?", "jobs")
LOCK = read_template(15, "SELECT * FROM jobs FOR UPDATE", "jobs", is_write=True)
CATALOGUE = read_template(16, "SELECT * FROM pg_catalog.pg_class", "pg_catalog.pg_class")
PING = read_template(17, "SELECT ?")
BEGIN = QueryTemplate(18, "BEGIN", "begin", (), is_write=False, volatile=False)


def row(at, key, template=JOB, **given):
    return query_row(at, template, key, **given)


def analysed(rows, totals=(), writes=(), ttls=(10, 60), **assumed):
    day = QueryRowsDay(DAY, rows, totals, writes)
    return analyze_cache_potential(day, Assumptions(**assumed), ttls=ttls)


def test_a_day_computed_by_hand():
    rows = [
        # a: with 10 s filled at 0 and 20; with 60 s at 0 and 70. A hit does not make an entry live longer.
        *(row(at, "a") for at in (0, 5, 9, 20, 25, 70)),
        # b: every execution more than 60 s after the one before.
        *(row(at, "b") for at in (0, 100, 200)),
        # u: another template; twice within a second, and once more much later.
        *(row(at, "u", USER, duration_us=2_000, result_bytes=500) for at in (50, 50.5, 5_000)),
        *(row(at, "n", NOW) for at in (1, 2)),
        row(3, "w", WRITE),
        row(4, "l", LOCK),
        row(5, "c", CATALOGUE),
        row(6, "p", PING),
        row(7, "g", BEGIN),
        row(8, "f", status="57014"),
        row(9, "t", in_txn=True),
    ]

    found = analysed(rows, lookup_ms=0.5, store_ms=0.5, engine="redis", key_bytes=24)

    assert found.all_executions == 21
    assert (found.executions, found.unique, found.duplicates) == (12, 3, 9)
    assert found.duplicate_percentage == pytest.approx(75.0)
    assert {each.reason: each.executions for each in found.not_cacheable} == {
        "volatile": 2,
        "writes": 2,
        "catalogue": 1,
        "no_table": 1,
        "no_read": 1,
        "failed": 1,
        "in_transaction": 1,
    }
    ten, sixty = found.by_ttl
    # 10 s: a hits at 5, 9, 25; u at 50.5. 60 s: a at 5, 9, 20, 25; u at 50.5.
    assert (ten.hits, sixty.hits) == (4, 5)
    assert ten.hit_ratio == ten.hit_ratio_low == ten.hit_ratio_high == pytest.approx(4 / 12)
    # Four hits instead of 3 x 10 ms + 2 ms; every one of 12 asks (0.5 ms), every miss of 8 stores (0.5 ms).
    assert ten.latency_saved_ms == pytest.approx(32 - 12 * 0.5 - 8 * 0.5)
    assert ten.database_saved_ms == pytest.approx(32)
    assert sixty.latency_saved_ms == pytest.approx(42 - 12 * 0.5 - 7 * 0.5)
    # Most at 50 with 60 s: a, b and u (filled at 0, 0 and 50).
    # Of those that have expired since, hardly any is still there.
    assert sixty.peak_keys == pytest.approx(3, rel=0.01)
    job = next(each for each in found.most_repeated if each.template_hash == "11")
    assert (job.executions, job.unique, job.duplicates, job.writes) == (9, 2, 7, 0)
    assert job.mean_duration_ms == pytest.approx(10.0)


def test_writes_are_somewhere_in_their_minutes_however_many_they_are():
    minutes = 1_440
    many = Writes(int(MIDNIGHT) + 60 * np.arange(minutes), np.full(minutes, 1_000_000))
    jobs = Template(11, "shop", JOB.text, "select", ("jobs",), 0.0)

    written = WrittenTables([jobs], {("shop", "jobs"): many}, int(MIDNIGHT), 60 * minutes)

    assert written.total().tolist() == [1_000_000 * minutes]
    second = np.arange(60 * minutes)
    before, within = written.in_second(np.zeros(len(second), dtype=np.int64), second)
    assert (before[::60] == 1_000_000 * np.arange(minutes)).all()
    assert within == pytest.approx(1_000_000 / 60, rel=0.1)


def test_writes_make_hits_stale_or_drop_what_was_cached():
    # One write in the first minute, of which only the minute is known; the reads are minutes apart.
    rows = [row(at, "a") for at in (0, 300, 600, 900)]
    writes = [TableWrite(int(MIDNIGHT) + 420, "shop", "jobs", "update", 1)]

    found = analysed(rows, writes=writes, ttls=(3_600,))

    [hour] = found.by_ttl
    assert hour.hits == 3
    # Those at 600 and 900 were filled at 0, before the write between 420 and 480.
    assert hour.stale_by_table == pytest.approx(2 / 3)
    # The write drops the entry, so the execution at 600 fills it again.
    assert hour.hit_ratio_dropped == pytest.approx(2 / 4)


def test_what_is_planned_for_one_template_alone_is_what_is_advised_for_it():
    # At the longer TTLs a TTL alone would be too stale, and dropping would bring a little more.
    rows = [row(60 * minute, str(minute % 4), duration_us=50_000) for minute in range(600)]
    writes = [TableWrite(int(MIDNIGHT) + 7_200 * place, "shop", "jobs", "update", 1) for place in range(5)]

    found = analysed(rows, writes=writes, ttls=(300, 600, 1_800, 3_600), stale_budget=0.15)

    [template] = found.most_worth
    assert found.plan.at.ttl_seconds == template.advice.at.ttl_seconds
    assert found.plan.invalidate == template.advice.invalidate
    assert found.plan.at.latency_saved_ms == pytest.approx(template.advice.at.latency_saved_ms)


@pytest.mark.parametrize("table", ["public.jobs", "jobs"])
def test_a_table_without_a_schema_may_be_that_of_any_schema(table):
    rows = [row(at, "a") for at in (0, 300)]
    writes = [TableWrite(int(MIDNIGHT) + 120, "shop", table, "update", 1)]

    [found] = analysed(rows, writes=writes, ttls=(3_600,)).by_ttl

    assert found.stale_by_table == 1.0


def test_writes_of_another_database_or_table_do_nothing():
    rows = [row(at, "a") for at in (0, 300)]
    writes = [
        TableWrite(int(MIDNIGHT) + 120, "other", "jobs", "update", 1),
        TableWrite(int(MIDNIGHT) + 120, "shop", "users", "update", 1),
    ]

    [found] = analysed(rows, writes=writes, ttls=(3_600,)).by_ttl

    assert (found.stale_by_table, found.hit_ratio_dropped) == (0.0, 0.5)


def test_rows_of_hot_keys_and_of_several_processes_are_one_timeline():
    rows = [
        row(0, "a", n=6, tier="hot", buckets=(2, 0, 0, 4)),
        row(2, "a", n=3, tier="hot", buckets=(1, 2)),
        row(90, "a"),
    ]

    found = analysed(rows, ttls=(60,))

    assert found.executions == 10
    assert found.by_ttl[0].hits == 8  # all but the first, and the one that comes after the TTL
    assert found.sample.hot_keys == 1


def test_every_execution_that_was_counted_counts_sampled_or_not():
    rows = [row(at, "a", sample_rate=0.5) for at in (0, 1, 2, 3)]
    minute = int(MIDNIGHT)
    totals = [TemplateTotal(minute, JOB, "shop", 100, 0, 0), TemplateTotal(minute, USER, "shop", 20, 0, 0)]

    found = analysed(rows, totals, ttls=(60,))

    assert found.executions == 120
    assert found.by_ttl[0].hit_ratio == pytest.approx(0.75)


def test_of_what_is_known_while_hot_only_the_rest_takes_as_long():
    # The key of é is not in the sample; what its template took while it was cold, nobody has seen.
    hot = row(0, "é", n=10, tier="hot", buckets=(10,), duration_us=100_000)
    rows = [hot, *(row(at, "a", USER, sample_rate=0.5, duration_us=1_000) for at in range(3))]
    totals = [
        TemplateTotal(int(MIDNIGHT), JOB, "shop", 30, 0, 0),
        TemplateTotal(int(MIDNIGHT), USER, "shop", 6, 0, 0),
    ]

    found = analysed(rows, totals, ttls=(60,))

    [job] = [each for each in found.most_repeated if each.template == JOB.text]
    assert job.mean_duration_ms == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("rows", "executions", "hits"),
    [
        ([], 0, 0),
        ([row(0, "a")], 1, 0),
        ([row(at, str(at)) for at in range(50)], 50, 0),
        ([row(0, "a") for _ in range(50)], 50, 49),
        ([row(at, "w", WRITE) for at in range(50)], 0, 0),
        # Clocks that are off: the day before, and the next.
        ([row(-10, "a"), row(86_400, "a"), row(86_399.9, "a")], 1, 0),
        # An hour is missing.
        ([row(at, "a") for at in (*range(0, 3_600, 30), *range(7_200, 10_800, 30))], 240, 238),
    ],
)
def test_days_that_are_not_like_others(rows, executions, hits):
    found = analysed(rows, ttls=(60, 3_600))

    assert found.executions == executions
    assert found.by_ttl[1].hits == hits
    assert 0.0 <= found.duplicate_percentage <= 100.0
    assert found.model_dump_json()
    if not hits:
        assert found.plan is None


def naive(times, ttl, writes=()):
    """Hits of one key, one execution after the other."""
    filled, misses = None, []
    for at in times:
        if filled is None or at > filled + ttl or any(filled < write <= at for write in writes):
            filled = at
            misses.append(at)
    return misses


@pytest.mark.parametrize("seed", range(20))
def test_the_play_back_misses_where_a_naive_cache_does(seed):
    draw = random.Random(seed)
    keys = [sorted({draw.randrange(2_000) for _ in range(draw.randrange(1, 120))}) for _ in range(30)]
    ttl = draw.choice([1, 7, 40, 300, 5_000])
    when = np.array([(rank << 38) + at for rank, times in enumerate(keys) for at in times])

    miss = missed(when, ttl)

    expected = [(rank << 38) + at for rank, times in enumerate(keys) for at in naive(times, ttl)]
    assert when[miss].tolist() == expected


@pytest.mark.parametrize("seed", range(20))
def test_and_where_it_does_when_writes_drop_entries(seed):
    draw = random.Random(seed)
    times = sorted({draw.randrange(2_000) for _ in range(150)})
    writes = sorted(draw.randrange(2_000) for _ in range(draw.choice([1, 10, 80])))
    when = np.array(times)
    dropped = np.array(
        [False, *(any(a < write <= b for write in writes) for a, b in itertools.pairwise(times))]
    )

    assert when[missed(when, 200, dropped)].tolist() == naive(times, 200, writes)


@pytest.mark.parametrize(("rate", "certainty"), [(1.0, "certain"), (0.5, "likely")])
def test_that_nothing_is_worth_caching_is_certain_where_everything_was_kept(rate, certainty):
    # As quick as the cache; key a is in a sample of half of all keys.
    rows = [row(at, "a", duration_us=100, sample_rate=rate) for at in range(60)]
    report = conclude(analysed(rows), Assumptions(), Pricing(), day=START.date(), zone=UTC)

    assert report.analysis.plan is None
    assert (report.worthwhile, report.cost.certainty) == (False, certainty)
