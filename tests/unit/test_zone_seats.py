"""Counters of one request never get in each other's way, and limits keep their entries."""

from __future__ import annotations

import pytest
from counter_stores import NOW, client, neighbour, sweeper_of, window, zone_store
from tiny_zones import same_zone, tiny_store
from zone_recount import assert_figures_are_exact

from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.storage.zone import head
from otel_ratelimit.storage.zone.limits_adapter import SharedMemoryStorage
from otel_ratelimit.storage.zone.store import MAX_WINDOWS
from otel_ratelimit.storage.zone.values import FORMS

A, B = window(5, 60, scope="a"), window(5, 60, scope="b")
KEPT = window(5, 86_400, scope="kept")
LATER = NOW + 61


def used(counters, windows, who, now=NOW):
    return [state.used for state in counters.peek(windows, who, 1, now).states]


def fill(counters):
    """All slots are in use, and no overflow bucket is."""
    for n in range(8):
        counters.take([KEPT], client(n), 1, NOW)
    assert not counters.snapshot().overflows


def test_a_new_counter_does_not_take_the_slot_of_one_that_another_process_made():
    counters = tiny_store("mutex", lambda: NOW, buckets=1)
    counters.take([B], client(), 1, NOW)
    fresh = same_zone(counters)

    fresh.take([A, B], client(), 1, LATER)

    assert used(fresh, [A, B], client(), LATER) == [1, 1]
    assert_figures_are_exact(fresh.zone)


def test_a_new_overflow_bucket_does_not_take_the_slot_of_another_one_of_its_request():
    counters = tiny_store("mutex", lambda: NOW, buckets=1, overflow_buckets=1)
    fill(counters)
    counters.take([A], neighbour(1), 1, NOW)

    counters.take([B, A], neighbour(1), 1, LATER)

    assert used(counters, [B, A], neighbour(1), LATER) == [1, 1]
    assert_figures_are_exact(counters.zone)


def test_two_windows_of_one_prefix_share_an_overflow_bucket():
    counters = tiny_store("mutex", lambda: NOW, buckets=1, overflow_buckets=1)
    fill(counters)
    counters.take([A, A], neighbour(1), 1, NOW)

    assert used(counters, [A], neighbour(2)) == [1]
    assert counters.zone.figure(head.OVERFLOW_USED_AT) == 1


def test_two_new_limits_of_one_request_get_an_entry_each_when_all_are_taken():
    counters = tiny_store("mutex", lambda: NOW, tables=2)
    for n in range(2):
        counters.peek([window(1, 60, scope=f"idle{n}")], client(), 1, NOW)

    counters.take([A, B], client(), 1, NOW)

    assert counters.snapshot().by_endpoint == {"a": 1, "b": 1}
    with pytest.raises(StorageUnavailableError, match="full"):
        counters.take([KEPT], client(), 1, NOW)
    assert counters.take([A, B], client(), 1, NOW).states[0].used == 2


def test_a_process_notices_that_another_one_has_given_its_entry_away():
    counters = tiny_store("mutex", lambda: NOW, tables=1)
    other = same_zone(counters)
    counters.peek([A], client(), 1, NOW)
    other.take([B], client(), 1, NOW)
    with pytest.raises(StorageUnavailableError, match="full"):
        counters.take([A], client(), 1, NOW)
    other.clear([B], client())

    counters.take([A], client(), 1, NOW)

    assert other.snapshot().by_endpoint == {"a": 1}
    with pytest.raises(StorageUnavailableError, match="full"):
        other.take([B], client(), 1, NOW)


def test_an_overflow_bucket_outlives_the_entry_of_its_limit():
    counters = tiny_store("mutex", lambda: NOW, buckets=1, overflow_buckets=1, tables=2)
    fill(counters)
    day = window(5, 86_400, Strategy.SLIDING_WINDOW_COUNTER, scope="day")
    for _ in range(3):
        counters.take([day], neighbour(1), 1, NOW)
    short = window(5, 1, scope="short")
    counters.take([short], neighbour(1), 1, NOW)
    assert counters.zone.tables.form_of(1)[1] == 1.0

    sweeper_of(counters).sweep()

    assert used(counters, [day], neighbour(2)) == [3]


def test_clear_of_a_limit_that_nobody_has_used_opens_no_entry():
    counters = zone_store()

    assert counters.clear([A], client()) == 0
    assert list(counters.zone.tables.numbers()) == []


@pytest.mark.parametrize("strategy", FORMS)
def test_as_many_windows_are_counted_as_the_journal_has_room_for(strategy):
    counters = tiny_store("mutex", lambda: NOW, tables=64)
    windows = [window(2, 60, strategy, scope=f"s{n}") for n in range(MAX_WINDOWS)]

    allowed = [counters.take(windows, client(), 1, NOW).allowed for _ in range(3)]

    assert allowed == [True, True, False]
    assert counters.snapshot().keys == MAX_WINDOWS
    with pytest.raises(StorageUnavailableError, match="TooManyLimits"):
        counters.take([*windows, A], client(), 1, NOW)


def test_a_sweep_leaves_a_burst_that_takes_longer_than_its_limits_seconds():
    counters = zone_store(clock=lambda: NOW)
    limit = Window("app|x|1|token-bucket|", 1, 1, Strategy.TOKEN_BUCKET, False, "", "", burst=100)
    counters.take([limit], client(), 100, NOW)

    sweeper_of(counters).sweep()

    assert not counters.take([limit], client(), 2, NOW + 1).allowed


def test_a_sweep_leaves_a_burst_that_a_new_policy_has_made_larger():
    counters = zone_store(clock=lambda: NOW)
    for burst, cost in ((10, 9), (100, 90)):
        limit = Window("app|x|1|token-bucket|", 1, 1, Strategy.TOKEN_BUCKET, False, "", "", burst=burst)
        assert counters.take([limit], client(), cost, NOW).allowed

    sweeper_of(counters).sweep()

    assert not counters.take([limit], client(), 20, NOW + 1).allowed


def test_a_sweep_leaves_the_longest_window_of_those_that_share_a_table():
    now = NOW
    storage = SharedMemoryStorage("shared-memory://?capacity=1MB", clock=lambda: now)
    storage.incr("short/1", 10)
    storage.incr("long/1", 3_600)

    storage.sweeper.sweep()

    assert storage.get_expiry("long/1") == NOW + 3_600
    storage.incr("long/2", 7_200)
    storage.sweeper.sweep()
    assert storage.get_expiry("long/2") == NOW + 7_200
