"""No network can take the store from the others, nor can many from a network without attackers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from variants import quick_first

from otel_ratelimit.core.identity import ClientKey
from otel_ratelimit.core.route_plan import KeySpec, Strategy, Window
from otel_ratelimit.policy.identity import Identifier, TrustedProxies
from otel_ratelimit.storage.bounded_memory import BoundedMemoryStore
from otel_ratelimit.storage.counter_keys import CLIENT_KEYS, TEXT_KEYS, CounterKeys
from otel_ratelimit.storage.limits_adapter import BoundedMemoryStorage
from otel_ratelimit.storage.memory_budget import ENTRY_BYTES
from otel_ratelimit.storage.sweeper import Sweeper

NOW = 1_700_000_000.0
CAPACITY = 1_000_000
EVERY_STRATEGY = pytest.mark.parametrize("strategy", quick_first(Strategy))
IP, USER, BOTH = KeySpec("ip"), KeySpec("user"), KeySpec("ip+user")
HEADER, FUNCTION = KeySpec("header", "X-Api-Key"), KeySpec("function", "app:tenant")


@dataclass
class Request:
    peer: str
    headers: dict[str, str] = field(default_factory=dict)
    answer: object = None
    proxied: bool = False

    def header(self, name):
        return self.headers.get(name)

    def user(self):
        return self.answer

    def evaluate(self, _path):
        return self.answer


def window(amount, seconds, strategy=Strategy.FIXED_WINDOW, scope="users.list"):
    return Window(f"app|{scope}|{seconds}|{strategy}|", amount, seconds, strategy, False, "", "")


IDENTIFIER = Identifier(TrustedProxies(), hash_key=b"k", cache_size=1_000_000)


def key(peer, spec=IP, **request):
    return IDENTIFIER.identify(spec, Request(peer, **request)).key


def from_one_48(n):
    return key(f"2001:db8:bad:{n & 0xFFFF:x}::1")


def from_one_16(n):
    return key(f"203.0.{n >> 8 & 255}.{n & 255}")


def of_one_sender(n):
    return key("198.51.100.1", HEADER, headers={"X-Api-Key": f"made up {n}"})


def of_one_function(n):
    return key("2001:db8:bad::1", FUNCTION, answer=f"made up {n}")


def network_of(client):
    return CLIENT_KEYS.network(CounterKeys(b"").of_client(client))


def sent_from(client):
    return client.network if isinstance(client, ClientKey) else network_of(client)


def used_up(counters, limit, client, now):
    """How many of twice the limit are allowed."""
    return sum(counters.take([limit], client, 1, now).allowed for _ in range(2 * limit.amount))


@pytest.mark.untraced
@pytest.mark.parametrize(
    "attacker", quick_first([from_one_48, from_one_16, of_one_sender, of_one_function], 2)
)
@EVERY_STRATEGY
def test_a_flood_from_one_network_leaves_all_others_their_limit_window_after_window(attacker, strategy):
    now = NOW
    counters = BoundedMemoryStore(CAPACITY, clock=lambda: now)
    sweeper = Sweeper(counters, 60, rest=lambda _seconds: None)
    limit = window(7, 60, strategy)
    old = [key(f"192.0.{n}.1") for n in range(3)] + [key(f"2a0{n}:7::1") for n in range(5)]
    for round_ in range(5):
        now = NOW + round_ * 120  # where a sliding window has forgotten the last round
        new = [key(f"{11 + round_}.{n}.3.4") for n in range(5)] + [
            key(f"2c0{round_}:{n}::1") for n in range(5)
        ]
        for n in range(9_000):
            counters.take([limit], attacker(n + round_ * 3_000), 1, now)
            if n == 4_500:
                sweeper.sweep()

        allowed = [used_up(counters, limit, client, now) for client in old + new]

        assert allowed == [7] * 18
        assert counters.overflows
        assert counters.budget.used <= CAPACITY


def test_a_flood_of_header_values_leaves_those_who_send_the_header_elsewhere_their_limit():
    counters = BoundedMemoryStore(CAPACITY)
    limit = window(7, 3600)
    for n in range(20_000):
        counters.take([limit], of_one_sender(n), 1, NOW)

    elsewhere = [key("192.0.2.1", HEADER, headers={"X-Api-Key": f"bought {n}"}) for n in range(100)]

    assert [used_up(counters, limit, client, NOW) for client in elsewhere] == [7] * 100


@pytest.mark.parametrize("seconds", [60, 3600])
@EVERY_STRATEGY
def test_lists_of_one_network_leave_room_for_those_of_others(strategy, seconds):
    counters = BoundedMemoryStore(CAPACITY)
    limit = window(2_000, seconds, strategy)
    for n in range(300):
        counters.take([limit], from_one_48(n), 1_900, NOW)

    assert used_up(counters, limit, key("192.0.2.1"), NOW) == 2_000
    assert counters.budget.used <= CAPACITY


def test_one_network_gets_half_of_the_room_and_several_share_it():
    counters = BoundedMemoryStore(CAPACITY)
    limit = window(1, 3600)
    for n in range(9_000):
        counters.take([limit], from_one_48(n), 1, NOW)
    alone = counters.snapshot().keys
    for n in range(20_000):
        counters.take([limit], key(f"2001:db8:{n % 4}:{n:x}::1"), 1, NOW)

    shared = counters.snapshot().keys

    assert 0.35 < alone * 112 / CAPACITY < 0.5
    assert 0.6 < shared * 112 / CAPACITY < 0.85
    assert used_up(counters, limit, key("192.0.2.1"), NOW) == 1


@pytest.mark.untraced
@EVERY_STRATEGY
def test_a_botnet_that_fills_the_store_meets_its_own_networks_buckets(strategy):
    counters = BoundedMemoryStore(5_000_000)
    limit = window(7, 3600, strategy)
    live = [key(f"192.{n}.2.1") for n in range(50)]
    for n, client in enumerate(live):
        counters.take([limit], client, 1 + n % 7, NOW)
    for n in range(50_000):  # a thousand networks
        counters.take([limit], key(f"2001:db8:{n % 1_000:x}:{n:x}::1"), 1, NOW)
    assert counters.overflows > 10_000

    left = [used_up(counters, limit, client, NOW) for client in live]
    strangers = [used_up(counters, limit, key(f"2a0{n % 10}:{n}::1"), NOW) for n in range(200)]

    assert left == [7 - 1 - n % 7 for n in range(50)]
    assert strangers.count(7) >= 195  # one in ninety shares a network's bucket by chance
    assert counters.budget.used <= 5_000_000


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


def test_a_flood_from_everywhere_leaves_room_for_the_tables_of_routes_not_asked_before():
    counters = BoundedMemoryStore(CAPACITY)
    flooded = [window(5, seconds, scope="flooded") for seconds in (60, 3600)]
    for n in range(30_000):
        counters.take(flooded, key(f"2001:{n // 8:x}:{n % 8}::1"), 1, NOW)

    for n in range(10):
        assert used_up(counters, window(5, 60, scope=f"quiet{n}"), key("192.0.2.1"), NOW) == 5


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


@pytest.mark.parametrize("seconds", [60, 3600])
def test_a_value_of_a_header_or_function_is_one_client_wherever_it_comes_from(seconds):
    counters = BoundedMemoryStore(CAPACITY)
    limit = window(5, seconds)
    for request in ({"spec": HEADER, "headers": {"X-Api-Key": "k"}}, {"spec": FUNCTION, "answer": "t"}):
        sent = [key(f"{n}.1.1.1", **request) for n in range(20)]

        assert len(set(sent)) == 1
        assert len({client.network for client in sent}) == 20
        assert sum(counters.take([limit], client, 1, NOW).allowed for client in sent) == 5


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
