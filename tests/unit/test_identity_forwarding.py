"""A client's entries in forwarding headers do not change the entries that proxies add to their right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ratelimit.core.errors import SettingsError
from otel_ratelimit.policy.identity import UNKNOWN_ADDRESS, TrustedProxies, find_client_address, normalise

PROXIES = TrustedProxies.parse("10.0.0.0/8, fd00::/8")
FORWARDED = TrustedProxies.parse("10.0.0.0/8, fd00::/8", header="Forwarded")
PROXY, CLIENT = "10.0.0.1", "198.51.100.7"


@pytest.mark.parametrize(
    "claimed",
    [
        'for="',
        'for="x;for=6.6.6.6',
        'for="x; for=6.6.6.6',
        'x="for=6.6.6.6, for=6.6.6.6',
        'for=6.6.6.6;a="\\',
        '"""',
        ";;",
        "for",
        "",
    ],
)
@pytest.mark.parametrize("separator", [",", ", "])
@pytest.mark.parametrize("written", [f"for={CLIENT}", f'for="{CLIENT}:80";by="[fd00::1]"'])
def test_a_claim_cannot_swallow_what_the_proxy_writes(claimed, separator, written):
    assert find_client_address(PROXY, claimed + separator + written, FORWARDED) == CLIENT


@pytest.mark.parametrize(
    ("header", "client"),
    [
        ('for=198.51.100.7;host="a,b;for=6.6.6.6"', CLIENT),
        (r'for=198.51.100.7;host="a\",for=6.6.6.6"', CLIENT),
        (r'for=198.51.100.7;host="x,for=6.6.6.6;y=\""', CLIENT),
        ("for=198.51.100.7;", CLIENT),
        ("for=198.51.100.7;for=6.6.6.6", PROXY),
        ("for=198.51.100.7 for=6.6.6.6", PROXY),
        ("for=198.51.100.7;x", PROXY),
        ('by="x for=6.6.6.6"', PROXY),
        ('by="x;for=6.6.6.6"', PROXY),
        ("for=", PROXY),
        ("198.51.100.7", PROXY),
    ],
)
def test_only_a_well_formed_element_with_one_for_is_believed(header, client):
    assert find_client_address(PROXY, header, FORWARDED) == client


def test_an_entry_that_is_cut_in_two_is_not_taken_for_another_address():
    for padding in range(2020, 2060):
        header = f"6.198.51.100.7,{' ' * padding}10.0.0.2"
        assert find_client_address(PROXY, header, PROXIES) in {"10.0.0.2", PROXY}
        header = f"6.6.6.6,198.51.100.7,{' ' * padding}10.0.0.2"
        assert find_client_address(PROXY, header, PROXIES) in {"10.0.0.2", PROXY, CLIENT}


def test_a_zone_belongs_to_ipv6_only():
    assert normalise("[fe80::1%25eth0]:80") == "fe80::1"
    assert normalise("198.51.100.7%eth0") == UNKNOWN_ADDRESS


STRANGERS = st.ip_addresses(v=4, network="198.51.100.0/24") | st.ip_addresses(v=6, network="2001:db8::/32")
TRUSTED = st.ip_addresses(network="10.0.0.0/8") | st.ip_addresses(network="fd00::/8")


@given(
    claimed=st.text(alphabet='for=".,;:[]\\ 0123456789abcdef_', max_size=60),
    client=STRANGERS.map(str),
    hops=st.lists(TRUSTED.map(str), max_size=20),
)
def test_behind_any_number_of_proxies_the_client_is_the_first_stranger(claimed, client, hops):
    chain = [client, *hops]
    assert find_client_address(PROXY, ",".join([claimed, *chain]), PROXIES) == client
    written = [f'for="[{entry}]:80"' if ":" in entry else f"for={entry}" for entry in chain]
    assert find_client_address(PROXY, ", ".join([claimed, *written]), FORWARDED) == client


def test_an_ipv4_mapped_network_is_the_ipv4_network_that_peers_are_compared_with():
    proxies = TrustedProxies.parse("::ffff:10.0.0.0/104")
    assert find_client_address("::ffff:10.0.0.1", CLIENT, proxies) == CLIENT
    with pytest.raises(SettingsError, match="trusts every address"):
        TrustedProxies.parse("::ffff:0:0/96")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("fe80::1%eth0", "has a zone, and addresses are compared without zones; remove the zone"),
        ("10.0.0.1/0", "is not a network; write an address"),
        ("UNIX", "is not a network; write an address"),
        ("10/8", "is not a network; write an address"),
    ],
)
def test_what_is_no_proxy_is_explained_and_never_with_everybody(entry, expected):
    with pytest.raises(SettingsError) as caught:
        TrustedProxies.parse(entry)
    assert str(caught.value).startswith(f"OTEL_RATELIMIT_TRUSTED_PROXIES: {entry!r} {expected}")
