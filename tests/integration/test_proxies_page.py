"""The settings of docs/how-to/proxies.md, with the header that each product sends, forged ones included."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import flask
import pytest

from otel_ratelimit import RateLimit
from otel_ratelimit.core.errors import SettingsError
from otel_ratelimit.core.settings import variable_names
from otel_ratelimit.policy import parse_policy

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "proxies.md"
AMOUNT, TRIES = 3, 9
XFF, CLOUDFLARE = "X-Forwarded-For", "CF-Connecting-IP"
CLOUDFLARES_NETWORKS = (
    "173.245.48.0/20,103.21.244.0/22,103.22.200.0/22,103.31.4.0/22,141.101.64.0/18,108.162.192.0/18,"
    "190.93.240.0/20,188.114.96.0/20,197.234.240.0/22,198.41.128.0/17,162.158.0.0/15,104.16.0.0/13,"
    "104.24.0.0/14,172.64.0.0/13,131.0.72.0/22,2400:cb00::/32,2606:4700::/32,2803:f800::/32,"
    "2405:b500::/32,2405:8100::/32,2a06:98c0::/29,2c0f:f248::/32"
)


@dataclass(frozen=True)
class Product:
    """Settings, the addresses that its connections come from, and what it makes of the client's address."""

    settings: dict[str, str]
    peers: tuple[str, ...]
    header: str
    written: str
    """`{client}` is the client's address, `{sent}` what the client sent under the same name, with a comma."""
    more: str = ""
    """Its additional X-Forwarded-For, if another header is read."""


def trusting(networks, hops=None, header=None):
    given = {"OTEL_RATELIMIT_TRUSTED_PROXIES": networks}
    given |= {"OTEL_RATELIMIT_TRUSTED_HOPS": hops} if hops else {}
    return given | ({"OTEL_RATELIMIT_PROXY_HEADER": header} if header else {})


PRODUCTS = {
    "nginx": Product(trusting("127.0.0.1", "1"), ("127.0.0.1",), XFF, "{sent}{client}"),
    "Two nginx in a row": Product(
        trusting("127.0.0.1", "2"), ("127.0.0.1",), XFF, "{sent}{client}, 192.168.7.7"
    ),
    "AWS Application Load Balancer": Product(
        trusting("10.0.0.0/16", "1"), ("10.0.1.17", "10.0.2.31"), XFF, "{sent}{client}:54321"
    ),
    "CloudFront in front of it": Product(
        trusting("10.0.0.0/16", "2"), ("10.0.1.17", "10.0.2.31"), XFF, "{sent}{client}, 130.176.1.2"
    ),
    "Google Cloud Application Load Balancer": Product(
        trusting("130.211.0.0/22,35.191.0.0/16", "2"),
        ("130.211.1.1", "35.191.9.9"),
        XFF,
        "{sent}{client}, 34.1.2.3",
    ),
    "Cloudflare": Product(
        trusting(CLOUDFLARES_NETWORKS, header=CLOUDFLARE),
        ("172.68.1.1", "2a06:98c0:3600::103", "::ffff:162.158.9.9"),
        CLOUDFLARE,
        "{client}",
        more="{sent}{client}",
    ),
    "Cloudflare Tunnel": Product(
        trusting("127.0.0.1,::1", header=CLOUDFLARE),
        ("127.0.0.1", "::1"),
        CLOUDFLARE,
        "{client}",
        more="{sent}{client}",
    ),
    "Kubernetes: ingress-nginx": Product(
        trusting("10.244.0.0/16", "1"), ("10.244.3.5", "10.244.4.6"), XFF, "{client}"
    ),
    "Behind an HTTP load balancer": Product(
        trusting("10.244.0.0/16", "2"), ("10.244.3.5", "10.244.4.6"), XFF, "{sent}{client}, 10.9.0.4"
    ),
    "Heroku": Product(trusting("10.0.0.0/8", "1"), ("10.1.41.9", "10.63.2.77"), XFF, "{sent}{client}"),
}
"""By the heading of the page that has the settings."""

FORGERIES = {
    "nothing": lambda i: {},
    "an address": lambda i: {XFF: f"9.9.9.{i}", "Forwarded": f"for=9.9.9.{i}"},
    "a chain that looks like the product's": lambda i: {
        XFF: f"9.9.9.{i}, 34.1.2.3, 10.244.3.5, 127.0.0.1",
        "Forwarded": f'for=9.9.9.{i};by="127.0.0.1"',
    },
    "garbage": lambda i: {XFF: f'{i}"\\,;unknown,', "Forwarded": f'for="{i}'},
    "one address": lambda i: {"X-Real-IP": f"9.9.9.{i}", "True-Client-IP": f"9.9.9.{i}"},
}


def settings_of_the_page():
    """The variables of each section's shell block."""
    sections = re.split(r"^#{2,3} (.+)$", PAGE.read_text(), flags=re.MULTILINE)
    found = {}
    for heading, body in zip(sections[1::2], sections[2::2], strict=True):
        lines = re.findall(r"^(OTEL_RATELIMIT_\w+)=(\S+)$", body.replace("\\\n", ""), flags=re.MULTILINE)
        if lines:
            found[heading] = dict(lines)
            assert len(lines) == len(found[heading]), f"two settings of one variable under {heading}"
    return found


def test_the_page_says_what_is_tried_here():
    assert settings_of_the_page() == {heading: product.settings for heading, product in PRODUCTS.items()}


def test_the_page_names_the_variables_that_there_are():
    named = set(re.findall(r"OTEL_RATELIMIT_\w+", PAGE.read_text()))
    assert named <= set(variable_names())


def test_what_is_wrong_is_refused_at_start_and_every_variable_is_an_argument_too():
    policy = parse_policy("version = 1\n", "proxies.toml")
    with pytest.raises(SettingsError, match=r"OTEL_RATELIMIT_PROXY_HEADER: .*did you mean X-Forwarded-For"):
        RateLimit(policy=policy, environ={"OTEL_RATELIMIT_PROXY_HEADER": "X-Forwarded-Fro"})
    with pytest.raises(SettingsError, match="OTEL_RATELIMIT_TRUSTED_HOPS: 33 is not a number of proxies"):
        RateLimit(policy=policy, trusted_hops=33, environ={})
    given = RateLimit(policy=policy, trusted_hops=2, proxy_header="Forwarded", environ={}).settings
    assert (given.trusted_hops, given.proxy_header) == (2, "Forwarded")


def test_a_header_that_nobody_is_believed_to_write_is_warned_of_at_start(caplog):
    policy = parse_policy("version = 1\n", "proxies.toml")
    RateLimit(policy=policy, proxy_header="CF-Connecting-IP", environ={})
    assert "OTEL_RATELIMIT_PROXY_HEADER has no effect" in caplog.text
    caplog.clear()
    RateLimit(policy=policy, proxy_header="CF-Connecting-IP", trusted_hops=1, environ={})
    assert "PROXY_HEADER" not in caplog.text


def application(settings):
    app = flask.Flask("behind")
    app.add_url_rule("/", "view", lambda: "ok")
    policy = parse_policy(f'version = 1\n[tiers]\ndefault = "{AMOUNT}/minute"\n', "proxies.toml")
    RateLimit(app, policy=policy, environ=settings)
    return app.test_client()


def send(client, product, address, forged, turn):
    """The request on arrival: the product extends or replaces the client's header, and passes on all else."""
    sent = {name: f"{value}, " for name, value in forged.items()}
    headers = {
        **forged,
        product.header: product.written.format(client=address, sent=sent.get(product.header, "")),
    }
    if product.more:
        headers[XFF] = product.more.format(client=address, sent=sent.get(XFF, ""))
    peer = product.peers[turn % len(product.peers)]
    return client.get("/", headers=headers, environ_base={"REMOTE_ADDR": peer}).status_code


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_behind_it_a_client_has_one_limit_and_each_client_has_its_own(product, forge, caplog):
    client = application(product.settings)
    for address in ("198.51.100.7", "198.51.100.8"):
        statuses = [send(client, product, address, forge(turn), turn) for turn in range(TRIES)]
        assert statuses == [200] * AMOUNT + [429] * (TRIES - AMOUNT)
    assert not caplog.records, "nothing to warn of"


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_who_comes_past_it_is_counted_by_its_own_address(product):
    client = application(product.settings)
    statuses = []
    for turn in range(TRIES):
        headers = {product.header: f"9.9.9.{turn}, 9.9.8.{turn}"}
        found = client.get("/", headers=headers, environ_base={"REMOTE_ADDR": "203.0.113.66"})
        statuses.append(found.status_code)
    assert statuses == [200] * AMOUNT + [429] * (TRIES - AMOUNT)


def test_without_the_number_everybody_behind_googles_load_balancer_is_one_client():
    product = PRODUCTS["Google Cloud Application Load Balancer"]
    networks = {key: value for key, value in product.settings.items() if not key.endswith("HOPS")}
    client = application(networks)
    statuses = [send(client, product, f"198.51.100.{turn}", {}, turn) for turn in range(TRIES)]
    assert statuses == [200] * AMOUNT + [429] * (TRIES - AMOUNT)
