"""The networks of the store in the process: its budget for each, and the keys that name them."""

from __future__ import annotations

from collections import Counter

import pytest
from counter_stores import CAPACITY, NOW, window
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import (
    BOTH,
    FUNCTION,
    HEADER,
    USER,
    from_one_16,
    from_one_48,
    key,
    network_of,
    of_one_sender,
    sent_from,
    used_up,
)
from variants import quick_first

from otel_ratelimit.core.route_plan import Strategy
from otel_ratelimit.storage.bounded_memory import BoundedMemoryStore
from otel_ratelimit.storage.counter_keys import TEXT_KEYS, CounterKeys
from otel_ratelimit.storage.limits_adapter import BoundedMemoryStorage
from otel_ratelimit.storage.memory_budget import ENTRY_BYTES
from otel_ratelimit.storage.sweeper import Sweeper

EVERY_STRATEGY = pytest.mark.parametrize("strategy", quick_first(Strategy))


@pytest.mark.parametrize("seconds", [60, 3600])
@EVERY_STRATEGY
def test_lists_of_one_network_leave_room_for_those_of_others(strategy, seconds):
    counters = BoundedMemoryStore(CAPACITY)
    limit = window(2_000, seconds, strategy)
    for n in range(300):
        counters.take([limit], from_one_48(n), 1_900, NOW)

    assert used_up(counters, limit, key("192.0.2.1"), NOW) == 2_000
    assert counters.budget.used <= CAPACITY


@pytest.mark.untraced
def test_buckets_are_bounded_and_go_when_they_have_expired():
    now = NOW
    counters = BoundedMemoryStore(CAPACITY, clock=lambda: now)
    limits = [window(1, 60, scope=f"s{n}") for n in range(4)]
    highest = 0
    for n in range(30_000):
        counters.take(limits, key(f"2001:{n // 8:x}:{n % 8}::1"), 1, now)
        highest = max(highest, counters.budget.used)
    buckets = sum(len(table.overflow.cells) for table in counters.tables())

    now += 121
    Sweeper(counters, 60, rest=lambda _seconds: None).sweep()

    assert highest <= CAPACITY
    assert 100 < buckets < 1_000
    assert counters.budget.used == 0
    assert not counters.tables()


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(list(Strategy)),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 400), st.integers(1, 5)), max_size=30),
)
def test_what_each_network_holds_is_exact(strategy, steps):
    now = NOW
    counters = BoundedMemoryStore(CAPACITY, clock=lambda: now)
    sweeper = Sweeper(counters, 60, rest=lambda _seconds: None)
    limits = [window(40, 10, strategy), window(90, 60, strategy)]
    clients = [key(f"{n % 7}.1.2.{n}") for n in range(50)]
    clients += [key(f"{n % 7}.1.2.{n}", HEADER, headers={"X-Api-Key": f"{n}"}) for n in range(50)]
    for what, n, cost in steps:
        if what <= 1:
            for client in clients[: n // 4]:
                counters.take(limits, client, cost, now)
        elif what == 2:
            counters.clear(limits, clients[n % 100])
        elif what == 3:
            now += n / 10
        elif n == 1:
            counters.reset()
        else:
            sweeper.sweep()

        held = Counter()
        for table in counters.tables():
            for index in table.depths:
                for each, value in table.shards[index].items():
                    size = table.form.size(each) + table.rules.size(value) + ENTRY_BYTES
                    held[table.network_of(each) % counters.budget.network_slots] += size
        assert counters.budget.used == sum(table.weigh() for table in counters.tables())
        noted = sum(len(shard) for table in counters.tables() for shard in table.senders.shards.values())
        assert noted == counters.snapshot().by_client_kind.get("header", 0)
        found = {n: size for n, size in enumerate(counters.budget.networks) if size}
        assert found == dict(held)


def test_a_network_is_a_48_or_a_16_and_each_kind_of_key_apart():
    assert network_of(from_one_48(1)) == network_of(from_one_48(60_000))
    assert network_of(from_one_48(1)) != network_of(key("2001:db8:bae:1::1"))
    assert network_of(from_one_16(1)) == network_of(from_one_16(60_000))
    assert network_of(from_one_16(1)) != network_of(key("203.1.0.1"))
    kinds = [
        key("203.0.0.1"),
        key("203.0.0.1", BOTH, answer="bob"),
        of_one_sender(1),
        key("198.51.100.1", FUNCTION, answer="bob"),
    ]
    assert len({sent_from(kind) for kind in kinds}) == len(kinds)
    assert sent_from(of_one_sender(1)) == sent_from(of_one_sender(2))


def test_a_user_is_the_same_client_wherever_he_comes_from():
    assert key("203.0.0.1", USER, answer="bob") == key("2001:db8::1", USER, answer="bob")
    assert network_of(key("203.0.0.1", USER, answer="bob")) != network_of(
        key("203.0.0.1", USER, answer="eve")
    )


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.1.1", "203.0.77.2", True),
        ("203.0.1.1", "203.1.1.1", False),
        ("2001:db8:1:2::3", "2001:db8:1:4:5:6:7:8", True),
        ("2001:db8:1:2::3", "2001:db8:2:2::3", False),
        ("bob", "eve", True),
        ("key:1", "key:2", True),
        (from_one_48(1), from_one_48(2), True),
        (from_one_48(1), key("203.0.0.1"), False),
    ],
)
@pytest.mark.parametrize("tail", ["view/5/1/minute", "x" * 100 + "/5/1/minute", "\xfc/5/1/minute"])
def test_texts_of_limits_name_the_network_of_the_address_in_them(one, other, same, tail):
    keys = CounterKeys(b"secret")
    one, other = (TEXT_KEYS.network(keys.of_text(f"LIMITER/{who}/{tail}")) for who in (one, other))

    assert (one == other) is same


def test_the_interface_of_limits_keeps_networks_apart_as_well():
    storage = BoundedMemoryStorage(capacity="1MB")
    for n in range(10_000):
        storage.incr(f"LIMITER/2001:db8:bad:{n:x}::1/view/5/1/hour", 3600)
    for n in range(10_000):
        storage.acquire_entry(f"LIMITER/made up {n}/view/5/1/hour", 5, 3600)

    hits = [storage.incr("LIMITER/192.0.2.1/view/5/1/hour", 3600) for _ in range(7)]
    taken = [storage.acquire_entry("LIMITER/192.0.2.1/view/5/1/hour", 5, 3600) for _ in range(7)]

    assert hits == [1, 2, 3, 4, 5, 6, 7]
    assert taken == [True] * 5 + [False] * 2


def test_a_text_cannot_name_a_network_as_a_hashed_text_does():
    keys = CounterKeys(b"secret")
    hashed = keys.of_text("LIMITER/203.0.113.1/" + "x" * 100)

    assert TEXT_KEYS.network(hashed) == TEXT_KEYS.network(keys.of_text("LIMITER/203.0.113.1/x"))
    assert TEXT_KEYS.network(f"LIMITER{hashed}") == TEXT_KEYS.network("LIMITER/bob/x")
