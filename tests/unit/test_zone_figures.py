"""A zone's figures are exact after any history, and every counter is where its key leads."""

from __future__ import annotations

import itertools
from contextlib import suppress
from random import Random

import pytest
from counter_stores import CAPACITY, NOW, client, neighbour, sweeper_of, window, zone_store
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_zones import tiny_store
from variants import quick_first
from zone_recount import assert_figures_are_exact

from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.core.route_plan import Strategy
from otel_ratelimit.storage.zone import head
from otel_ratelimit.storage.zone.layout import PAGE_BYTES, layout_for
from otel_ratelimit.storage.zone.values import FORMS

WINDOWS = [window(3, seconds, strategy) for strategy in FORMS for seconds in (10, 60)]
WINDOWS += [window(2, 10, shadow=True, scope="shadow"), window(9, 10)]
MANY = [window(5, 10, scope=f"s{n}") for n in range(12)]
SOME = st.lists(st.sampled_from(WINDOWS), min_size=1, max_size=5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), SOME, st.integers(0, 60), st.integers(0, 3)),
        st.tuples(st.just("flood"), SOME, st.integers(0, 60), st.integers(0, 60)),
        st.tuples(st.just("neighbours"), SOME, st.integers(0, 60), st.integers(0, 30)),
        st.tuples(st.just("clear"), SOME, st.integers(0, 60), st.just(0)),
        st.tuples(st.just("wait"), st.just([]), st.integers(-70, 70), st.just(0)),
        st.tuples(st.just("sweep"), st.just([]), st.just(0), st.just(0)),
        st.tuples(st.just("reset"), st.just([]), st.just(0), st.just(0)),
        st.tuples(
            st.just("many"), st.lists(st.sampled_from(MANY), max_size=12), st.integers(0, 60), st.just(1)
        ),
    ),
    max_size=30,
)


def do(counters, now, step):
    what, windows, n, number = step
    if what in {"take", "many"}:
        counters.take(windows, client(n), number, now[0])
    elif what == "flood":
        for each in range(number):
            counters.take(windows, client(1_000 * n + each), 1, now[0])
    elif what == "neighbours":
        for each in range(number):
            counters.take(windows, neighbour(each), 1, now[0])
    elif what == "clear":
        counters.clear(windows, client(n))
    elif what == "wait":
        now[0] += n
    elif what == "sweep":
        sweeper_of(counters).sweep()
    else:
        counters.reset()


@settings(max_examples=300)
@given(
    st.fixed_dictionaries(
        {
            "buckets": st.integers(1, 12),
            "overflow_buckets": st.integers(1, 2),
            "networks": st.sampled_from([1, 3, 1301]),
            "tables": st.integers(6, 20),
        }
    ),
    STEPS,
)
def test_figures_are_exact_after_any_history_of_a_zone_with_few_slots(parts, steps):
    now = [NOW]
    counters = tiny_store("mutex", lambda: now[0], **parts)
    for step in steps:
        with suppress(StorageUnavailableError):  # there are more limits than tables
            do(counters, now, step)
        assert_figures_are_exact(counters.zone)


@pytest.mark.untraced
@pytest.mark.parametrize("seed", quick_first(range(5)))
def test_figures_are_exact_while_a_zone_is_filled_until_buckets_are_full(seed):
    random = Random(seed)
    now = NOW
    counters = zone_store("mutex", CAPACITY, lambda: now)
    limits = [window(3, 60), window(5, 3600, Strategy.SLIDING_WINDOW_COUNTER)]
    layout = counters.zone.layout
    for n in itertools.count():
        windows = random.sample(limits, random.randint(1, 2))
        counters.take(windows, client(n), 1, now)
        if n % 1_000 == 0:
            counters.clear(limits, client(random.randrange(n + 1)))
        if counters.snapshot().overflows > 100:
            break

    assert_figures_are_exact(counters.zone)
    assert counters.zone.figure(head.USED_AT) >= 0.88 * layout.buckets * 8

    now += 61
    for each in range(2_000):
        counters.take([limits[0]], client(n + each), 1, now)
    assert_figures_are_exact(counters.zone)
    sweeper_of(counters).sweep()
    assert_figures_are_exact(counters.zone)


@given(st.integers(CAPACITY, 300_000_000))
def test_the_parts_of_a_zone_follow_each_other_and_fit(size):
    layout = layout_for(size)
    ends = [
        (layout.tables_at, layout.tables * 192),
        (layout.networks_at, layout.networks * 8),
        (layout.pages_at, layout.pages * 8),
        (layout.buckets_at, layout.buckets * 256),
        (layout.overflow_at, layout.overflow_buckets * 256),
        (size, 0),
    ]
    for (at, length), (following, _) in itertools.pairwise(ends):
        assert at % PAGE_BYTES == 0
        assert at + length <= following
    assert layout.overflow_at + layout.overflow_buckets * 256 == layout.buckets_at + layout.pages * PAGE_BYTES


@pytest.mark.parametrize("size", range(CAPACITY, CAPACITY + 9))
def test_a_zone_may_have_any_number_of_bytes(size):
    counters = zone_store("mutex", size)

    assert counters.take([window(1, 60)], client(), 1, NOW).allowed
    assert not counters.take([window(1, 60)], client(), 1, NOW).allowed
