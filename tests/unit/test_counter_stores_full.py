"""Counter stores without room for another counter: the behaviour that all share."""

import pytest
from counter_stores import EVERY_STORE, NOW, assert_exact, client, every_strategy, flood, neighbour, window


@pytest.mark.untraced
@every_strategy()
def test_a_live_counter_survives_a_full_store(make, strategy):
    counters = make()
    limit = window(3, 60, strategy)
    for _ in range(3):
        counters.take([limit], client(), 1, NOW)

    flood(counters, [limit])
    for n in range(20_000):
        counters.take([limit], client(5_000_000 + n), 1, NOW)

    assert not counters.take([limit], client(), 1, NOW).allowed
    assert_exact(counters)


@every_strategy()
def test_clients_of_a_network_that_find_no_room_share_one_bucket_of_their_limit(make, strategy):
    counters = make()
    limit, other = window(3, 60, strategy), window(2, 60, strategy, scope="other")
    flood(counters, [limit])
    flood(counters, [other])

    allowed = [counters.take([limit], neighbour(n), 1, NOW).allowed for n in range(5)]
    allowed_other = [counters.take([other], neighbour(n), 1, NOW).allowed for n in range(4)]

    assert allowed == [True, True, True, False, False]
    assert allowed_other == [True, True, False, False]


@every_strategy()
def test_waiting_as_told_helps_in_an_overflow_bucket_too(make, strategy):
    counters = make()
    flood(counters, [window(1, 86_400, scope="keep")])
    limit = window(3, 60, strategy)
    flood(counters, [limit])
    for n in range(3):
        counters.take([limit], neighbour(n), 1, NOW)
    (state,) = counters.take([limit], neighbour(3), 1, NOW).states

    assert state.exceeded
    assert counters.take([limit], neighbour(3), 1, NOW + state.retry_after).allowed


@EVERY_STORE
def test_an_overflow_is_counted_and_told(make):
    counters = make()
    told = []
    limit = window(1000, 60)
    unlucky = flood(counters, [limit])
    before = counters.snapshot().overflows
    counters.on_overflow(told.append)

    counters.take([limit], unlucky, 1, NOW)
    counters.peek([limit], unlucky, 1, NOW)

    assert told == [limit.prefix]
    assert counters.snapshot().overflows == before + 1


@EVERY_STORE
def test_a_full_store_takes_new_keys_again_when_the_old_have_expired_without_any_cleanup(make):
    counters = make()
    limit = window(1, 60)
    unlucky = flood(counters, [limit])
    overflows = counters.snapshot().overflows

    later = NOW + 61
    allowed = [counters.take([limit], client(7_000_000 + n), 1, later).allowed for n in range(3_000)]

    assert all(allowed)
    assert counters.snapshot().overflows == overflows
    assert counters.take([limit], unlucky, 1, later).allowed
    assert_exact(counters)


@EVERY_STORE
def test_a_policy_reloaded_in_the_middle_of_a_flood_finds_room_for_its_tables(make):
    counters = make()
    flood(counters, [window(1, 60)])

    for n in range(5):
        assert counters.take([window(1, 60, scope=f"new{n}")], client(), 1, NOW).allowed
