"""Counters at the edges of what a slot can hold, and bytes that look like a key."""

from __future__ import annotations

import itertools
import struct

import pytest
from counter_stores import EVERY_STORE, NOW, client, every_strategy, neighbour, sweeper_of, window, zone_store
from tiny_zones import tiny_store
from zone_recount import assert_figures_are_exact, slots_in_use

from otel_ratelimit.core.route_plan import Strategy
from otel_ratelimit.storage.zone.store import number_of
from otel_ratelimit.storage.zone.values import FORMS, MAX_SLIDING

LIMIT = window(1_000, 60)


def key_of(counters, limit, who):
    return number_of(counters.zone.keys.of_client(who)) ^ counters.zone.tables.salt_of(limit.prefix)


@pytest.mark.parametrize("shift", range(1, 32))
def test_bytes_that_equal_a_key_at_another_place_are_not_its_counter(shift):
    """In each bucket of a client, the bytes of its key lie across the fields of another counter."""
    counters = tiny_store("mutex", lambda: NOW, buckets=2)
    zone = counters.zone
    for n in range(4):
        counters.take([LIMIT], client(100 + n), 1, NOW)
    key = struct.pack("@Q", key_of(counters, LIMIT, client()))
    for bucket in range(2):
        for at in range(
            zone.layout.buckets_at + 256 * bucket, zone.layout.buckets_at + 256 * bucket + 200, 32
        ):
            if zone.words[at >> 3] == 0:
                zone.memory[at + shift : at + shift + 8] = key
                break

    counters.take([LIMIT], client(), 1, NOW)
    taken = counters.take([LIMIT], client(), 1, NOW)

    assert taken.states[0].used == 2
    assert counters.clear([LIMIT], client()) == 1
    assert counters.peek([LIMIT], client(), 1, NOW).states[0].used == 0


def test_a_client_whose_key_would_be_0_is_counted():
    counters = zone_store()
    counters.peek([LIMIT], client(), 1, NOW)
    [table] = counters._tables.values()
    number = number_of(counters.zone.keys.of_client(client()))
    counters._tables[LIMIT.prefix] = table._replace(salt=number)

    assert [counters.take([LIMIT], client(), 1, NOW).states[0].used for _ in range(3)] == [1, 2, 3]
    assert next(slots_in_use(counters.zone))[0].key == 1


@every_strategy()
@pytest.mark.parametrize("amount", [2**31, 2**32 - 1, 2**32, 2**52])
def test_large_amounts_are_counted_as_in_the_process(make, strategy, amount):
    if strategy in {Strategy.MOVING_WINDOW, Strategy.TOKEN_BUCKET}:
        pytest.skip("a list of so many times does not fit; a bucket's tests have their own")
    counters = make()
    limit = window(amount, 60, strategy)
    now = NOW - NOW % 60

    first = counters.take([limit], client(), amount - 3, now)
    answers = [counters.take([limit], client(), 1, now) for _ in range(3)]

    if amount <= MAX_SLIDING or strategy != Strategy.SLIDING_WINDOW_COUNTER:
        assert [first.states[0].used, *[each.states[0].used for each in answers]] == [
            amount - 3, amount - 2, amount - 1, amount,
        ]  # fmt: skip
        assert not counters.take([limit], client(), 1, now).allowed
    assert counters.clear([limit], client()) == 1


@pytest.mark.parametrize("strategy", FORMS)
@pytest.mark.parametrize("cost", [2**32, 2**53 + 1, 2**63])
def test_a_cost_beyond_all_amounts_of_a_policy_spoils_nothing(strategy, cost):
    counters = zone_store()
    limit = window(2**80, 60, strategy)

    for _ in range(3):
        assert counters.take([limit, window(5, 60)], client(), 1, NOW).allowed
    counters.take([limit], client(), cost, NOW)

    assert counters.take([limit], client(), 1, NOW).allowed
    assert_figures_are_exact(counters.zone)


@pytest.mark.parametrize("strategy", FORMS)
@pytest.mark.parametrize("moment", [0.0, 0.5, 2e9, 2e12])
def test_any_time_of_the_clock_is_a_time(strategy, moment):
    counters = zone_store()
    limit = window(2, 60, strategy)

    allowed = [counters.take([limit], client(), 1, moment).allowed for _ in range(3)]

    assert allowed == [True, True, False]
    assert counters.take([limit], client(), 1, moment + 121).allowed


@every_strategy()
def test_processes_with_clocks_apart_refuse_together(make, strategy):
    counters = make()
    limit = window(5, 60, strategy)

    moments = [NOW + ahead for ahead in itertools.islice(itertools.cycle([0.0, 0.3, -0.2, 0.1]), 12)]
    allowed = [counters.take([limit], client(), 1, moment).allowed for moment in moments]

    assert allowed == [True] * 5 + [False] * 7


@every_strategy()
@pytest.mark.parametrize("back", [30, 3_600, 86_400, 31_536_000])
def test_a_clock_set_back_blocks_for_one_window_after_the_next_cleanup(make, strategy, back):
    now = NOW
    counters = make(clock=lambda: now)
    limit = window(2, 60, strategy)
    for _ in range(2):
        counters.take([limit], client(), 1, NOW)

    now = NOW - back
    sweeper_of(counters).sweep()
    (refused,) = counters.peek([limit], client(), 1, now).states

    # A sliding window is weighed for two.
    longest = 60 + (60 if strategy == Strategy.SLIDING_WINDOW_COUNTER else 0) + min(back, 60)
    assert refused.retry_after <= longest
    assert counters.take([limit], client(), 1, now + longest + 1).allowed


@pytest.mark.parametrize("strategy", FORMS)
def test_a_clock_set_back_blocks_nobody_in_the_last_bucket_of_a_limit(strategy):
    now = NOW
    counters = tiny_store("mutex", lambda: now, buckets=1, overflow_buckets=1)
    limit = window(2, 60, strategy)
    for n in range(40):
        counters.take([limit], client(n), 1, now)
    last = counters.zone.slot(counters.zone.tables.last_bucket_at(0))
    assert last.key

    now -= 86_400
    sweeper_of(counters).sweep()

    assert counters.zone.slot(last.at).time <= now + 121


@EVERY_STORE
def test_a_clock_that_fails_spoils_nothing(make):
    now = NOW
    counters = make(clock=lambda: now)
    limit = window(2, 60)
    counters.take([limit], client(1), 1, NOW)

    counters.take([limit], client(), 1, float("nan"))
    counters.take([limit], client(), 1, float("inf"))
    sweeper_of(counters).sweep()

    assert counters.take([limit], client(1), 1, NOW).allowed
    assert counters.take([limit], client(), 1, NOW + 61).allowed
    assert counters.take([limit], neighbour(1), 1, NOW).allowed
