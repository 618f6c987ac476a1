"""In no counter store can a network take the room from the others, nor can many those without attackers."""

import pytest
from counter_stores import (
    EVERY_STORE,
    NOW,
    assert_exact,
    every_strategy,
    in_process,
    room_of,
    sweeper_of,
    window,
)
from networks import (
    FUNCTION,
    HEADER,
    from_one_16,
    from_one_48,
    key,
    of_one_function,
    of_one_sender,
    used_up,
)
from variants import quick_first


@pytest.mark.untraced
@pytest.mark.parametrize(
    "attacker", quick_first([from_one_48, from_one_16, of_one_sender, of_one_function], 2)
)
@every_strategy(quick=1)
def test_a_flood_from_one_network_leaves_all_others_their_limit_window_after_window(attacker, make, strategy):
    now = NOW
    counters = make(clock=lambda: now)
    sweeper = sweeper_of(counters)
    limit = window(7, 60, strategy)
    room = room_of(counters)
    old = [key(f"192.0.{n}.1") for n in range(3)] + [key(f"2a0{n}:7::1") for n in range(5)]
    for round_ in range(3):
        now = NOW + round_ * 120  # where a sliding window has forgotten the last round
        new = [key(f"{11 + round_}.{n}.3.4") for n in range(5)] + [
            key(f"2c0{round_}:{n}::1") for n in range(5)
        ]
        for n in range(room):
            counters.take([limit], attacker(n + round_ * 3_000), 1, now)
            if n == room // 2:
                sweeper.sweep()

        allowed = [used_up(counters, limit, client, now) for client in old + new]

        assert allowed == [7] * 18
        assert counters.snapshot().overflows
        assert_exact(counters)


@EVERY_STORE
def test_a_flood_of_header_values_leaves_those_who_send_the_header_elsewhere_their_limit(make):
    counters = make()
    limit = window(7, 3600)
    for n in range(20_000):
        counters.take([limit], of_one_sender(n), 1, NOW)

    elsewhere = [key("192.0.2.1", HEADER, headers={"X-Api-Key": f"bought {n}"}) for n in range(100)]

    assert [used_up(counters, limit, client, NOW) for client in elsewhere] == [7] * 100


@EVERY_STORE
def test_one_network_gets_half_of_the_room_and_several_share_it(make):
    counters = make()
    limit = window(1, 3600)
    room = room_of(counters)
    for n in range(room):
        counters.take([limit], from_one_48(n), 1, NOW)
    alone = counters.snapshot().keys
    for n in range(2 * room):
        counters.take([limit], key(f"2001:db8:{n % 4}:{n:x}::1"), 1, NOW)

    shared = counters.snapshot().keys

    assert 0.35 < alone / room < 0.51
    assert 0.6 < shared / room < 0.91
    assert used_up(counters, limit, key("192.0.2.1"), NOW) == 1


@pytest.mark.untraced
@every_strategy(quick=1)
def test_a_botnet_that_fills_the_store_meets_its_own_networks_buckets(make, strategy):
    counters = make(5_000_000 if make is in_process else 1_500_000)
    limit = window(7, 3600, strategy)
    live = [key(f"192.{n}.2.1") for n in range(50)]
    for n, client in enumerate(live):
        counters.take([limit], client, 1 + n % 7, NOW)
    room = room_of(counters)
    for n in range(room * 5 // 4):  # a thousand networks
        counters.take([limit], key(f"2001:db8:{n % 1_000:x}:{n:x}::1"), 1, NOW)
    assert counters.snapshot().overflows > room // 5

    left = [used_up(counters, limit, client, NOW) for client in live]
    strangers = [used_up(counters, limit, key(f"2a0{n % 10}:{n}::1"), NOW) for n in range(200)]

    assert left == [7 - 1 - n % 7 for n in range(50)]
    assert strangers.count(7) >= 195  # one in ninety shares a network's bucket by chance
    assert_exact(counters)


@EVERY_STORE
def test_a_flood_from_everywhere_leaves_room_for_the_tables_of_routes_not_asked_before(make):
    counters = make()
    flooded = [window(5, seconds, scope="flooded") for seconds in (60, 3600)]
    for n in range(30_000):
        counters.take(flooded, key(f"2001:{n // 8:x}:{n % 8}::1"), 1, NOW)

    for n in range(10):
        assert used_up(counters, window(5, 60, scope=f"quiet{n}"), key("192.0.2.1"), NOW) == 5


@EVERY_STORE
@pytest.mark.parametrize("seconds", [60, 3600])
def test_a_value_of_a_header_or_function_is_one_client_wherever_it_comes_from(make, seconds):
    counters = make()
    limit = window(5, seconds)
    for request in ({"spec": HEADER, "headers": {"X-Api-Key": "k"}}, {"spec": FUNCTION, "answer": "t"}):
        sent = [key(f"{n}.1.1.1", **request) for n in range(20)]

        assert len(set(sent)) == 1
        assert len({client.network for client in sent}) == 20
        assert sum(counters.take([limit], client, 1, NOW).allowed for client in sent) == 5
