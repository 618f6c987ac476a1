"""Clients of chosen networks, as requests name them."""

from __future__ import annotations

from dataclasses import dataclass, field

from otel_ratelimit.core.identity import ClientKey
from otel_ratelimit.core.route_plan import KeySpec
from otel_ratelimit.policy.identity import Identifier, TrustedProxies
from otel_ratelimit.storage.counter_keys import CLIENT_KEYS, CounterKeys

IP, USER, BOTH = KeySpec("ip"), KeySpec("user"), KeySpec("ip+user")
HEADER, FUNCTION = KeySpec("header", "X-Api-Key"), KeySpec("function", "app:tenant")
IDENTIFIER = Identifier(TrustedProxies(), hash_key=b"k", cache_size=1_000_000)


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


def from_one_48(n):
    return key(f"2001:db8:bad:{n & 0xFFFF:x}::1")


def from_one_16(n):
    return key(f"203.0.{n >> 8 & 255}.{n & 255}")


def of_one_sender(n):
    return key("198.51.100.1", HEADER, headers={"X-Api-Key": f"made up {n}"})


def of_one_function(n):
    return key("2001:db8:bad::1", FUNCTION, answer=f"made up {n}")


def key(peer, spec=IP, **request):
    return IDENTIFIER.identify(spec, Request(peer, **request)).key


def sent_from(client):
    return client.network if isinstance(client, ClientKey) else network_of(client)


def network_of(client):
    return CLIENT_KEYS.network(CounterKeys(b"").of_client(client))


def used_up(counters, limit, client, now):
    """How many of twice the limit are allowed."""
    return sum(counters.take([limit], client, 1, now).allowed for _ in range(2 * limit.amount))
