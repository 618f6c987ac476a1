"""Entries that have expired and are still there, by a naive sweep, and the peak of what a sample says."""

from __future__ import annotations

import random

import numpy as np
import pytest

from otel_ratelimit.cache_advice.entry_memory import table_bytes
from otel_ratelimit.cache_advice.expired_entries import KEYS_A_LOOK, uncollected
from otel_ratelimit.cache_advice.live_entries import LiveEntries
from otel_ratelimit.cache_advice.peak_memory import peak
from otel_ratelimit.core.cache_assumptions import Assumptions

SECONDS = 200
CYCLES_A_SECOND = 10


def swept(filled_a_second, ttl, keys_a_look):
    """Live and expired entries by second; every entry is of a new key, at a random place of the table."""
    draw = random.Random(7)
    places = [None] * (filled_a_second * ttl * 4)
    at, found = 0, []
    for second in range(SECONDS):
        for cycle in range(CYCLES_A_SECOND):
            now = second + cycle / CYCLES_A_SECOND
            for _ in range(filled_a_second // CYCLES_A_SECOND):
                place = draw.randrange(len(places))
                while places[place] is not None:
                    place = draw.randrange(len(places))
                places[place] = now + ttl
            looked = expired = 1
            while expired * 10 > looked:
                looked = expired = 0
                while looked < keys_a_look:
                    if places[at] is not None:
                        looked += 1
                        if places[at] < now:
                            expired += 1
                            places[at] = None
                    at = (at + 1) % len(places)
        there = [expires for expires in places if expires is not None]
        live = sum(expires >= now for expires in there)
        found.append((live, len(there) - live))
    return np.array(found).T


def test_of_a_small_cache_what_expired_is_gone_in_a_second():
    live, expiring = np.full(100, 150.0), np.full(100, 10.0)
    small = uncollected("redis", live, expiring)
    live[0] = 500.0  # so that it is computed second by second
    assert small[10:] == pytest.approx(uncollected("redis", live, expiring)[10:])


@pytest.mark.parametrize(("filled_a_second", "ttl"), [(100, 20), (500, 10), (20, 40)])
def test_as_many_are_left_as_a_sweep_leaves(filled_a_second, ttl):
    _, expired = swept(filled_a_second, ttl, KEYS_A_LOOK["redis"])
    seconds = np.arange(1.0, SECONDS + 1.0)
    live = filled_a_second * np.minimum(seconds, ttl)

    left = uncollected("redis", live, np.where(seconds > ttl, float(filled_a_second), 0.0))

    half = slice(SECONDS // 2, None)
    assert left[half].mean() == pytest.approx(expired[half].mean(), rel=0.15)
    # When the first expire, the sweep is slow yet.
    assert left[: 3 * ttl].max() == pytest.approx(expired[: 3 * ttl].max(), rel=0.25)
    assert not left[:ttl].any()


def test_an_empty_cache_has_nothing_left():
    nothing = np.zeros(100)
    assert not uncollected("valkey", nothing, nothing).any()


def test_where_a_look_sees_the_whole_table_nothing_lasts():
    live = np.full(100, 5.0)
    assert uncollected("redis", live, np.full(100, 0.1)).max() < 0.1


def live_entries(rate, half):
    """A thousand keys in the first second, and twice as many in the 50th."""
    live = LiveEntries([10], 100, rate)
    at = np.array([0, 50])
    live.first_executed(at, np.array([1_000.0, 2_000.0]))
    live.filled(0, at, np.array([1_000.0, 2_000.0]), np.array([100.0, 100.0]), half)
    return live


def test_the_peak_is_that_of_the_highest_second_where_all_is_known():
    keys, size = peak(live_entries(1.0, np.array([0.0, 2.0])), 0, Assumptions(engine="redis"))

    assert keys == pytest.approx(2_000, rel=0.001)
    assert size == pytest.approx(200_000 + table_bytes("redis", 2_000), rel=0.001)


def test_what_only_half_of_a_sample_saw_is_taken_for_chance_in_part():
    both = peak(live_entries(0.01, np.array([1.0, 1.0])), 0, Assumptions(engine="redis"))
    one = peak(live_entries(0.01, np.array([1.0, 2.0])), 0, Assumptions(engine="redis"))
    # By one half there are 4,000 keys in the 50th second, by the other none; so that one finds the first.
    assert both[0] == pytest.approx(2_000, rel=0.001)
    assert 1_000 < one[0] < 2_000


def test_a_cache_of_nothing_has_no_peak():
    assert peak(LiveEntries([10, 200], 100, 0.1), 1, Assumptions()) == (0.0, 0.0)
