"""Why caching a query does not pay: the obstacle that is named is the one that decides."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from cache_adviser import adviser_of
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_day import QueryRowsDay
from query_rows import DAY, MIDNIGHT, query_row, read_template

from otel_ratelimit.cache_advice.analyse import analyze_cache_potential
from otel_ratelimit.cache_advice.estimate import Estimates
from otel_ratelimit.core.cache_assumptions import Assumptions
from otel_ratelimit.queries.records import TableWrite, TemplateTotal

JOB = read_template(11, "SELECT * FROM jobs WHERE id = ?", "jobs")


def row(at, key, milliseconds, result_bytes=1_000):
    return query_row(at, JOB, key, duration_us=round(1_000 * milliseconds), result_bytes=result_bytes)


def asked(keys, milliseconds, **more):
    """An execution a minute: of each key, one after the other."""
    return [row(60 * at, key, milliseconds, **more) for at, key in enumerate(keys)]


def writes(n, every=60):
    return [TableWrite(MIDNIGHT + every * at, "shop", "jobs", "update", 1) for at in range(n)]


def analysed(rows, written=(), **assumed):
    return analyze_cache_potential(
        QueryRowsDay(DAY, rows, (), written), Assumptions(**assumed), ttls=(60, 86_400)
    )


CASES = {
    "the issue's: 22 of 24 repeat, 4 writes, 0.54 ms against 0.5 ms": (
        (asked("ab" * 12, 0.54), writes(4)),
        {},
        ("small_gain",),
        (
            "the database answers in 0.54 ms on average, the cache in 0.5 ms: 22 hits save the database"
            " 11.9 ms, and asking and filling the cache takes 13 ms"
        ),
    ),
    "quicker than the cache": (
        (asked("ab" * 12, 0.2),),
        {},
        ("small_gain",),
        (
            "the database answers in 0.2 ms on average, the cache in 0.5 ms: 22 hits save the database"
            " 4.4 ms, and asking and filling the cache takes 13 ms"
        ),
    ),
    "few repeats": (
        (asked("aaabcdefghijklmnopqrstuv", 5.0),),
        {},
        ("few_repeats",),
        (
            "only 2 of its 24 executions would be hits: 2 hits save the database 10 ms, and asking and"
            " filling the cache takes 23 ms"
        ),
    ),
    "no repeats": (
        (asked("abcdefgh", 5.0),),
        {},
        ("few_repeats",),
        "none of its 8 executions repeats an earlier one",
    ),
    "no repeats, although it was written": (
        (asked("abcdefgh", 5.0), writes(8)),
        {},
        ("few_repeats",),
        "none of its 8 executions repeats an earlier one",
    ),
    "written before each repeat": (
        (asked("a" * 60, 5.0), writes(60)),
        {},
        ("writes",),
        (
            "its tables were written 60 times: 0 of 59 hits would be left, too few to make up for asking and"
            " filling the cache; unwritten it would save 264 ms"
        ),
    ),
    "written so often that dropping takes longer than what is left saves": (
        (
            [row(at, "a", 5.0) for at in range(100)],
            [TableWrite(MIDNIGHT + 60, "shop", "jobs", "insert", 1_000)],
        ),
        {"stale_budget": 0.0},
        ("writes",),
        (
            "its tables were written 1,000 times: dropping its cached answers each time takes 500 ms, and its"
            " 60 hits save 230 ms"
        ),
    ),
    "no repeats, and quicker than the cache": (
        (asked("abcdefgh", 0.3),),
        {},
        ("few_repeats", "small_gain"),
        (
            "none of its 8 executions repeats an earlier one; and the database answers in 0.3 ms on"
            " average, the cache in 0.5 ms"
        ),
    ),
    "memory that costs more than it brings": (
        (asked("ab" * 12, 5.0, result_bytes=10_000_000),),
        {"value_of_saved_ms": 1e-9, "memory_gb_hour": 10.0},
        ("memory_price",),
        "the memory for its answers costs more than they bring",
    ),
    "nothing that could be measured": (
        (asked("ab" * 12, 0.0),),
        {},
        ("not_measured",),
        "the database took no measurable time for it",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_reason_is_given_where_it_decides(case):
    day, assumed, obstacles, said = CASES[case]

    found = analysed(*day, **assumed)

    [held_back] = found.held_back
    assert (held_back.obstacles, held_back.templates) == (obstacles, 1)
    assert held_back.executions == found.executions == len(day[0])
    for template in found.most_repeated:
        assert (template.advice, template.obstacles, template.not_worth) == (None, obstacles, said)
    assert found.plan is None


@pytest.mark.parametrize("case", [name for name in CASES if "repeats" not in name])
def test_without_the_obstacle_itself_it_would_pay(case):
    (rows, *written), assumed, obstacles, _ = CASES[case]
    if obstacles == ("writes",):
        written = ()
    elif obstacles == ("memory_price",):
        assumed = {**assumed, "memory_gb_hour": 0.0}
    elif obstacles == ("small_gain",):
        assumed = {**assumed, "lookup_ms": 0.0, "store_ms": 0.0}
    else:
        rows = asked("ab" * 12, 5.0)

    assert analysed(rows, *written, **assumed).plan is not None


def test_a_query_that_was_only_counted_says_that_none_was_seen():
    totals = [TemplateTotal(MIDNIGHT, JOB, "shop", 0, 0, 0)]
    adviser = an_adviser(estimates(executions=0.0))
    assert adviser.template(0).obstacles == ("not_executed",)
    assert adviser.template(0).not_worth == "it was not executed"
    assert adviser.held_back() == ()
    assert analyze_cache_potential(QueryRowsDay(DAY, [], totals, ()), Assumptions()).held_back == ()


# --- whatever the figures -------------------------------------------------------------------------

TTLS = (10, 600, 86_400)


def estimates(
    executions=100.0, *, hit_share=(0.2, 0.5, 0.8), left=0.5, stale=(0.0, 0.1, 0.5), mean_us=1_000.0, held=1e6
):
    """The reasons for one template."""
    hits = executions * np.array([hit_share])
    dropped = left * hits
    zero = np.zeros_like(hits)
    return Estimates(
        executions=np.array([executions]),
        unique=executions - hits[:, -1],
        hits=hits,
        dropped_hits=dropped,
        hit_us=mean_us * hits,
        dropped_hit_us=mean_us * dropped,
        duration_us=np.array([mean_us * executions]),
        stale=hits * np.array([stale]),
        overtaken=zero,
        byte_seconds=held * np.array([TTLS], dtype=float),
        variance=zero,
        whole_variance=zero.sum(axis=0),
        cold_factor=1.0,
        is_own=np.array([True]),
    )


def an_adviser(found, written=0, assumed=None):
    return adviser_of(found, TTLS, assumed, writes=[written])


def removed(found, written, assumed, obstacles):
    """The same day in another world: what is asked, written or paid is changed, and not how it is judged."""
    if "writes" in obstacles:
        written = 0
        found = replace(found, stale=0 * found.hits, dropped_hits=found.hits, dropped_hit_us=found.hit_us)
    if "few_repeats" in obstacles:
        with np.errstate(divide="ignore", invalid="ignore"):
            left = np.where(found.hits > 0, found.dropped_hits / found.hits, 1.0)
            stale = np.where(found.hits > 0, found.stale / found.hits, 0.0)
        hits = np.broadcast_to(found.executions[:, None], found.hits.shape)
        hit_us = np.broadcast_to(found.duration_us[:, None], found.hits.shape)
        found = replace(
            found,
            hits=hits,
            hit_us=hit_us,
            stale=stale * hits,
            dropped_hits=left * hits,
            dropped_hit_us=left * hit_us,
        )
    if "small_gain" in obstacles:
        assumed = replace(assumed, lookup_ms=0.0, store_ms=0.0)
    if "memory_price" in obstacles:
        assumed = replace(assumed, memory_gb_hour=0.0)
    return an_adviser(found, written, assumed).template(0)


shares = st.integers(0, 1_000).map(lambda thousandths: thousandths / 1_000)
prices = st.sampled_from([0.0, 0.0, 1e-6, 1e-3])


@settings(max_examples=60, deadline=None)
@given(
    executions=st.integers(1, 100_000),
    hit_share=st.lists(shares, min_size=3, max_size=3).map(sorted),
    left=shares,
    stale=st.lists(shares, min_size=3, max_size=3).map(sorted),
    mean_us=st.integers(1, 20_000),
    held=st.sampled_from([0.0, 1e3, 1e9]),
    written=st.sampled_from([0, 0, 1, 50, 100_000]),
    lookup_ms=st.sampled_from([0.05, 0.5, 5.0]),
    store_ms=st.sampled_from([0.0, 0.5, 5.0]),
    value=prices,
    value_of_second=prices,
    memory=st.sampled_from([0.0, 0.02, 10.0]),
)
def test_what_is_named_decides_all_of_it_and_nothing_less(
    executions,
    hit_share,
    left,
    stale,
    mean_us,
    held,
    written,
    lookup_ms,
    store_ms,
    value,
    value_of_second,
    memory,
):
    found = estimates(
        float(executions),
        hit_share=tuple(hit_share),
        left=left if written else 1.0,
        stale=tuple(stale) if written else (0.0,) * 3,
        mean_us=float(mean_us),
        held=held,
    )
    assumed = Assumptions(
        lookup_ms=lookup_ms,
        store_ms=store_ms,
        value_of_saved_ms=value,
        value_of_database_second=value_of_second,
        memory_gb_hour=memory,
    )

    advised = an_adviser(found, written, assumed).template(0)

    assert (advised.advice is None) == bool(advised.obstacles) == bool(advised.not_worth)
    if advised.advice is not None:
        return
    assert removed(found, written, assumed, advised.obstacles).advice is not None
    for fewer in range(len(advised.obstacles)):
        for some in combinations(advised.obstacles, fewer):
            rest = removed(found, written, assumed, some)
            # It reveals what else is in the way, which is no more than was named.
            assert rest.advice is None
            assert 0 < len(rest.obstacles) <= len(advised.obstacles) - fewer
