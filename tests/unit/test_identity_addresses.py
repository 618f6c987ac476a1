"""The address of a request's client, and which of the addresses sent with it are trusted."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ratelimit.core.errors import SettingsError
from otel_ratelimit.policy.identity import TrustedProxies, find_client_address, normalise, prefix_of

PROXIES = TrustedProxies.parse("10.0.0.0/8, 2001:db8:ffff::/48")
FORWARDED = TrustedProxies.parse("10.0.0.0/8, 2001:db8:ffff::/48", header="Forwarded")
SINGLE = TrustedProxies.parse("10.0.0.0/8", header="X-Real-IP")
NOBODY = TrustedProxies.parse("")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
        ("", "unknown"),
        ("unknown", "unknown"),
        ("_hidden", "unknown"),
        ("192.0.2.256", "unknown"),
        ("192.0.2.01", "unknown"),
        ("0x7f.1", "unknown"),
        ("localhost", "unknown"),
        ("192.0.2.1, 192.0.2.2", "unknown"),
        ("1\0", "unknown"),
    ],
)
def test_an_address_has_one_spelling(text, expected):
    assert normalise(text) == expected


def test_only_ipv6_is_counted_by_prefix():
    assert prefix_of("192.0.2.1", 64) == "192.0.2.1"
    assert prefix_of("2001:db8:1:2:3:4:5:6", 64) == "2001:db8:1:2::/64"
    assert prefix_of("2001:db8:1:2:3:4:5:6", 56) == "2001:db8:1::/56"
    assert prefix_of("unknown", 64) == "unknown"


@pytest.mark.parametrize(
    ("peer", "x_forwarded_for", "expected"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1, 10.0.0.2, 10.0.0.3", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "198.51.100.1:5555", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::7]:80", "2001:db8::7"),
        ("10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("2001:db8:ffff::1", "2001:db8:1::1", "2001:db8:1::1"),
        ("10.0.0.1", "198.51.100.1, unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, garbage, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "198.51.100.1,", "10.0.0.1"),
        ("10.0.0.1", ",,,", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "  198.51.100.1  ", "198.51.100.1"),
        ("", "198.51.100.1", "unknown"),
        ("not-an-address", "198.51.100.1", "unknown"),
    ],
)
def test_x_forwarded_for_is_walked_from_right_to_left(peer, x_forwarded_for, expected):
    assert find_client_address(peer, x_forwarded_for, PROXIES) == expected


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("for=198.51.100.1", "198.51.100.1"),
        ("For=198.51.100.1;proto=https;by=10.0.0.1", "198.51.100.1"),
        ("proto=https; for=198.51.100.1", "198.51.100.1"),
        ('for="198.51.100.1:4711"', "198.51.100.1"),
        ('for="[2001:db8::7]:4711"', "2001:db8::7"),
        ("for=1.1.1.1, for=198.51.100.1", "198.51.100.1"),
        ("for=198.51.100.1, for=10.0.0.2", "198.51.100.1"),
        ('for="198.51.100.1, for=1.1.1.1"', "10.0.0.1"),
        ('host="a,b";for=198.51.100.1', "198.51.100.1"),
        ('for="198\\.51.100.1"', "198.51.100.1"),
        ("for=unknown", "10.0.0.1"),
        ("for=_secret", "10.0.0.1"),
        ("for=198.51.100.1, proto=https", "10.0.0.1"),
        ('for="198.51.100.1', "10.0.0.1"),
        ("therefore=198.51.100.1", "10.0.0.1"),
    ],
)
def test_forwarded_is_read_as_rfc_7239_says(forwarded, expected):
    assert find_client_address("10.0.0.1", forwarded, FORWARDED) == expected


def test_a_unix_socket_is_believed_only_by_name():
    by_name = TrustedProxies.parse("unix")
    assert find_client_address("", "198.51.100.1", by_name) == "198.51.100.1"
    assert find_client_address("", "198.51.100.1", NOBODY) == "unknown"


def test_a_header_of_a_megabyte_is_bounded_work():
    for header in (
        "1.1.1.1," * 125_000,
        '"' * 1_000_000,
        "\\" * 1_000_000,
        "for=1," * 160_000,
        "10.0.0.2," * 110_000,
    ):
        # Whatever stands further left than the bound makes no difference.
        short = header[-4096:]
        for trusted, claim in ((PROXIES, "6.6.6.6,"), (FORWARDED, "for=6.6.6.6,"), (SINGLE, "6.6.6.6,")):
            answer = find_client_address("10.0.0.1", short, trusted)
            assert find_client_address("10.0.0.1", header, trusted) == answer
            assert find_client_address("10.0.0.1", claim + header, trusted) == answer


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
JUNK = st.one_of(st.text(max_size=40), ADDRESSES, st.sampled_from(["unknown", "for=1.1.1.1", '"', ","]))


@given(ADDRESSES, st.lists(JUNK, max_size=6).map(",".join))
def test_from_a_stranger_no_header_changes_the_address(peer, written):
    assert find_client_address(peer, written, NOBODY) == normalise(peer)


@given(
    st.text(max_size=60),
    st.text(max_size=300),
    st.sampled_from(
        [PROXIES, FORWARDED, SINGLE, TrustedProxies.parse("", 3), TrustedProxies.parse("unix", 1)]
    ),
)
def test_whatever_comes_an_address_or_unknown_is_the_answer(peer, written, trusted):
    answer = find_client_address(peer, written, trusted)
    assert answer == "unknown" or ipaddress.ip_address(answer)


OUTSIDE = (
    st.ip_addresses(v=4).filter(lambda address: address not in ipaddress.ip_network("10.0.0.0/8")).map(str)
)
INSIDE = st.integers(1, 2**24 - 1).map(lambda n: str(ipaddress.ip_address((10 << 24) + n)))


@given(st.lists(JUNK, max_size=4), OUTSIDE, st.lists(INSIDE, max_size=5), INSIDE)
def test_the_client_is_the_first_stranger_from_the_right(claims, client, hops, peer):
    header = ",".join([*claims, client, *hops])
    assert find_client_address(peer, header, PROXIES) == client


def test_wrong_proxies_are_all_named_with_what_would_be_right():
    with pytest.raises(SettingsError) as caught:
        TrustedProxies.parse("10.0.0.1/8, nonsense, 0.0.0.0/0, ::/0, 10.0.0.0/8")
    assert [str(problem) for problem in caught.value.problems] == [
        "OTEL_RATELIMIT_TRUSTED_PROXIES: '10.0.0.1/8' is not a network; did you mean 10.0.0.0/8?",
        (
            "OTEL_RATELIMIT_TRUSTED_PROXIES: 'nonsense' is not a network; write an address (10.0.0.7), a CIDR"
            " (10.0.0.0/8, 2001:db8::/32) or the word unix"
        ),
        (
            "OTEL_RATELIMIT_TRUSTED_PROXIES: '0.0.0.0/0' trusts every address, so that every client could"
            " choose its own address; name the networks of your proxies"
        ),
        (
            "OTEL_RATELIMIT_TRUSTED_PROXIES: '::/0' trusts every address, so that every client could"
            " choose its own address; name the networks of your proxies"
        ),
    ]


def test_no_proxies_trust_nobody():
    assert not TrustedProxies.parse(" , ")
    assert TrustedProxies.parse("10.0.0.1")
    assert TrustedProxies.parse("unix")
