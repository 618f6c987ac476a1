"""The sentences of a plan and an advice agree with their figures."""

from __future__ import annotations

import re

import numpy as np
import pytest
from cache_adviser import adviser_of
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_day import QueryRowsDay
from query_rows import DAY, MIDNIGHT, query_row, read_template

from otel_ratelimit.cache_advice.analyse import analyze_cache_potential
from otel_ratelimit.cache_advice.estimate import Estimates
from otel_ratelimit.cache_advice.number_format import apart, milliseconds
from otel_ratelimit.core.cache_assumptions import Assumptions
from otel_ratelimit.queries.records import TableWrite

TTLS = (10, 600, 86_400)


def asked(name, took_ms, *, every=1, executions=100):
    template = read_template(name, f"SELECT * FROM t{name}", f"t{name}")
    given = {"duration_us": round(1_000 * took_ms), "result_bytes": 100}
    return [query_row(every * at, template, name.to_bytes(16, "big"), **given) for at in range(executions)]


def analysed(*templates, writes=(), **assumed):
    rows = [row for template in templates for row in template]
    return analyze_cache_potential(QueryRowsDay(DAY, rows, (), writes), Assumptions(**assumed), ttls=TTLS)


def test_a_plan_that_takes_longer_does_not_say_that_it_saves_time():
    # 99 hits of 0.3 ms, asked for 0.5 ms each; only the database is worth something.
    found = analysed(asked(1, 0.3), value_of_database_second=1.0)

    assert found.plan.at.latency_saved_ms == pytest.approx(99 * 0.3 - 100 * 0.5 - 0.5)
    assert found.plan.reason == (
        "1 of 1 template is worth it for the time of the database: asking the cache takes 20.8 ms longer than"
        " its answers save"
    )
    # It is to be cached first all the same, and says what it is worth.
    [first] = found.most_worth
    assert first.advice.at.latency_saved_ms == found.plan.at.latency_saved_ms


def test_of_several_it_says_how_many_take_longer():
    found = analysed(asked(1, 0.3), asked(2, 9.0), value_of_database_second=1.0)

    assert found.plan.at.latency_saved_ms > 0.0
    assert found.plan.reason == (
        "2 of 2 templates are worth it for the time of the database: 1 of them takes longer to ask than its"
        " answers save"
    )
    # Those worth most come first.
    assert [each.template for each in found.most_worth] == ["SELECT * FROM t2", "SELECT * FROM t1"]


def test_without_a_value_all_that_is_planned_saves_time():
    found = analysed(asked(1, 0.3), asked(2, 9.0))
    assert found.plan.reason == "1 of 2 templates saves time with it"


def test_that_writes_must_drop_what_is_cached_says_what_the_ttl_alone_would_save():
    # A write every 100 s: with 10 s few answers are stale, and few are hits.
    writes = [TableWrite(MIDNIGHT + 600 * at, "shop", "t1", "update", 1) for at in range(9)]
    found = analysed(asked(1, 9.0, every=9, executions=600), writes=writes, stale_budget=0.03)

    [template] = found.most_worth

    alone = next(at for at in template.by_ttl if at.stale_by_table <= 0.03)
    assert template.advice.invalidate
    assert template.advice.reason == (
        "its tables were written 9 times: with a TTL alone that keeps all but 3 % of the answers fresh it"
        f" would save {milliseconds(alone.latency_saved_ms)} only; so writes must drop them"
    )
    assert alone.latency_saved_ms < template.advice.at.latency_saved_ms


def test_that_no_ttl_would_do_is_said_where_it_is_so():
    writes = [TableWrite(MIDNIGHT + 60 * at, "shop", "t1", "update", 1) for at in range(10)]
    found = analysed(asked(1, 50.0, every=9, executions=66), writes=writes, stale_budget=0.0)

    [template] = found.most_worth

    assert all(at.stale_by_table > 0.0 for at in template.by_ttl if at.latency_saved_ms > 0.0)
    assert template.advice.reason == (
        "its tables were written 10 times: with any TTL that pays, more than 0 % of the answers would be"
        " older than a write, so that writes must drop them"
    )


def test_what_is_left_at_most_is_no_less_than_what_is_left_at_least():
    # With 10 s each entry is hit once: to drop one makes the next one begin at a better time.
    writes = [TableWrite(MIDNIGHT + 60 * at, "shop", "t1", "update", 30) for at in range(10)]
    found = analysed(asked(1, 3.0, every=9, executions=60), writes=writes)
    for at in found.by_ttl:
        assert at.hit_ratio_dropped <= at.hit_ratio_dropped_by_row


@settings(max_examples=60, deadline=None)
@given(
    templates=st.lists(
        st.tuples(st.integers(1, 5_000), st.integers(1, 20_000), st.integers(0, 100)), min_size=1, max_size=5
    ),
    value=st.sampled_from([0.0, 1e-6]),
    value_of_second=st.sampled_from([0.0, 1e-4]),
)
def test_what_a_plan_says_of_itself_agrees_with_its_figures(templates, value, value_of_second):
    """Each: executions, microseconds, percent of hits."""
    executions = np.array([float(each[0]) for each in templates])
    mean_us = np.array([float(each[1]) for each in templates])
    hits = executions[:, None] * np.array([[each[2] / 100] * len(TTLS) for each in templates])
    zero = np.zeros_like(hits)
    found = Estimates(
        executions=executions,
        unique=executions - hits[:, -1],
        hits=hits,
        dropped_hits=hits,
        hit_us=hits * mean_us[:, None],
        dropped_hit_us=hits * mean_us[:, None],
        duration_us=executions * mean_us,
        stale=zero,
        overtaken=zero,
        byte_seconds=zero,
        variance=zero,
        whole_variance=zero.sum(axis=0),
        cold_factor=1.0,
        is_own=np.ones(len(templates), dtype=bool),
    )
    assumed = Assumptions(value_of_saved_ms=value, value_of_database_second=value_of_second)
    adviser = adviser_of(found, TTLS, assumed)

    planned = adviser.plan()

    if planned.advice is None:
        assert all(adviser.template(at).obstacles for at in range(len(templates)))
        return
    said, at = planned.advice.reason, planned.advice.at
    assert said.startswith(f"{planned.templates} of {len(templates)} template")
    each = [adviser.template(place).advice for place in range(len(templates))]
    slower = sum(one is not None and one.at.latency_saved_ms <= 0.0 for one in each)
    assert ("time with it" in said) == (slower == 0)
    assert (f"takes {milliseconds(-at.latency_saved_ms)} longer" in said) == (at.latency_saved_ms <= 0.0)
    match = re.search(r"(\d+) of them takes? longer", said)
    if slower and at.latency_saved_ms > 0.0:
        assert int(match[1]) == slower


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0 ms"),
        (0.0004, "less than 0.001 ms"),
        (0.54, "0.54 ms"),
        (120.4, "120 ms"),
        (999.6, "1.0 s"),
        (1_234_567.0, "1,234.6 s"),
    ],
)
def test_times_are_shown_in_three_figures(value, said):
    assert milliseconds(value) == said


@given(first=st.floats(0.001, 1e6), second=st.floats(0.001, 1e6))
def test_two_figures_look_alike_only_where_they_nearly_are(first, second):
    one, other = apart(first, second, milliseconds, 3)
    assert one != other or abs(first - second) <= 1e-7 * max(first, second)
