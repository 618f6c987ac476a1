"""A request gives a key for counters, of fixed size and different for each client, and never an error."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ratelimit.core.route_plan import KeySpec
from otel_ratelimit.policy.identity import UNKNOWN_ADDRESS, Identifier, TrustedProxies

NOBODY = TrustedProxies()
PROXIES = TrustedProxies.parse("10.0.0.0/8")
IP, USER, BOTH = KeySpec("ip"), KeySpec("user"), KeySpec("ip+user")
API_KEY, FUNCTION = KeySpec("header", "X-Api-Key"), KeySpec("function", "app:tenant")
LETTERS = {"ip": "i", "user": "u", "ip+user": "b", "header": "h", "function": "f"}
LOGGER = "otel_ratelimit.policy.identity.client_key"


@dataclass
class Request:
    peer: str = "198.51.100.7"
    proxied: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    answer: object = None

    def header(self, name):
        return self.headers.get(name)

    def user(self):
        return self.evaluate("user")

    def evaluate(self, path):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def identify(spec, request, **arguments):
    return Identifier(arguments.pop("trusted", NOBODY), **arguments).identify(spec, request)


@pytest.mark.parametrize(
    ("spec", "request_", "kind", "user", "fallback"),
    [
        (IP, Request(), "ip", None, ""),
        (IP, Request(answer="bob"), "ip", None, ""),
        (USER, Request(answer="bob"), "user", "bob", ""),
        (BOTH, Request(answer="bob"), "ip+user", "bob", ""),
        (USER, Request(), "ip", None, ""),
        (BOTH, Request(answer=""), "ip", None, ""),
        (BOTH, Request(answer=RuntimeError()), "ip", None, "error"),
        (API_KEY, Request(headers={"X-Api-Key": "k"}), "header", None, ""),
        (API_KEY, Request(), "ip", None, "empty"),
        (API_KEY, Request(headers={"X-Api-Key": ""}), "ip", None, "empty"),
        (FUNCTION, Request(answer="t"), "function", None, ""),
        (FUNCTION, Request(answer=None), "ip", None, "empty"),
        (FUNCTION, Request(answer=""), "ip", None, "empty"),
        (FUNCTION, Request(answer=b""), "ip", None, "empty"),
        (FUNCTION, Request(answer=False), "ip", None, "empty"),
        (FUNCTION, Request(answer=KeyError("x")), "ip", None, "error"),
        (FUNCTION, Request(answer=10**5000), "ip", None, "error"),
        (FUNCTION, Request(answer=0), "function", None, ""),
    ],
)
def test_a_key_is_of_the_wanted_kind_or_of_the_address(spec, request_, kind, user, fallback):
    found = identify(spec, request_)
    assert (found.kind, found.user, found.fallback) == (kind, user, fallback)
    assert found.address == "198.51.100.7"
    assert re.fullmatch(LETTERS[kind] + "[0-9a-f]{32}", found.key)


@pytest.mark.parametrize(
    "value",
    [
        "bob",
        b"bob",
        b"\xff\xfe",
        0,
        7,
        -1,
        "a\x00b",
        "\U0001f600",
        "\ud800",
        "x" * 1_000_000,
        UUID(int=7),
    ],
    ids=lambda value: ascii(value)[:20],
)
@pytest.mark.parametrize("spec", [USER, BOTH, FUNCTION])
def test_any_value_makes_a_key_of_the_same_size(spec, value):
    assert re.fullmatch("[ubf][0-9a-f]{32}", identify(spec, Request(answer=value)).key)


@pytest.mark.parametrize("peer", ["", "garbage", "@", "1.2.3", "x" * 100_000])
def test_clients_without_an_address_are_one_client(peer):
    found = identify(IP, Request(peer=peer))
    assert found.address == UNKNOWN_ADDRESS
    assert found.key == identify(IP, Request(peer="")).key


def test_spellings_of_one_address_are_one_client():
    keys = {
        identify(IP, Request(peer=peer)).key
        for peer in ("198.51.100.7", "::ffff:198.51.100.7", "198.51.100.7:80", "[::ffff:198.51.100.7]:80")
    }
    assert len(keys) == 1


def test_an_ipv6_network_is_one_client_and_its_address_stays_whole():
    one, other, far = (
        Request(peer=peer) for peer in ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1")
    )
    assert identify(IP, one).key == identify(IP, other).key != identify(IP, far).key
    assert identify(IP, one, ipv6_prefix=128).key != identify(IP, other, ipv6_prefix=128).key
    assert identify(IP, one, ipv6_prefix=48).key == identify(IP, far, ipv6_prefix=48).key
    assert identify(IP, other).address == "2001:db8:0:1:ffff::2"


def test_a_user_is_one_client_everywhere_unless_the_address_counts_too():
    here, there = Request(answer="bob"), Request(peer="203.0.113.9", answer="bob")
    assert identify(USER, here).key == identify(USER, there).key
    assert identify(BOTH, here).key != identify(BOTH, there).key


def test_the_address_is_the_one_that_trusted_proxies_vouch_for():
    request = Request(peer="10.0.0.1", headers={"X-Forwarded-For": "6.6.6.6, 198.51.100.7"})
    assert identify(IP, request, trusted=PROXIES) == identify(IP, Request())
    assert identify(IP, request).address == "10.0.0.1"


def test_a_user_named_like_an_address_is_not_that_address():
    keys = {
        identify(spec, Request(headers={"X-Api-Key": "198.51.100.7"}, answer="198.51.100.7")).key[1:]
        for spec in (IP, USER, BOTH, API_KEY, FUNCTION)
    }
    assert len(keys) == 5


PARTS = st.lists(st.text(alphabet=st.characters(exclude_categories=())), max_size=4)


@given(PARTS, PARTS)
def test_no_two_lists_of_parts_are_written_alike(one, other):
    identifier = Identifier(NOBODY)
    assert (identifier._digest(one) == identifier._digest(other)) == (one == other)


@given(PARTS.filter(bool), st.integers(0, 3))
def test_moving_a_border_between_parts_makes_another_client(parts, cut):
    joined = "".join(parts)
    moved = [joined[:cut], joined[cut:]]
    identifier = Identifier(NOBODY)
    assert (identifier._digest(moved) == identifier._digest(parts)) == (moved == parts)


def test_the_hash_key_changes_every_key_and_all_of_it_counts():
    long = b"k" * 64
    keys = {
        identify(IP, Request(), hash_key=key).key
        for key in (b"", b"a", b"b", long, long + b"1", long + b"2", b"k" * 1000)
    }
    assert len(keys) == 7
    assert identify(IP, Request(), hash_key=b"a").key == identify(IP, Request(), hash_key=b"a").key


def test_keys_without_a_hash_key_stay_the_same_across_releases():
    # Counters in a shared store outlive a deployment.
    assert identify(IP, Request()).key == "if8a3caee662de1da6ef0de82020aa2b1"
    assert identify(USER, Request(answer="bob")).key == "u8e9048245b39a02314676c0ef7bd96f6"


def test_what_is_remembered_is_bounded_in_number_and_size():
    identifier = Identifier(NOBODY, cache_size=8)
    for index in range(50):
        identifier.identify(USER, Request(answer=f"u{index}"))
        identifier.identify(USER, Request(answer=f"{index}" + "x" * 10_000))
        identifier.identify(IP, Request(peer=f"{index}" + "x" * 10_000))
    assert identifier._by_peer.cache_info().currsize == 8
    fresh = Identifier(NOBODY)
    fresh.identify(USER, Request(answer="x" * 10_000))
    fresh.identify(IP, Request(peer="x" * 10_000))
    assert fresh._by_peer.cache_info().currsize == 0


def test_what_is_remembered_of_forwarding_headers_is_bounded_too():
    identifier = Identifier(PROXIES, cache_size=8)
    for index in range(50):
        for claims in ("", "6.6.6.6, " * 1000):
            header = {"X-Forwarded-For": f"{claims}198.51.100.{index}, 10.0.0.2"}
            found = identifier.identify(IP, Request("10.0.0.1", headers=header))
            assert found.address == f"198.51.100.{index}"
    assert identifier._by_headers.cache_info().currsize == 8


def test_a_remembered_header_answers_for_its_own_peer_and_kind_only():
    identifier = Identifier(PROXIES)

    def address(peer, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return identifier.identify(IP, Request(peer, headers=headers)).address

    for _ in range(2):
        assert address("10.0.0.1", X_Forwarded_For="198.51.100.1") == "198.51.100.1"
        assert address("8.8.8.8", X_Forwarded_For="198.51.100.1") == "8.8.8.8"
        assert address("10.0.0.1", Forwarded="198.51.100.1") == "10.0.0.1"
        assert address("10.0.0.2", X_Forwarded_For="garbage") == "10.0.0.2"


FORWARDED = {"X-Forwarded-For": "198.51.100.7"}


@pytest.mark.parametrize(
    ("request_", "trusted", "named"),
    [
        (Request(peer="10.0.0.1", headers=FORWARDED), NOBODY, "OTEL_RATELIMIT_TRUSTED_PROXIES=10.0.0.1"),
        (Request(peer="127.0.0.1", headers={"Forwarded": "for=1.2.3.4"}), NOBODY, "PROXIES=127.0.0.1"),
        (Request(peer="fd00::1", headers=FORWARDED), PROXIES, "PROXIES=fd00::1"),
        (Request(peer="", headers=FORWARDED), NOBODY, "PROXIES=unix"),
        (Request(peer="10.0.0.1", headers=FORWARDED), PROXIES, None),
        (Request(peer="", headers=FORWARDED), TrustedProxies.parse("unix"), None),
        (Request(peer="8.8.8.8", headers=FORWARDED), NOBODY, None),
        (Request(peer="garbage", headers=FORWARDED), NOBODY, None),
        (Request(peer="10.0.0.1"), NOBODY, None),
        (Request(peer="10.0.0.1", headers={"X-Forwarded-For": ""}), NOBODY, None),
        (Request(peer="10.0.0.1", headers=FORWARDED, proxied=True), NOBODY, None),
    ],
)
def test_a_private_peer_that_forwards_and_is_not_trusted_is_warned_of_once(request_, trusted, named, caplog):
    identifier = Identifier(trusted)
    with caplog.at_level(logging.WARNING, LOGGER):
        for _ in range(3):
            identifier.identify(IP, request_)
    assert len(caplog.records) == (named is not None)
    assert (named or "") in caplog.text


def test_a_warning_withheld_once_still_comes(caplog):
    identifier = Identifier(NOBODY)
    with caplog.at_level(logging.WARNING, LOGGER):
        identifier.identify(IP, Request(peer="8.8.8.8", headers=FORWARDED))
        identifier.identify(IP, Request(peer="10.0.0.1", headers=FORWARDED))
    assert len(caplog.records) == 1


ANYTHING = st.text(max_size=40) | st.text(alphabet='for=".,;:[]\\ 0123456789abcdef%_', max_size=60)


@given(
    spec=st.sampled_from([IP, USER, BOTH, API_KEY, FUNCTION]),
    peer=ANYTHING,
    headers=st.dictionaries(st.sampled_from(["X-Forwarded-For", "Forwarded", "X-Api-Key"]), ANYTHING),
    answer=st.none() | st.text() | st.binary() | st.integers() | st.floats() | st.just(RuntimeError("no")),
    trusted=st.sampled_from([NOBODY, PROXIES, TrustedProxies.parse("unix")]),
)
def test_whatever_is_sent_there_is_a_key(spec, peer, headers, answer, trusted):
    found = identify(spec, Request(peer=peer, headers=headers, answer=answer), trusted=trusted)
    assert re.fullmatch("[iubhf][0-9a-f]{32}", found.key)


@given(
    peer=st.ip_addresses().map(str),
    headers=st.dictionaries(st.sampled_from(["X-Forwarded-For", "Forwarded"]), ANYTHING),
)
def test_no_header_moves_an_untrusted_peer_to_another_key(peer, headers):
    assert identify(IP, Request(peer=peer, headers=headers)) == identify(IP, Request(peer=peer))


def test_the_same_value_in_another_header_is_another_client():
    request = Request(headers={"X-Api-Key": "k", "X-Other": "k"})
    assert identify(API_KEY, request).key != identify(KeySpec("header", "X-Other"), request).key
