"""Ways around a limiter by another address: forged headers, IPv6 rotation, translated addresses."""

from __future__ import annotations

import flask
import pytest
from bypass_attempts import AMOUNT, TRIES, both, make_app, passed, protect, stock
from flask_limiter.util import get_remote_address
from variants import quick_first


@pytest.mark.parametrize(
    "headers",
    [
        lambda i: {"X-Forwarded-For": f"198.51.100.{i}"},
        lambda i: {"X-Real-IP": f"198.51.100.{i}"},
        lambda i: {"Forwarded": f"for=198.51.100.{i}"},
        lambda i: [("X-Forwarded-For", f"198.51.100.{i}"), ("X-Forwarded-For", f"203.0.113.{i}")],
        lambda i: {"True-Client-IP": f"198.51.100.{i}", "CF-Connecting-IP": f"198.51.100.{i}"},
        lambda i: {"X-Forwarded-For": "127.0.0.1"},
    ],
    ids=["x-forwarded-for", "x-real-ip", "forwarded", "duplicate", "vendor", "loopback"],
)
@both
def test_forged_forwarding_headers_gain_nothing(headers, guard):
    app = make_app()
    guard(app)
    assert passed(app, lambda client, i: client.get("/thing", headers=headers(i))) == AMOUNT


AGENTS = {
    "another in each request": lambda i: {
        "User-Agent": f"Mozilla/5.0 (X11; Linux x86_64; rv:{i}.0) Gecko/{i}"
    },
    "browsers in turn": lambda i: {
        "User-Agent": ("Chrome/140.0", "Firefox/143.0", "curl/8.14", "Googlebot/2.1")[i % 4]
    },
    "none now and then": lambda i: {"User-Agent": f"agent-{i}"} if i % 2 else {},
    "long and strange": lambda i: {"User-Agent": "\xff" * i + "a" * 5_000},
    "with what else tells browsers apart": lambda i: {
        "User-Agent": f"agent-{i}",
        "Accept-Language": f"en;q=0.{i}",
        "Sec-CH-UA": f'"Brand";v="{i}"',
        "DNT": str(i % 2),
        "Cookie": f"visitor={i}",
    },
}


@pytest.mark.parametrize("headers", AGENTS.values(), ids=AGENTS)
@both
def test_rotating_user_agents_gains_nothing(headers, guard):
    app = make_app()
    guard(app)

    assert passed(app, lambda client, i: client.get("/thing", headers=headers(i))) == AMOUNT


def test_stock_can_be_passed_by_rotating_user_agents_where_the_key_has_them():
    app = make_app()
    stock(app, key_func=lambda: f"{get_remote_address()} {flask.request.user_agent.string}")
    assert passed(app, lambda client, i: client.get("/thing", headers={"User-Agent": f"agent-{i}"})) == TRIES


def test_rotating_user_agents_from_many_addresses_is_a_limit_for_each_address():
    app = make_app()
    protect(app)

    def send(client, i):
        peer = {"REMOTE_ADDR": f"192.0.2.{i % 3}"}
        return client.get("/thing", headers={"User-Agent": f"agent-{i}"}, environ_base=peer)

    assert passed(app, send, tries=60) == 3 * AMOUNT


@both
def test_behind_a_trusted_proxy_the_leftmost_forged_entry_gains_nothing(guard):
    app = make_app()
    guard(app, trusted_proxies="10.0.0.0/8")

    def send(client, i):
        forwarded = f"198.51.100.{i}, 203.0.113.5"
        return client.get(
            "/thing", headers={"X-Forwarded-For": forwarded}, environ_base={"REMOTE_ADDR": "10.1.1.1"}
        )

    assert passed(app, send) == AMOUNT


@both
def test_behind_a_trusted_proxy_clients_are_told_apart(guard):
    app = make_app()
    guard(app, trusted_proxies="10.0.0.0/8")

    def send(client, i):
        return client.get(
            "/thing",
            headers={"X-Forwarded-For": f"203.0.113.{i}"},
            environ_base={"REMOTE_ADDR": "10.1.1.1"},
        )

    assert passed(app, send) == TRIES


def behind_three_proxies(client, i, **headers):
    """Proxies that append to X-Forwarded-For and hand other headers on; the nearest of them takes turns."""
    forwarded = ", ".join(filter(None, (headers.pop("claim", ""), "203.0.113.5", "10.1.1.3", "10.1.1.2")))
    sent = {"X-Forwarded-For": forwarded, **{name.replace("_", "-"): text for name, text in headers.items()}}
    return client.get("/thing", headers=sent, environ_base={"REMOTE_ADDR": f"10.1.1.{i % 3 + 4}"})


FORGERIES = {
    "forwarded": lambda i: {"Forwarded": f"for=9.9.9.{i}"} if i % 2 else {},
    "forwarded-as-proxy": lambda i: {"Forwarded": f"for=9.9.9.{i}, for=10.1.1.2"},
    "forwarded-agrees": lambda i: {"Forwarded": "for=203.0.113.5" if i % 2 else "garbage"},
    "x-forwarded-for": lambda i: {"claim": f"9.9.9.{i}, 10.1.1.9", "Forwarded": f"for=9.9.9.{i}"},
    "single": lambda i: {"X_Real_IP": f"9.9.9.{i}", "CF_Connecting_IP": f"9.9.9.{i}", "Forwarded": '"'},
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
@pytest.mark.parametrize("options", [{}, {"trusted_hops": 3}], ids=["networks", "hops"])
def test_behind_proxies_no_forged_header_is_another_bucket(forge, options):
    app = make_app()
    protect(app, trusted_proxies="10.0.0.0/8", **options)
    assert passed(app, lambda client, i: behind_three_proxies(client, i, **forge(i)), tries=40) == AMOUNT


def test_a_forged_header_behind_proxies_does_not_starve_strangers_who_send_one_too():
    app = make_app()
    protect(app, trusted_proxies="10.0.0.0/8")
    passed(app, lambda client, i: behind_three_proxies(client, i, Forwarded=f"for=9.9.9.{i}"), tries=40)
    stranger = {"X-Forwarded-For": "198.51.100.77, 10.1.1.3, 10.1.1.2", "Forwarded": "for=192.168.1.1"}
    found = app.test_client().get("/thing", headers=stranger, environ_base={"REMOTE_ADDR": "10.1.1.4"})
    assert found.status_code == 200


def test_a_count_of_hops_takes_googles_load_balancer_for_a_proxy_and_believes_no_claim():
    app = make_app()
    protect(app, trusted_proxies="130.211.0.0/22, 35.191.0.0/16", trusted_hops=2)

    def send(client, i, *, ip="203.0.113.5"):
        header = {"X-Forwarded-For": f"9.9.9.{i}, {ip}, 34.1.2.3"}
        return client.get("/thing", headers=header, environ_base={"REMOTE_ADDR": "130.211.1.1"})

    assert passed(app, send) == AMOUNT
    assert passed(app, lambda client, i: send(client, i, ip=f"198.51.100.{i}")) == TRIES


def rotate_ipv6(client, i):
    return client.get("/thing", environ_base={"REMOTE_ADDR": f"2001:db8:1:2::{i:x}"})


def test_stock_can_be_passed_by_ipv6_rotation():
    app = make_app()
    stock(app)
    assert passed(app, rotate_ipv6) == TRIES


@both
def test_ipv6_rotation_inside_a_prefix_gains_nothing(guard):
    app = make_app()
    guard(app)
    assert passed(app, rotate_ipv6) == AMOUNT


@both
def test_an_ipv4_mapped_address_is_the_ipv4_address(guard):
    app = make_app()
    guard(app)
    spellings = ["192.0.2.9", "::ffff:192.0.2.9", "::FFFF:C000:209"]
    assert (
        passed(app, lambda client, i: client.get("/thing", environ_base={"REMOTE_ADDR": spellings[i % 3]}))
        == AMOUNT
    )


@pytest.mark.parametrize("prefix", ["64:ff9b::", "64:ff9b:1::", "::ffff:"], ids=ascii)
def test_ipv4_clients_behind_a_translator_are_not_one_prefix(prefix):
    app = make_app()
    protect(app)

    def send(client, i):
        return client.get("/thing", environ_base={"REMOTE_ADDR": f"{prefix}198.51.100.{i}"})

    assert passed(app, send) == TRIES


def rotate_6to4(client, i):
    return client.get("/thing", environ_base={"REMOTE_ADDR": f"2002:c633:6407:{i:x}::{i:x}"})


def test_stock_can_be_passed_by_rotation_in_a_6to4_network():
    app = make_app()
    stock(app)
    assert passed(app, rotate_6to4) == TRIES


def test_a_6to4_network_is_one_client():
    app = make_app()
    protect(app)
    assert passed(app, rotate_6to4) == AMOUNT


@both
def test_different_ipv4_mapped_clients_are_not_one_prefix(guard):
    app = make_app()
    guard(app)
    assert (
        passed(
            app, lambda client, i: client.get("/thing", environ_base={"REMOTE_ADDR": f"::ffff:192.0.2.{i}"})
        )
        == TRIES
    )


def send_from(address, **headers):
    return lambda client, _i: client.get("/thing", headers=headers, environ_base={"REMOTE_ADDR": address})


@pytest.mark.untraced
@pytest.mark.parametrize("kind", quick_first(["ip", "header"]))
def test_one_network_does_not_take_the_store_from_the_others(kind):
    app = make_app()
    key = "ip" if kind == "ip" else "header:X-Api-Key"
    limits = f"{AMOUNT}/minute; 1000/hour; 9000/day"
    rule = f'[[routes]]\nmatch = "/**"\nlimits = "{limits}"\nkey = "{key}"\n'
    protect(app, f'{rule}[memory]\ncapacity = "1 MB"\n')
    client = app.test_client()
    for n in range(3_200):
        flood = {"X-Api-Key": f"made up {n}"} if kind == "header" else {}
        address = f"2001:db8:bad:{0 if kind == 'header' else n:x}::1"
        client.get("/thing", headers=flood, environ_base={"REMOTE_ADDR": address})

    for n in range(5):
        elsewhere = send_from(f"192.{n}.2.1", **{"X-Api-Key": f"bought {n}"})
        assert passed(app, elsewhere) == AMOUNT


def test_a_value_of_a_header_is_one_client_in_every_network():
    app = make_app()
    protect(app, '[[routes]]\nmatch = "/**"\ntier = "default"\nkey = "header:X-Api-Key"\n')
    assert (
        passed(app, lambda client, i: send_from(f"{i + 1}.2.3.4", **{"X-Api-Key": "k"})(client, i)) == AMOUNT
    )
