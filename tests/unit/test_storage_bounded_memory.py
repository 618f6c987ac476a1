"""The bounded store: its budget, and the steps in which it searches for room."""

import pytest
from counter_stores import NOW, client, flood, window
from variants import quick_first

from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.core.route_plan import Strategy
from otel_ratelimit.storage.bounded_memory import BoundedMemoryStore

EVERY_STRATEGY = pytest.mark.parametrize("strategy", list(Strategy))


def weight(counters):
    return sum(table.weigh() for table in counters.tables())


def test_a_flood_against_a_full_store_searches_each_shard_once_a_second_at_most():
    counters = BoundedMemoryStore(1_000_000)
    limit = window(1, 3600)
    flood(counters, [limit])
    (table,) = counters.tables()
    searched = []
    counters.reclaim(NOW)
    table_class = type(table)
    original = table_class.sweep

    def counting(self, index, now, overdue=None):
        searched.append(index)
        return original(self, index, now, overdue)

    table_class.sweep = counting
    try:
        for n in range(5_000):
            counters.take([limit], client(7_000_000 + n), 1, NOW + 0.5)
    finally:
        table_class.sweep = original

    assert len(searched) <= len(table.depths)


@pytest.mark.untraced
@pytest.mark.parametrize("capacity", quick_first([1_000_000, 2_000_000, 5_000_000]))
@EVERY_STRATEGY
def test_the_memory_in_use_never_exceeds_the_capacity_and_is_exact(capacity, strategy):
    counters = BoundedMemoryStore(capacity)
    windows = [window(50, 60, strategy), window(500, 3600, strategy)]
    highest = 0
    for n in range(capacity // 40):
        counters.take(windows, client(n % (capacity // 60)), 1 + n % 3, NOW + n / 1e5)
        highest = max(highest, counters.budget.used)

    assert counters.overflows
    assert highest <= capacity
    assert counters.budget.used == weight(counters)


def test_a_moving_window_that_cannot_grow_refuses_until_units_expire():
    counters = BoundedMemoryStore(1_000_000)
    limit = window(200_000, 60, Strategy.MOVING_WINDOW)
    taken = 0
    while counters.take([limit], client(), 1000, NOW + taken / 1e6).allowed:
        taken += 1000

    (state,) = counters.peek([limit], client(), 1000, NOW + 1).states

    assert taken < 200_000
    assert counters.budget.used <= 1_000_000
    assert counters.take([limit], client(), 1000, NOW + 1 + state.retry_after).allowed


def test_a_store_without_room_for_one_more_table_says_that_it_is_full():
    counters = BoundedMemoryStore(1_000_000)

    many = [window(1, 60, scope=f"s{n}") for n in range(10_000)]
    with pytest.raises(StorageUnavailableError, match="full"):
        counters.take(many, client(), 1, NOW)

    assert counters.budget.used <= 1_000_000
