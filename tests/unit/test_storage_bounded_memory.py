"""The bounded store as a `CounterStore`."""

import secrets

import pytest
from variants import quick_first

from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.storage.bounded_memory import BoundedMemoryStore
from otel_ratelimit.storage.sweeper import Sweeper

NOW = 1_700_000_000.0
EVERY_STRATEGY = pytest.mark.parametrize("strategy", list(Strategy))


def window(amount, seconds, strategy=Strategy.FIXED_WINDOW, *, shadow=False, scope="users.list"):
    prefix = f"app|{scope}|{seconds}|{strategy}|"
    return Window(prefix, amount, seconds, strategy, shadow, f"{amount} per {seconds} second", "w")


def client(n=0):
    """Clients of many networks."""
    return f"i{n * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"


def neighbour(n):
    """Clients of one network, of which no `client` is."""
    return f"iffffff{n:026x}"


def weight(counters):
    return sum(table.weigh() for table in counters.tables())


def flood(counters, windows, now=NOW):
    """New clients until twenty in a row find no room; returns the last of them."""
    n, turned_away = 1_000_000, 0
    while turned_away < 20:
        n += 1
        before = counters.overflows
        counters.take(windows, client(n), 1, now)
        turned_away = turned_away + 1 if counters.overflows > before else 0
    return client(n)


@EVERY_STRATEGY
def test_as_many_are_taken_as_the_limit_says(strategy):
    counters = BoundedMemoryStore(1_000_000)

    answers = [counters.take([window(3, 60, strategy)], client(), 1, NOW) for _ in range(5)]

    assert [answer.allowed for answer in answers] == [True, True, True, False, False]
    assert [answer.states[0].used for answer in answers] == [1, 2, 3, 3, 3]
    assert [answer.states[0].remaining for answer in answers] == [2, 1, 0, 0, 0]
    assert [answer.states[0].exceeded for answer in answers] == [False, False, False, True, True]


@EVERY_STRATEGY
def test_a_window_that_refuses_drains_no_other(strategy):
    counters = BoundedMemoryStore(1_000_000)
    tight, roomy = window(1, 60, strategy), window(10, 3600, strategy)
    counters.take([tight, roomy], client(), 1, NOW)

    refused = counters.take([tight, roomy], client(), 1, NOW)

    assert not refused.allowed
    assert [state.used for state in refused.states] == [1, 1]
    assert [state.exceeded for state in refused.states] == [True, False]


@EVERY_STRATEGY
def test_a_full_shadow_window_refuses_nothing_and_drains_no_other_shadow_window(strategy):
    counters = BoundedMemoryStore(1_000_000)
    enforced = window(10, 60, strategy)
    narrow, wide = window(1, 10, strategy, shadow=True), window(5, 20, strategy, shadow=True)
    counters.take([enforced, narrow, wide], client(), 1, NOW)

    second = counters.take([enforced, narrow, wide], client(), 1, NOW)

    assert second.allowed
    assert [state.used for state in second.states] == [2, 1, 1]
    assert [state.exceeded for state in second.states] == [False, True, False]


@EVERY_STRATEGY
def test_a_refusal_leaves_shadow_windows_alone(strategy):
    counters = BoundedMemoryStore(1_000_000)
    enforced, shadow = window(1, 60, strategy), window(5, 20, strategy, shadow=True)
    counters.take([enforced, shadow], client(), 1, NOW)

    assert [s.used for s in counters.take([enforced, shadow], client(), 1, NOW).states] == [1, 1]


@EVERY_STRATEGY
def test_a_cost_of_nothing_is_judged_and_opens_no_counter(strategy):
    counters = BoundedMemoryStore(1_000_000)

    assert counters.take([window(1, 60, strategy)], client(), 0, NOW).allowed
    assert counters.snapshot().keys == 0


@EVERY_STRATEGY
def test_a_cost_above_the_amount_waits_for_the_windows_length(strategy):
    counters = BoundedMemoryStore(1_000_000)

    refused = counters.take([window(3, 60, strategy)], client(), 4, NOW)

    assert not refused.allowed
    assert refused.states[0].retry_after == 60.0
    assert counters.snapshot().keys == 0


def test_a_negative_cost_is_refused():
    with pytest.raises(ValueError, match="0 or more"):
        BoundedMemoryStore(1_000_000).take([window(3, 60)], client(), -1, NOW)


def test_no_windows_are_no_limit():
    assert BoundedMemoryStore(1_000_000).take([], client(), 1, NOW) == (True, ())


@EVERY_STRATEGY
def test_peek_answers_as_take_would_and_drains_nothing(strategy):
    counters = BoundedMemoryStore(1_000_000)
    windows = [window(1, 60, strategy)]

    assert counters.peek(windows, client(), 1, NOW).allowed
    assert counters.peek(windows, client(), 1, NOW).states[0].used == 0
    counters.take(windows, client(), 1, NOW)
    refused = counters.peek(windows, client(), 1, NOW)

    assert refused == counters.take(windows, client(), 1, NOW)


@EVERY_STRATEGY
def test_clear_forgets_one_client_in_the_windows_given(strategy):
    counters = BoundedMemoryStore(1_000_000)
    minute, hour = window(5, 60, strategy), window(5, 3600, strategy)
    for who in (client(1), client(2)):
        counters.take([minute, hour], who, 2, NOW)

    assert counters.clear([minute], client(1)) == 1
    assert counters.clear([minute], client(1)) == 0

    assert [s.used for s in counters.peek([minute, hour], client(1), 1, NOW).states] == [0, 2]
    assert [s.used for s in counters.peek([minute, hour], client(2), 1, NOW).states] == [2, 2]
    assert counters.budget.used == weight(counters)


@EVERY_STRATEGY
def test_two_windows_of_one_prefix_are_one_counter_drained_once(strategy):
    counters = BoundedMemoryStore(1_000_000)
    enforced, stricter = window(10, 60, strategy), window(2, 60, strategy, shadow=True)

    for n in range(700):  # enough for shards to split in between
        answer = counters.take([enforced, stricter], client(n), 1, NOW)
        assert [state.used for state in answer.states] == [1, 1]

    assert counters.snapshot().keys == 700
    assert counters.budget.used == weight(counters)


@pytest.mark.untraced
@EVERY_STRATEGY
def test_a_live_counter_survives_a_full_store(strategy):
    counters = BoundedMemoryStore(1_000_000)
    limit = window(3, 60, strategy)
    for _ in range(3):
        counters.take([limit], client(), 1, NOW)

    flood(counters, [limit])
    for n in range(20_000):
        counters.take([limit], client(5_000_000 + n), 1, NOW)

    assert not counters.take([limit], client(), 1, NOW).allowed
    assert counters.budget.used == weight(counters) <= 1_000_000


@EVERY_STRATEGY
def test_clients_of_a_network_that_find_no_room_share_one_bucket_of_their_limit(strategy):
    counters = BoundedMemoryStore(1_000_000)
    limit, other = window(3, 60, strategy), window(2, 60, strategy, scope="other")
    flood(counters, [limit])
    flood(counters, [other])

    allowed = [counters.take([limit], neighbour(n), 1, NOW).allowed for n in range(5)]
    allowed_other = [counters.take([other], neighbour(n), 1, NOW).allowed for n in range(4)]

    assert allowed == [True, True, True, False, False]
    assert allowed_other == [True, True, False, False]


@EVERY_STRATEGY
def test_waiting_as_told_helps_in_an_overflow_bucket_too(strategy):
    counters = BoundedMemoryStore(1_000_000)
    flood(counters, [window(1, 86_400, scope="keep")])
    limit = window(3, 60, strategy)
    flood(counters, [limit])
    for n in range(3):
        counters.take([limit], neighbour(n), 1, NOW)
    (state,) = counters.take([limit], neighbour(3), 1, NOW).states

    assert state.exceeded
    assert counters.take([limit], neighbour(3), 1, NOW + state.retry_after).allowed


def test_an_overflow_is_counted_and_told():
    counters = BoundedMemoryStore(1_000_000)
    told = []
    limit = window(1000, 60)
    unlucky = flood(counters, [limit])
    before = counters.snapshot().overflows
    counters.on_overflow(told.append)

    counters.take([limit], unlucky, 1, NOW)
    counters.peek([limit], unlucky, 1, NOW)

    assert told == [limit.prefix]
    assert counters.snapshot().overflows == before + 1


def test_a_full_store_takes_new_keys_again_when_the_old_have_expired_without_any_cleanup():
    counters = BoundedMemoryStore(1_000_000)
    limit = window(1, 60)
    unlucky = flood(counters, [limit])
    overflows = counters.overflows

    later = NOW + 61
    allowed = [counters.take([limit], client(7_000_000 + n), 1, later).allowed for n in range(3_000)]

    assert all(allowed)
    assert counters.overflows == overflows
    assert counters.take([limit], unlucky, 1, later).allowed
    assert counters.budget.used == weight(counters)


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


def test_a_policy_reloaded_in_the_middle_of_a_flood_finds_room_for_its_tables():
    counters = BoundedMemoryStore(1_000_000)
    flood(counters, [window(1, 60)])

    for n in range(5):
        assert counters.take([window(1, 60, scope=f"new{n}")], client(), 1, NOW).allowed


def test_a_store_without_room_for_one_more_table_says_that_it_is_full():
    counters = BoundedMemoryStore(1_000_000)

    many = [window(1, 60, scope=f"s{n}") for n in range(10_000)]
    with pytest.raises(StorageUnavailableError, match="full"):
        counters.take(many, client(), 1, NOW)

    assert counters.budget.used <= 1_000_000


@EVERY_STRATEGY
def test_a_clock_set_back_blocks_nobody_for_longer_than_the_next_cleanup_and_the_window(strategy):
    now = [NOW]
    counters = BoundedMemoryStore(1_000_000, clock=lambda: now[0])
    limit = window(2, 60, strategy)
    for _ in range(2):
        counters.take([limit], client(), 1, NOW)

    now[0] = NOW - 31_536_000
    refused = counters.take([limit], client(), 1, now[0])
    Sweeper(counters, 60).sweep()

    assert not refused.allowed  # no free pass
    assert counters.peek([limit], client(), 1, now[0]).states[0].used == 2
    assert counters.take([limit], client(), 1, now[0] + 121).allowed


def test_the_snapshot_tells_endpoints_and_kinds_of_client():
    counters = BoundedMemoryStore(1_000_000)
    list_, create = window(5, 60, scope="users.list"), window(5, 60, scope="users.create:POST")
    for kind, n in (("i", 3), ("u", 2), ("b", 1)):
        for _ in range(n):
            counters.take([list_], kind + secrets.token_hex(16), 1, NOW)
    gone = "h" + secrets.token_hex(16)
    counters.take([list_, create], gone, 1, NOW)
    counters.clear([list_], gone)

    snapshot = counters.snapshot()

    assert snapshot.name == "bounded-memory"
    assert snapshot.keys == 7
    assert snapshot.by_endpoint == {"users.list": 6, "users.create": 1}
    assert snapshot.by_client_kind == {"ip": 3, "user": 2, "ip+user": 1, "header": 1}
    assert snapshot.size_bytes == weight(counters)
    assert snapshot.capacity_bytes == 1_000_000
