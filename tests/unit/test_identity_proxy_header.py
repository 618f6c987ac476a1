"""One header is read, as far as the operator counts or names proxies; all else is the client's claim."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_ratelimit.core.errors import Problem, SettingsError
from otel_ratelimit.core.route_plan import KeySpec
from otel_ratelimit.core.settings import settings_from
from otel_ratelimit.policy.identity import Identifier, TrustedProxies, find_client_address
from otel_ratelimit.policy.identity.proxy_header import ProxyHeader

PROXY, CLIENT, LB = "10.0.0.1", "198.51.100.7", "34.1.2.3"


@pytest.mark.parametrize(
    ("given_", "name", "form"),
    [
        ("X-Forwarded-For", "X-Forwarded-For", "list"),
        (" x-forwarded-for ", "X-Forwarded-For", "list"),
        ("FORWARDED", "Forwarded", "forwarded"),
        ("cf-connecting-ip", "CF-Connecting-IP", "single"),
        ("True-Client-IP", "True-Client-IP", "single"),
        ("X-Real-IP", "X-Real-IP", "single"),
        ("Fly-Client-IP", "Fly-Client-IP", "single"),
        ("X-Our-Edge-Forwarded-For", "X-Our-Edge-Forwarded-For", "list"),
        ("X-Our-Edge-Client", "X-Our-Edge-Client", "single"),
    ],
)
def test_a_header_is_read_as_its_name_says(given_, name, form):
    assert ProxyHeader.parse(given_) == ProxyHeader(name, form)


@pytest.mark.parametrize(
    ("given_", "what"),
    [
        ("X-Forwarded-Fro", "is not a known header; did you mean X-Forwarded-For?"),
        ("X-Real-IPs", "is not a known header; did you mean X-Real-IP?"),
        ("Forward", "is not a known header; did you mean Forwarded?"),
        ("HTTP_X_FORWARDED_FOR", "is not how the header is written; write X-Forwarded-For"),
        ("X_Real_IP", "is not how the header is written; write X-Real-IP"),
        ("X-Forwarded-For:", "is not how the header is written; write X-Forwarded-For"),
        ("X-Forwarded-For, Forwarded", "names more than one header; name the one that your proxies write"),
        ("X-Forwarded-For Forwarded", "names more than one header"),
        ("X_Our_Edge", "is not the name of a header; write for instance X-Forwarded-For"),
        ("\u00fc", "is not the name of a header"),
        ('"', "is not the name of a header"),
        ("X-Forwarded-Host", "does not hold the client's address alone; write X-Forwarded-For, Forwarded or"),
        ("X-Original-Forwarded-For", "does not hold the client's address alone"),
        ("Remote-Addr", "does not hold the client's address alone"),
        ("Host", "does not hold the client's address alone"),
    ],
)
def test_a_bad_name_is_refused_with_what_would_be_right(given_, what):
    problem = ProxyHeader.parse(given_)
    assert isinstance(problem, Problem)
    assert str(problem).startswith(f"OTEL_RATELIMIT_PROXY_HEADER: {given_!r} {what}")


@pytest.mark.parametrize("hops", [-1, 33, 1.0, "2", True, None])
def test_a_number_of_hops_that_is_none_is_refused(hops):
    with pytest.raises(SettingsError, match=r"OTEL_RATELIMIT_TRUSTED_HOPS: .* is not a number of proxies"):
        TrustedProxies.parse("", hops)


@pytest.mark.parametrize("raw", ["-1", "two", "1.5", "\u0662", "0x2"])
def test_hops_of_the_environment_are_a_number(raw):
    with pytest.raises(SettingsError, match=r"OTEL_RATELIMIT_TRUSTED_HOPS: .* is not a number of proxies"):
        settings_from({"OTEL_RATELIMIT_TRUSTED_HOPS": raw})
    assert settings_from({"OTEL_RATELIMIT_TRUSTED_HOPS": " 2 "}).trusted_hops == 2


def test_everything_that_is_wrong_with_the_proxies_is_said_at_once():
    with pytest.raises(SettingsError) as caught:
        TrustedProxies.parse("10/8", 99, "Host")
    assert len(caught.value.problems) == 3


def test_one_address_has_no_hops_to_count():
    with pytest.raises(SettingsError, match="2 proxies cannot be counted in CF-Connecting-IP"):
        TrustedProxies.parse("", 2, "CF-Connecting-IP")
    assert TrustedProxies.parse("", 1, "CF-Connecting-IP").hops == 1


HOPS = [
    # hops, peer, header, client
    (1, PROXY, "198.51.100.7", CLIENT),
    (1, PROXY, "6.6.6.6, 198.51.100.7", CLIENT),
    (1, PROXY, "198.51.100.7:4711", CLIENT),
    (1, "8.8.8.8", "198.51.100.7", CLIENT),
    (1, "", "198.51.100.7", CLIENT),
    (1, "not-an-address", "198.51.100.7", "unknown"),
    (2, PROXY, "198.51.100.7, 34.1.2.3", CLIENT),
    (2, PROXY, "6.6.6.6, 198.51.100.7, 34.1.2.3", CLIENT),
    (2, PROXY, "198.51.100.7, unknown", CLIENT),
    (2, PROXY, "198.51.100.7, ", CLIENT),
    (3, PROXY, "10.0.0.9, 10.0.0.8, 10.0.0.7", "10.0.0.9"),
    # The outermost wrote no address: the proxy next to it is all that is known.
    (2, PROXY, "6.6.6.6, unknown, 34.1.2.3", LB),
    (1, PROXY, "6.6.6.6, unknown", PROXY),
    (2, PROXY, "6.6.6.6, unknown, unknown", PROXY),
    # Fewer entries than proxies: not through all of them, so that the leftmost may be anybody's.
    (2, PROXY, "6.6.6.6", PROXY),
    (3, PROXY, "6.6.6.6, 7.7.7.7", PROXY),
    (1, PROXY, None, PROXY),
    (1, PROXY, "", PROXY),
    (1, "8.8.8.8", "", "8.8.8.8"),
]


@pytest.mark.parametrize(("hops", "peer", "header", "client"), HOPS)
def test_hops_count_entries_from_the_right(hops, peer, header, client):
    assert find_client_address(peer, header, TrustedProxies.parse("", hops)) == client


def test_with_networks_too_the_peer_must_be_in_one_and_the_number_alone_says_how_far_to_read():
    both = TrustedProxies.parse("10.0.0.0/8", 2)
    assert find_client_address(PROXY, "6.6.6.6, 198.51.100.7, 34.1.2.3", both) == CLIENT
    assert find_client_address("8.8.8.8", "6.6.6.6, 198.51.100.7, 34.1.2.3", both) == "8.8.8.8"
    assert find_client_address("", "198.51.100.7, 34.1.2.3", both) == "unknown"
    assert find_client_address("", "198.51.100.7, 34.1.2.3", TrustedProxies.parse("unix", 2)) == CLIENT
    # A client inside of a trusted network cannot make the walk go on to what it claims.
    assert find_client_address(PROXY, "6.6.6.6, 10.9.9.9, 10.0.0.2", both) == "10.9.9.9"


@pytest.mark.parametrize(
    ("written", "client"),
    [
        ("198.51.100.7", CLIENT),
        ("198.51.100.7:80", CLIENT),
        ("::ffff:198.51.100.7", CLIENT),
        # A proxy that adds the header instead of replacing it adds it behind the client's own.
        ("6.6.6.6, 198.51.100.7", CLIENT),
        ("6.6.6.6,7.7.7.7,198.51.100.7", CLIENT),
        ("6.6.6.6, garbage", PROXY),
        ("6.6.6.6,", PROXY),
        ("garbage", PROXY),
        ("for=198.51.100.7", PROXY),
        ("x" * 100_000, PROXY),
        ("6.6.6.6" + " " * 4096, PROXY),
    ],
)
@pytest.mark.parametrize("header", ["CF-Connecting-IP", "X-Real-IP", "X-Our-Edge-Client"])
@pytest.mark.parametrize("settings", [("10.0.0.0/8", 0), ("", 1), ("10.0.0.0/8", 1)])
def test_a_header_with_one_address_is_that_address(settings, header, written, client):
    assert find_client_address(PROXY, written, TrustedProxies.parse(*settings, header)) == client


CLIENTS = st.ip_addresses(v=4, network="198.51.100.0/24") | st.ip_addresses(v=6, network="2001:db8::/32")
OUTER = st.ip_addresses(v=4, network="34.0.0.0/8")  # addresses that the operator does not know
ANYTHING = (
    st.text(alphabet='for=".,;:[]\\ 0123456789abcdefunkow_', max_size=60)
    | st.lists(st.ip_addresses().map(str), max_size=4).map(", ".join)
    | st.lists(st.ip_addresses(v=4).map("for={}".format), max_size=3).map(", ".join)
)
FORGED = st.dictionaries(
    st.sampled_from(["X-Forwarded-For", "Forwarded", "CF-Connecting-IP", "X-Real-IP", "True-Client-IP"]),
    ANYTHING,
    max_size=5,
)


def appended(name, headers, seen):
    """The headers after a proxy has appended the address that it saw."""
    element = f'for="[{seen}]:80"' if ":" in seen else f"for={seen}"
    entry = element if name == "Forwarded" else seen
    return {**headers, name: f"{headers[name]}, {entry}" if headers.get(name) else entry}


def through(name, headers, client, proxies):
    """The peer and the headers on arrival: each proxy appends, or the first sets the only address."""
    seen = client
    for number, proxy in enumerate(proxies):
        if name in {"X-Forwarded-For", "Forwarded"}:
            headers = appended(name, headers, seen)
        elif number == 0:
            headers = {**headers, name: seen}
        seen = proxy
    return seen, headers


def key_of(identifier, peer, headers):
    source = SimpleNamespace(peer=peer, proxied=False, header=headers.get)
    return identifier.identify(KeySpec("ip"), source).key


@settings(deadline=None)
@given(
    name=st.sampled_from(["X-Forwarded-For", "Forwarded", "CF-Connecting-IP", "X-Real-IP"]),
    client=CLIENTS.map(str),
    proxies=st.lists(OUTER.map(str), min_size=1, max_size=6, unique=True),
    forged=st.lists(FORGED, min_size=1, max_size=6),
    known=st.booleans(),
)
def test_whatever_a_client_sends_through_proxies_it_has_exactly_one_bucket(
    name, client, proxies, forged, known
):
    single = name not in {"X-Forwarded-For", "Forwarded"}
    hops = 0 if known else 1 if single else len(proxies)
    trusted = TrustedProxies.parse(", ".join(proxies) if known else "", hops, name)
    identifier = Identifier(trusted)
    direct = key_of(Identifier(TrustedProxies()), client, {})
    for headers in ({}, *forged):
        assert key_of(identifier, *through(name, headers, client, proxies)) == direct


@settings(deadline=None)
@given(
    clients=st.lists(CLIENTS.map(str), min_size=2, max_size=5, unique=True),
    proxies=st.lists(OUTER.map(str), min_size=1, max_size=6),
    forged=FORGED,
)
def test_clients_that_forge_alike_are_still_told_apart(clients, proxies, forged):
    identifier = Identifier(TrustedProxies.parse("", len(proxies)), ipv6_prefix=128)
    keys = {key_of(identifier, *through("X-Forwarded-For", forged, client, proxies)) for client in clients}
    assert len(keys) == len(clients)
