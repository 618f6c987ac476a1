"""An application that uses werkzeug's ProxyFix: where that has put an address in place, it stands."""

from __future__ import annotations

import flask
import pytest
from werkzeug.middleware.proxy_fix import ProxyFix

from otel_ratelimit import RateLimit
from otel_ratelimit.policy import parse_policy

AMOUNT, TRIES = 4, 12
INSIDE = {"OTEL_RATELIMIT_TRUSTED_PROXIES": "10.0.0.0/8"}
ONE_HOP = {"OTEL_RATELIMIT_TRUSTED_HOPS": "1"}


def passed(fix, environ, forwarded, *, peer="10.0.0.1"):
    """How many of the requests pass; `forwarded(i)` is what arrives in X-Forwarded-For."""
    app = flask.Flask("fixed")
    app.add_url_rule("/", "view", lambda: "ok")
    policy = parse_policy(f'version = 1\n[tiers]\ndefault = "{AMOUNT}/minute"\n', "fixed.toml")
    RateLimit(app, policy=policy, environ=environ)
    app.wsgi_app = ProxyFix(app.wsgi_app, **fix)
    client = app.test_client()
    statuses = [
        client.get(
            "/", headers={"X-Forwarded-For": forwarded(i)}, environ_base={"REMOTE_ADDR": peer}
        ).status_code
        for i in range(TRIES)
    ]
    return statuses.count(200)


@pytest.mark.parametrize("environ", [{}, INSIDE, ONE_HOP, {**INSIDE, **ONE_HOP}], ids=str)
def test_the_address_that_it_puts_in_place_is_the_client(environ, caplog):
    assert passed({"x_for": 1}, environ, lambda i: f"9.9.9.{i}, 198.51.100.7") == AMOUNT
    assert passed({"x_for": 1}, environ, lambda i: f"9.9.9.9, 198.51.100.{i}") == TRIES
    assert not [record for record in caplog.records if "proxy" in record.getMessage()]


@pytest.mark.parametrize("environ", [INSIDE, ONE_HOP, {**INSIDE, **ONE_HOP}], ids=str)
def test_its_number_of_proxies_stands_whatever_ours_is(environ):
    assert passed({"x_for": 2}, environ, lambda i: f"9.9.9.{i}, 198.51.100.7, 34.1.2.{i}") == AMOUNT
    assert passed({"x_for": 2}, environ, lambda i: f"198.51.100.{i}, 34.1.2.3") == TRIES


def test_a_client_inside_of_a_trusted_network_gains_nothing_by_it():
    assert passed({"x_for": 1}, INSIDE, lambda i: f"9.9.9.{i}, 10.9.9.9") == AMOUNT


@pytest.mark.parametrize("environ", [INSIDE, ONE_HOP, {**INSIDE, **ONE_HOP}], ids=str)
def test_where_it_minds_other_headers_only_our_settings_apply(environ):
    fix = {"x_for": 0, "x_proto": 1}
    assert passed(fix, environ, lambda i: f"9.9.9.{i}, 198.51.100.7") == AMOUNT
    assert passed(fix, environ, lambda i: f"9.9.9.9, 198.51.100.{i}") == TRIES


def test_where_it_minds_other_headers_only_and_nothing_is_set_that_is_said(caplog):
    assert passed({"x_for": 0, "x_proto": 1}, {}, lambda i: f"198.51.100.{i}") == AMOUNT
    assert "set OTEL_RATELIMIT_TRUSTED_PROXIES=10.0.0.1" in caplog.text
