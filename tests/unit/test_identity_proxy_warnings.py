"""The log warns once if the settings of the proxies look wrong, and says what to set."""

from __future__ import annotations

import logging
import random
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from otel_ratelimit.core.route_plan import KeySpec
from otel_ratelimit.policy.identity import Identifier, TrustedProxies
from otel_ratelimit.policy.identity.shared_address_warning import MAX_ROUNDS, REQUESTS_PER_ROUND

LB, PEER = "34.1.2.3", "130.211.1.1"
GOOGLE = "130.211.0.0/22, 35.191.0.0/16"


def send(identifier, headers, *, peer=PEER, proxied=False):
    source = SimpleNamespace(peer=peer, proxied=proxied, header=headers.get)
    return identifier.identify(KeySpec("ip"), source).address


def send_all(trusted, headers, *, name="X-Forwarded-For", peer=PEER):
    identifier = Identifier(trusted)
    for header in headers:
        send(identifier, {name: header}, peer=peer)
    return identifier


def public(number):
    return f"203.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def many(count=REQUESTS_PER_ROUND, form="{}, " + LB):
    return [form.format(public(number * 7919)) for number in range(count)]


@pytest.fixture(autouse=True)
def _warnings_are_seen(caplog):
    caplog.set_level(logging.WARNING)


@pytest.mark.parametrize(
    ("trusted", "headers", "hops"),
    [
        (TrustedProxies.parse(GOOGLE), many(), 2),
        (TrustedProxies.parse("", 1), many(), 2),
        (TrustedProxies.parse(GOOGLE, 1), many(), 2),
        (TrustedProxies.parse(GOOGLE), many(form="6.6.6.6, {}, " + LB), 2),
        (TrustedProxies.parse(GOOGLE + ", 10.0.0.0/8"), many(form="{}, " + LB + ", 10.0.0.9"), 3),
        (TrustedProxies.parse("", 2), many(form="{}, " + LB + ", 10.0.0.9"), 3),
    ],
)
def test_a_load_balancer_that_is_taken_for_the_client_is_warned_of_once(trusted, headers, hops, caplog):
    send_all(trusted, headers * 3)
    (record,) = caplog.records
    assert f"have one client address, {LB}," in record.getMessage()
    assert f"set OTEL_RATELIMIT_TRUSTED_HOPS={hops}, or add {LB} to OTEL_RATELIMIT_TRUSTED_PROXIES" in (
        record.getMessage()
    )


def test_it_is_warned_of_in_forwarded_as_well(caplog):
    headers = many(form="for={}, for=" + LB)
    send_all(TrustedProxies.parse(GOOGLE, header="Forwarded"), headers, name="Forwarded")
    assert "in Forwarded" in caplog.text


def test_a_few_other_clients_do_not_hide_it(caplog):
    headers = many()
    for place in range(0, REQUESTS_PER_ROUND, 25):
        headers[place] = public(place)
    send_all(TrustedProxies.parse(GOOGLE), headers)
    assert len(caplog.records) == 1
    assert "96 %" in caplog.text


def test_what_the_sentence_says_to_set_tells_the_clients_apart(caplog):
    for trusted in (TrustedProxies.parse(GOOGLE, 2), TrustedProxies.parse(f"{GOOGLE}, {LB}")):
        identifier = send_all(trusted, many(MAX_ROUNDS * REQUESTS_PER_ROUND))
        assert send(identifier, {"X-Forwarded-For": f"6.6.6.6, 198.51.100.7, {LB}"}) == "198.51.100.7"
    assert not caplog.records


@pytest.mark.parametrize(
    "headers",
    [
        ["198.51.100.7"] * REQUESTS_PER_ROUND,
        [f"6.6.6.6, {LB}"] * REQUESTS_PER_ROUND,
        [f"198.51.100.7:{1024 + number}" for number in range(REQUESTS_PER_ROUND)],
        [f"garbage{number}, {LB}" for number in range(REQUESTS_PER_ROUND)],
        [f"10.0.0.{number % 9}, {LB}" for number in range(REQUESTS_PER_ROUND)],
        many(form="{}"),
        [f"6.6.6.6, {public(number)}" for number in range(REQUESTS_PER_ROUND)],
        [
            f"{public(number)}, {LB if number % 10 else public(number)}"
            for number in range(REQUESTS_PER_ROUND)
        ],
        many(REQUESTS_PER_ROUND - 1),
    ],
    ids=[
        "one test client",
        "one client behind a proxy of its own",
        "ports",
        "claims that are no addresses",
        "few clients behind a proxy of their own",
        "many clients",
        "many clients that forge",
        "ninety percent",
        "too few requests",
    ],
)
def test_nothing_is_said_where_nothing_need_be_wrong(headers, caplog):
    send_all(TrustedProxies.parse(GOOGLE), headers * (1 if len(headers) < REQUESTS_PER_ROUND else 2))
    assert not caplog.records


def test_one_client_of_many_that_has_the_first_word_is_not_taken_for_all(caplog):
    draw = random.Random(5)
    headers = many(REQUESTS_PER_ROUND // 2) + [
        public(draw.randrange(2**24)) for _ in range(REQUESTS_PER_ROUND // 2)
    ]
    send_all(TrustedProxies.parse(GOOGLE), headers)
    assert not caplog.records


def test_after_some_rounds_nobody_watches_any_more():
    identifier = send_all(TrustedProxies.parse(GOOGLE), many(MAX_ROUNDS * REQUESTS_PER_ROUND, form="{}"))
    assert identifier._watch is None


@pytest.mark.parametrize(("form", "said"), [("{}, " + LB, 1), ("{}", 0)])
def test_threads_that_conclude_together_fail_no_request_and_say_it_once(form, said, caplog):
    identifier = Identifier(TrustedProxies.parse(GOOGLE))
    headers = many(3 * REQUESTS_PER_ROUND, form=form)
    with ThreadPoolExecutor(8) as threads:
        found = [threads.submit(send, identifier, {"X-Forwarded-For": header}) for header in headers]
        assert all(future.result() for future in found)
    assert len(caplog.records) == said


def test_a_header_of_any_length_takes_no_room():
    identifier = send_all(TrustedProxies.parse(GOOGLE), ["1.1.1.1, " * 9_000 + h for h in many(100)])
    assert sum(map(len, identifier._watch._headers)) <= 64 * 256


def test_a_trusted_proxy_that_writes_the_other_header_is_warned_of_once(caplog):
    identifier = Identifier(TrustedProxies.parse(GOOGLE))
    for _ in range(3):
        send(identifier, {"Forwarded": "for=198.51.100.7"}, peer="8.8.8.8")
        send(identifier, {"Forwarded": "for=198.51.100.7", "X-Forwarded-For": "198.51.100.7"})
        send(identifier, {"Forwarded": "for=198.51.100.7"}, proxied=True)
    assert not caplog.records
    for _ in range(3):
        assert send(identifier, {"Forwarded": "for=198.51.100.7"}) == PEER
    (record,) = caplog.records
    assert "has no X-Forwarded-For header, but a Forwarded header" in record.getMessage()
    assert record.getMessage().endswith("set OTEL_RATELIMIT_PROXY_HEADER=Forwarded")


@pytest.mark.parametrize("header", ["Forwarded", "CF-Connecting-IP"])
def test_so_is_one_that_writes_x_forwarded_for_where_another_is_read(header, caplog):
    identifier = Identifier(TrustedProxies.parse(GOOGLE, header=header))
    send(identifier, {"X-Forwarded-For": "198.51.100.7"})
    assert "set OTEL_RATELIMIT_PROXY_HEADER=X-Forwarded-For" in caplog.text


def test_an_untrusted_proxy_that_writes_the_other_header_needs_both_settings(caplog):
    send(Identifier(TrustedProxies()), {"Forwarded": "for=198.51.100.7"}, peer="10.0.0.1")
    (record,) = caplog.records
    assert record.getMessage().endswith(
        "set OTEL_RATELIMIT_TRUSTED_PROXIES=10.0.0.1 and OTEL_RATELIMIT_PROXY_HEADER=Forwarded"
    )


def test_fewer_entries_than_hops_are_warned_of_once_and_the_peer_stands_in(caplog):
    identifier = Identifier(TrustedProxies.parse("", 3))
    for _ in range(3):
        assert send(identifier, {"X-Forwarded-For": "198.51.100.7, 10.0.0.2"}) == PEER
    (record,) = caplog.records
    assert "has fewer entries (2) than OTEL_RATELIMIT_TRUSTED_HOPS=3" in record.getMessage()
    assert record.getMessage().endswith("set OTEL_RATELIMIT_TRUSTED_HOPS=2")


@pytest.mark.parametrize(
    ("headers", "peer", "trusted"),
    [
        ({}, PEER, TrustedProxies.parse("", 3)),
        ({"X-Forwarded-For": "1.1.1.1, 2.2.2.2, 3.3.3.3"}, PEER, TrustedProxies.parse("", 3)),
        ({"X-Forwarded-For": "1.1.1.1"}, "8.8.8.8", TrustedProxies.parse(GOOGLE, 3)),
        ({"X-Forwarded-For": "1.1.1.1"}, PEER, TrustedProxies.parse(GOOGLE)),
    ],
)
def test_of_hops_nothing_is_said_where_they_are_right_or_not_believed(headers, peer, trusted, caplog):
    send(Identifier(trusted), headers, peer=peer)
    assert not caplog.records
