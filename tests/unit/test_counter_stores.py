"""The behaviour that every counter store shares, for each of them."""

import secrets

import pytest
from counter_stores import EVERY_STORE, NOW, assert_exact, client, every_strategy, sweeper_of, window


@every_strategy()
def test_as_many_are_taken_as_the_limit_says(make, strategy):
    counters = make()

    answers = [counters.take([window(3, 60, strategy)], client(), 1, NOW) for _ in range(5)]

    assert [answer.allowed for answer in answers] == [True, True, True, False, False]
    assert [answer.states[0].used for answer in answers] == [1, 2, 3, 3, 3]
    assert [answer.states[0].remaining for answer in answers] == [2, 1, 0, 0, 0]
    assert [answer.states[0].exceeded for answer in answers] == [False, False, False, True, True]


@every_strategy()
def test_a_window_that_refuses_drains_no_other(make, strategy):
    counters = make()
    tight, roomy = window(1, 60, strategy), window(10, 3600, strategy)
    counters.take([tight, roomy], client(), 1, NOW)

    refused = counters.take([tight, roomy], client(), 1, NOW)

    assert not refused.allowed
    assert [state.used for state in refused.states] == [1, 1]
    assert [state.exceeded for state in refused.states] == [True, False]


@every_strategy()
def test_a_full_shadow_window_refuses_nothing_and_drains_no_other_shadow_window(make, strategy):
    counters = make()
    enforced = window(10, 60, strategy)
    narrow, wide = window(1, 10, strategy, shadow=True), window(5, 20, strategy, shadow=True)
    counters.take([enforced, narrow, wide], client(), 1, NOW)

    second = counters.take([enforced, narrow, wide], client(), 1, NOW)

    assert second.allowed
    assert [state.used for state in second.states] == [2, 1, 1]
    assert [state.exceeded for state in second.states] == [False, True, False]


@every_strategy()
def test_a_refusal_leaves_shadow_windows_alone(make, strategy):
    counters = make()
    enforced, shadow = window(1, 60, strategy), window(5, 20, strategy, shadow=True)
    counters.take([enforced, shadow], client(), 1, NOW)

    assert [s.used for s in counters.take([enforced, shadow], client(), 1, NOW).states] == [1, 1]


@every_strategy()
def test_a_cost_of_nothing_is_judged_and_opens_no_counter(make, strategy):
    counters = make()

    assert counters.take([window(1, 60, strategy)], client(), 0, NOW).allowed
    assert counters.snapshot().keys == 0


@every_strategy()
def test_a_cost_above_the_amount_waits_for_the_windows_length(make, strategy):
    counters = make()

    refused = counters.take([window(3, 60, strategy)], client(), 4, NOW)

    assert not refused.allowed
    assert refused.states[0].retry_after == 60.0
    assert counters.snapshot().keys == 0


@EVERY_STORE
def test_a_negative_cost_is_refused(make):
    with pytest.raises(ValueError, match="0 or more"):
        make().take([window(3, 60)], client(), -1, NOW)


@EVERY_STORE
def test_no_windows_are_no_limit(make):
    assert make().take([], client(), 1, NOW) == (True, ())


@every_strategy()
def test_peek_answers_as_take_would_and_drains_nothing(make, strategy):
    counters = make()
    windows = [window(1, 60, strategy)]

    assert counters.peek(windows, client(), 1, NOW).allowed
    assert counters.peek(windows, client(), 1, NOW).states[0].used == 0
    counters.take(windows, client(), 1, NOW)
    refused = counters.peek(windows, client(), 1, NOW)

    assert refused == counters.take(windows, client(), 1, NOW)


@every_strategy()
def test_clear_forgets_one_client_in_the_windows_given(make, strategy):
    counters = make()
    minute, hour = window(5, 60, strategy), window(5, 3600, strategy)
    for who in (client(1), client(2)):
        counters.take([minute, hour], who, 2, NOW)

    assert counters.clear([minute], client(1)) == 1
    assert counters.clear([minute], client(1)) == 0

    assert [s.used for s in counters.peek([minute, hour], client(1), 1, NOW).states] == [0, 2]
    assert [s.used for s in counters.peek([minute, hour], client(2), 1, NOW).states] == [2, 2]
    assert_exact(counters)


@every_strategy()
def test_two_windows_of_one_prefix_are_one_counter_drained_once(make, strategy):
    counters = make()
    enforced, stricter = window(10, 60, strategy), window(2, 60, strategy, shadow=True)

    for n in range(700):  # enough for shards to split in between
        answer = counters.take([enforced, stricter], client(n), 1, NOW)
        assert [state.used for state in answer.states] == [1, 1]

    assert counters.snapshot().keys == 700
    assert_exact(counters)


@every_strategy()
def test_a_clock_set_back_blocks_nobody_for_longer_than_the_next_cleanup_and_the_window(make, strategy):
    now = [NOW]
    counters = make(clock=lambda: now[0])
    limit = window(2, 60, strategy)
    for _ in range(2):
        counters.take([limit], client(), 1, NOW)

    now[0] = NOW - 31_536_000
    refused = counters.take([limit], client(), 1, now[0])
    sweeper_of(counters).sweep()

    assert not refused.allowed  # no free pass
    assert counters.peek([limit], client(), 1, now[0]).states[0].used == 2
    assert counters.take([limit], client(), 1, now[0] + 121).allowed


@EVERY_STORE
def test_the_snapshot_tells_endpoints_and_kinds_of_client(make):
    counters = make()
    list_, create = window(5, 60, scope="users.list"), window(5, 60, scope="users.create:POST")
    for kind, n in (("i", 3), ("u", 2), ("b", 1)):
        for _ in range(n):
            counters.take([list_], kind + secrets.token_hex(16), 1, NOW)
    gone = "h" + secrets.token_hex(16)
    counters.take([list_, create], gone, 1, NOW)
    counters.clear([list_], gone)

    snapshot = counters.snapshot()

    assert snapshot.keys == 7
    assert snapshot.by_endpoint == {"users.list": 6, "users.create": 1}
    assert snapshot.by_client_kind == {"ip": 3, "user": 2, "ip+user": 1, "header": 1}
    assert_exact(counters)
    assert snapshot.capacity_bytes == 1_000_000
