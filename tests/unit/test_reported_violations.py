"""Refusals that the application reports itself: odd values are converted or refused where they are given."""

from __future__ import annotations

import enum
import logging
import uuid
from decimal import Decimal
from http import HTTPMethod
from ipaddress import ip_address

import flask
import pytest

from otel_ratelimit import RateLimit
from otel_ratelimit.analytics import log_rate_limit_violation
from otel_ratelimit.policy import parse_policy

LOGGER = "otel_ratelimit.refusals"
LIMIT = {"limit_text": "5 per 1 minute", "limit_value": 5, "limit_seconds": 60, "current_count": 6}
GIVEN = {"endpoint": "/a", "client": "192.0.2.7", **LIMIT}


class Number(enum.IntEnum):
    SEVEN = 7


@pytest.fixture
def report(caplog):
    """`report(...)` reports a violation with these arguments in place of usual ones; answers the line."""
    caplog.set_level(logging.INFO, LOGGER)
    app = flask.Flask("shop")
    rate_limit = RateLimit(app, policy=parse_policy("version = 1\n", "test.toml"), environ={})

    def report(**other):
        caplog.clear()
        with app.app_context():
            log_rate_limit_violation(**{**GIVEN, **other})
        rate_limit.refusal_log.tick()
        return "\n".join(record.getMessage() for record in caplog.records if record.name == LOGGER)

    yield report
    rate_limit.close()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"user_id": 42}, "client 192.0.2.7 (user 42)"),
        ({"user_id": Number.SEVEN}, "(user 7)"),
        ({"user_id": uuid.UUID(int=1)}, "(user 00000000-0000-0000-0000-000000000001)"),
        ({"user_id": b"ann"}, "(user ann)"),
        ({"user_id": 0}, "(user 0)"),
        ({"user_id": False}, "client 192.0.2.7: "),
        ({"user_id": ""}, "client 192.0.2.7: "),
        ({"client": None}, "client unknown: "),
        ({"client": ""}, "client unknown: "),
        ({"client": ip_address("2001:db8::1")}, "client 2001:db8::1: "),
        ({"method": HTTPMethod.PUT}, ": PUT /a"),
        ({"current_count": 6.0}, "refused 1 request"),
        ({"limit_seconds": Number.SEVEN}, "refused 1 request"),
        ({"occurred_at": 1_700_000_000}, "refused 1 request"),
        ({"occurred_at": Decimal("1700000000.5")}, "refused 1 request"),
        ({"shadow": 1}, "would have refused (shadow)"),
        ({"endpoint": "/" + "x" * 10_000}, "/" + "x" * 511 + ","),
    ],
)
def test_what_can_only_mean_one_thing_is_converted(report, given, said):
    assert said in report(**given)


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ({"user_id": object()}, TypeError, "user_id is an object of type object; it must be text, an int or"),
        ({"user_id": 1.5}, TypeError, "user_id"),
        ({"user_id": True}, TypeError, "user_id"),
        ({"user_id": 10**5000}, ValueError, "user_id"),
        ({"user_id": f"{object()}"}, TypeError, "user_id"),
        ({"client": ["192.0.2.7"]}, TypeError, "client"),
        ({"tier": None}, TypeError, "tier must be text, not NoneType"),
        ({"endpoint": None}, TypeError, "endpoint"),
        ({"method": b"GET"}, TypeError, "method"),
        ({"limit_text": 5}, TypeError, "limit_text"),
        ({"current_count": 6.5}, ValueError, "current_count must be a whole number, not 6.5"),
        ({"current_count": float("nan")}, ValueError, "current_count"),
        ({"current_count": float("inf")}, ValueError, "current_count"),
        ({"current_count": 2**70}, ValueError, "current_count must be from 0 to 9223372036854775807"),
        ({"current_count": -1}, ValueError, "current_count"),
        ({"current_count": None}, TypeError, "current_count"),
        ({"limit_value": "5"}, TypeError, "limit_value must be a whole number, not str"),
        ({"limit_seconds": 2**63}, ValueError, "limit_seconds"),
        ({"occurred_at": 1e18}, ValueError, "occurred_at must be Unix time in seconds"),
        ({"occurred_at": 1_700_000_000_000}, ValueError, "milliseconds"),
        ({"occurred_at": -1e13}, ValueError, "occurred_at"),
        ({"occurred_at": float("nan")}, ValueError, "occurred_at"),
        ({"occurred_at": 10**400}, ValueError, "occurred_at"),
        ({"occurred_at": "1700000000"}, TypeError, "occurred_at"),
        ({"occurred_at": True}, TypeError, "occurred_at"),
        ({"shadow": "no"}, TypeError, "shadow"),
        ({"shadow": 2}, TypeError, "shadow"),
        ({"shadow": None}, TypeError, "shadow"),
    ],
)
def test_nonsense_is_refused_at_the_call_and_neither_logged_nor_recorded(report, given, error, sentence):
    with pytest.raises(error, match=sentence):
        report(**given)
    assert "refused 1 request of client 192.0.2.7" in report()


@pytest.mark.parametrize("name", ["endpoint", "method", "tier", "limit_text", "client", "user_id"])
@pytest.mark.parametrize(
    "injected", ["a\n[2026] [CRITICAL] fake: line", "\r", "\x1b[2J", "\u2028", "\u202e", "\0"]
)
def test_no_argument_writes_a_line_of_its_own_into_the_log(report, name, injected):
    line = report(**{name: injected})
    assert line.isprintable()
    assert line.startswith("refused 1 request of ")


@pytest.mark.parametrize("name", ["endpoint", "method", "tier", "limit_text"])
def test_nor_does_it_into_the_line_of_many_clients(make_crowded, name):
    lines = make_crowded(**{name: "a\nfake: line"})
    assert lines
    assert all(line.isprintable() for line in lines)


@pytest.fixture
def make_crowded(caplog):
    caplog.set_level(logging.INFO, LOGGER)
    app = flask.Flask("shop")
    rate_limit = RateLimit(app, policy=parse_policy("version = 1\n", "test.toml"), environ={})

    def run(**other):
        with app.app_context():
            for n in range(1_100):
                log_rate_limit_violation(**{**GIVEN, "client": f"10.0.{n >> 8}.{n & 255}", **other})
        rate_limit.refusal_log.tick()
        return [record.getMessage() for record in caplog.records if record.name == LOGGER]

    yield run
    rate_limit.close()
