"""Stores counted call by call, with the keys and policies that real applications have."""

from __future__ import annotations

import time

import flask
import pytest
from half_over import DAY_OR_TWO
from limits.storage import MemoryStorage, storage_from_string

from otel_ratelimit import RateLimit
from otel_ratelimit.core.errors import ConfigurationError, SettingsError, StorageUnavailableError
from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.policy import parse_policy
from otel_ratelimit.storage import CircuitBreaker, counter_store, storage_options
from otel_ratelimit.storage.client_options import STORAGE_TIMEOUT_SECONDS

CLIENT = "i" + "0" * 32
POLICY = """
version = 1
[tiers]
default = "100/minute"
[[routes]]
match = "POST /api/ai/*"
limits = "2/minute; 10/hour"
"""


def window(amount, seconds=60, strategy=Strategy.FIXED_WINDOW, *, scope="e"):
    return Window(f"n|{scope}|{seconds}|{strategy}|", amount, seconds, strategy, False, "", "")


@pytest.fixture
def store(memcached):
    return counter_store(storage_from_string(memcached.uri), memcached.uri, time.time)


def test_memcached_limits_a_rule_that_names_a_method(memcached):
    app = flask.Flask("shop")
    app.add_url_rule("/api/ai/letter", "letter", lambda: "ok", methods=["POST"])
    rate_limit = RateLimit(
        app, policy=parse_policy(POLICY, "memcached.toml"), storage_uri=memcached.uri, environ={}
    )
    client = app.test_client()
    assert [client.post("/api/ai/letter").status_code for _ in range(3)] == [200, 200, 429]
    rate_limit.close()


@pytest.mark.parametrize("strategy", [Strategy.FIXED_WINDOW, Strategy.SLIDING_WINDOW_COUNTER])
@pytest.mark.parametrize("scope", ["*:rule=GET,POST /api/**", "größe", "x" * 300, "\ud800", "a\n\tb"])
def test_memcached_takes_whatever_a_scope_holds(store, scope, strategy):
    plan = [window(2, DAY_OR_TWO, strategy, scope=scope)]
    assert [store.take(plan, CLIENT, 1, time.time()).allowed for _ in range(3)] == [True, True, False]
    assert store.clear(plan, CLIENT) == 1
    assert store.take(plan, CLIENT, 1, time.time()).allowed


def test_scopes_that_look_alike_when_written_for_memcached_are_counted_apart(store):
    alike = ["a b", "a%20b", "a+b", "x" * 300, "x" * 301]
    for scope in alike:
        assert store.take([window(1, scope=scope)], CLIENT, 1, time.time()).allowed, scope


def test_a_strategy_that_the_store_does_not_have_is_named_with_those_it_has(store):
    with pytest.raises(ConfigurationError) as caught:
        store.take([window(5, strategy=Strategy.MOVING_WINDOW)], CLIENT, 1, time.time())
    (problem,) = caught.value.problems
    assert "memcached:// cannot count by strategy 'moving-window'" in problem.what
    assert "fixed-window or sliding-window-counter" in problem.instead


def test_memcached_says_truly_when_to_retry(store):
    plan = [window(2, 1)]
    for _ in range(3):
        while (answer := store.take(plan, CLIENT, 1, time.time())).allowed:
            pass
        time.sleep(answer.states[0].retry_after)
        assert store.take(plan, CLIENT, 1, time.time()).allowed


def test_a_lowered_moving_limit_says_truly_when_to_retry():
    store = counter_store(MemoryStorage(), "memory://", time.time)
    assert store.take([window(3, 1, Strategy.MOVING_WINDOW)], CLIENT, 1, time.time()).allowed
    deadline = time.monotonic() + 10
    while (
        store.peek([window(1, 1, Strategy.MOVING_WINDOW)], CLIENT, 1, time.time()).states[0].retry_after > 0.5
    ):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert store.take([window(3, 1, Strategy.MOVING_WINDOW)], CLIENT, 2, time.time()).allowed

    lowered = [window(1, 1, Strategy.MOVING_WINDOW)]
    refused = store.take(lowered, CLIENT, 1, time.time())
    assert not refused.allowed
    time.sleep(refused.states[0].retry_after)
    assert store.take(lowered, CLIENT, 1, time.time()).allowed


def test_a_silent_memcached_is_waited_for_once(memcached):
    uri = memcached.uri
    store = CircuitBreaker(
        counter_store(storage_from_string(uri, **storage_options(uri)), uri, time.time), retry_seconds=60
    )
    plan = [window(5), window(9, 3600)]
    assert store.take(plan, CLIENT, 1, time.time()).allowed
    memcached.pause()
    began = time.monotonic()
    times = 10
    try:
        for _ in range(times):
            with pytest.raises(StorageUnavailableError, match="timeout"):
                store.take(plan, CLIENT, 1, time.time())
    finally:
        memcached.resume()
    assert time.monotonic() - began < times / 2 * STORAGE_TIMEOUT_SECONDS


def test_a_policy_that_the_store_cannot_keep_stops_the_application(memcached):
    policy = parse_policy('version = 1\nstrategy = "moving-window"\n', "p.toml")
    with pytest.raises(SettingsError, match="cannot count by strategy 'moving-window'"):
        RateLimit(flask.Flask("shop"), policy=policy, storage_uri=memcached.uri, environ={})
