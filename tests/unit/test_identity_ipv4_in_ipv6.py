"""IPv4 clients that come with an IPv6 address: one client each, and nobody is trusted for such an address."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_ratelimit.core.errors import SettingsError
from otel_ratelimit.policy import parse_policy
from otel_ratelimit.policy.identity import TrustedProxies, find_client_address, normalise, one_client_of

V4 = "192.0.2.1"
PROXIES = TrustedProxies.parse("10.0.0.0/8")


@pytest.mark.parametrize(
    "text",
    [
        "::ffff:192.0.2.1",
        "64:ff9b::192.0.2.1",
        "64:FF9B::C000:201",
        "64:ff9b:0:0:0:0:c000:0201",
        "[64:ff9b::192.0.2.1]:443",
        "64:ff9b::192.0.2.1%eth0",
    ],
)
def test_ipv4_mapped_and_nat64_are_the_ipv4_address(text):
    assert normalise(text) == V4


@pytest.mark.parametrize(
    "text",
    ["64:ff9b:1::c000:201", "64:ff9b::1:c000:201", "2002:c000:201::1", "2001::1", "::192.0.2.1", "::1"],
)
def test_no_other_address_is_taken_for_ipv4(text):
    assert normalise(text) == str(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    ("address", "client"),
    [
        (V4, V4),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("64:ff9b:1::c000:201", "64:ff9b:1::c000:201"),
        ("64:ff9b:1:fffe::c000:201", "64:ff9b:1:fffe::c000:201"),
        ("64:ff9b:2::c000:201", "64:ff9b:2::/64"),
        ("2002:c000:201::1", "2002:c000:201::/48"),
        ("2002:c000:201:ffff::1", "2002:c000:201::/48"),
        # Server 65.54.227.120, flags, port, and the client 192.0.2.45 inverted (RFC 4380's form).
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "teredo 192.0.2.45"),
        ("2001:0:1:1:8000:1:3fff:fdd2", "teredo 192.0.2.45"),
        ("::192.0.2.1", V4),
        ("::1", "::/64"),
        ("::", "::/64"),
    ],
)
def test_what_stands_for_one_client(address, client):
    assert one_client_of(str(ipaddress.ip_address(address)), 64) == client


def test_a_6to4_network_is_never_counted_finer_than_its_ipv4_address():
    assert one_client_of("2002:c000:201:1::1", 128) == "2002:c000:201::/48"
    assert one_client_of("2002:c000:201:1::1", 40) == "2002:c000:200::/40"


@settings(deadline=None)
@given(st.ip_addresses(v=4), st.ip_addresses(v=4), st.sampled_from(["64:ff9b::", "64:ff9b:1::", "::ffff:"]))
def test_two_translated_clients_are_one_only_if_their_addresses_are(one, other, prefix):
    found = {one_client_of(normalise(f"{prefix}{address}"), 64) for address in (one, other)}
    assert len(found) == len({one, other})


def test_a_translated_peer_is_the_proxy_that_it_is():
    assert find_client_address("64:ff9b::10.0.0.1", "198.51.100.7", PROXIES) == "198.51.100.7"
    assert find_client_address("10.0.0.1", "198.51.100.7, 64:ff9b::a00:2", PROXIES) == "198.51.100.7"
    assert find_client_address("10.0.0.1", "64:ff9b::198.51.100.7", PROXIES) == "198.51.100.7"


@pytest.mark.parametrize(
    "peer", ["2002:a00:1::1", "::10.0.0.1", "2001:0:1:1:8000:1:f5ff:fffe", "64:ff9b:1::a00:1"]
)
def test_an_address_that_only_carries_a_proxys_is_not_trusted(peer):
    assert find_client_address(peer, "198.51.100.7", PROXIES) == normalise(peer)


def test_a_nat64_network_is_the_ipv4_network():
    assert TrustedProxies.parse("64:ff9b::10.0.0.0/104") == PROXIES
    with pytest.raises(SettingsError, match="trusts every address"):
        TrustedProxies.parse("64:ff9b::/96")


def test_a_policy_that_names_a_client_so_is_told_how_it_is_counted():
    with pytest.raises(
        Exception, match=r"NAT64 addresses are taken as IPv4; write for instance 192\.0\.2\.1"
    ):
        parse_policy('version = 1\n[[clients]]\nmatch = "ip:64:ff9b::192.0.2.1"\nmultiply = 2\n', "x.toml")
