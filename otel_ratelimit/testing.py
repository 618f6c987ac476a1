"""A pytest plugin for applications with limits: forget counters, move the limiter's clock, assert.

    pytest_plugins = ["otel_ratelimit.testing"]      # in conftest.py

    def test_sign_in_is_limited(client, rate_limits):
        rate_limits.allow(client, "/login", times=5, method="POST")
        rate_limits.refuse(client, "/login", method="POST")
        rate_limits.advance(60)
        rate_limits.allow(client, "/login", method="POST")

The plugin is loaded by name and is no entry point of pytest, so that it costs nothing where it is not wanted.
Only the limiter's clock moves. To move the application's too, freeze `time.time` (freezegun, time-machine),
which the limiter follows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import pytest
from flask import request_finished
from flask.testing import FlaskClient
from limits.storage import MemcachedStorage, RedisStorage, memory
from werkzeug.test import TestResponse

from otel_ratelimit.core import clock
from otel_ratelimit.core.decision import Decision, DecisionKind
from otel_ratelimit.runtime.rate_limit import rate_limits_in_use
from otel_ratelimit.storage import BoundedMemoryStorage
from otel_ratelimit.web.current_decision import current_decision

MAX_EXHAUST: Final = 100_000
"""Requests after which `exhaust` no longer believes in a limit."""

_REFUSALS: Final = frozenset({429, 503})
_READS_TIME: Final = (clock, memory)
"""Modules that get the shifted time: ours, and the `memory://` store of `limits`."""

_AGE: Final = b"""
local key, milliseconds = KEYS[1], tonumber(ARGV[1])
local left = redis.call('PTTL', key)
if left == -2 or left == -1 then return 0 end
if left <= milliseconds then return redis.call('DEL', key) end
local kind = redis.call('TYPE', key).ok
if kind == 'list' then
  for i, moment in ipairs(redis.call('LRANGE', key, 0, -1)) do
    -- Our moments are whole microseconds, those of `limits` are seconds.
    local unit = tonumber(moment) > 1e12 and 1000 or 0.001
    redis.call('LSET', key, i - 1, string.format('%.6f', tonumber(moment) - milliseconds * unit))
  end
elseif kind == 'hash' then
  local seconds = tonumber(string.match(key, '|(%d+)|[^|]*|$') or 0)
  if seconds > 0 then redis.call('HINCRBY', key, 'i', -math.floor(milliseconds / 1000 / seconds)) end
end
redis.call('PEXPIRE', key, left - milliseconds)
return 1
"""
"""Makes a counter in Redis older; a sliding window is made older by whole windows only."""


class RateLimits:
    """The limits of the applications in this process, in the hands of a test.

    Use the fixture `rate_limits`, or `with rate_limits_under_test() as limits` without pytest's fixtures.
    """

    def __init__(self) -> None:
        self._shift = 0.0
        self._frozen_at: float | None = None

    @property
    def now(self) -> float:
        """Seconds since the Unix epoch by the limiter's clock."""
        return (time.time() if self._frozen_at is None else self._frozen_at) + self._shift

    def freeze(self, at: float | None = None) -> None:
        """Stop the limiter's clock at `at` (Unix time), or now. Redis counts with its own clock."""
        self._frozen_at, self._shift = (self.now if at is None else at), 0.0

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass for the limiter, and for nothing else.

        Counters in Redis or Valkey are made that much older.

        Raises:
            RuntimeError: counters live in memcached, whose clock cannot be moved.
        """
        stores = [limit.limiter.storage for limit in rate_limits_in_use()]
        if any(isinstance(store, MemcachedStorage) for store in stores):
            raise RuntimeError("memcached has its own clock; test with bounded-memory:// or Redis")
        self._shift += seconds
        for store in stores:
            if isinstance(store, RedisStorage):
                _age(store, seconds)

    def reset(self) -> None:
        """Forget every counter of the applications here; in Redis, every one with the key prefix."""
        for limit in rate_limits_in_use():
            limit.limiter.storage.reset()

    def allow(
        self, client: FlaskClient, path: str, *, times: int = 1, method: str = "GET", **options: Any
    ) -> list[TestResponse]:
        """Send the request several times; fail unless the limiter lets each through.

        Args:
            client: the application's test client.
            path: as for `client.open`.
            times: how many requests.
            method: of each.
            options: handed to `client.open`: `headers`, `json`, `environ_base`…
        """
        __tracebackhide__ = True
        responses = []
        for number in range(1, times + 1):
            response, decision = _send(client, path, method, options)
            if _is_refused(response, decision):
                pytest.fail(
                    f"request {number} of {times} was refused: {method} {path} → {response.status}"
                    f" ({_words(decision)})"
                )
            responses.append(response)
        return responses

    def refuse(
        self, client: FlaskClient, path: str, *, times: int = 1, method: str = "GET", **options: Any
    ) -> list[TestResponse]:
        """Send the request several times, as `allow`; fail unless the limiter refuses each."""
        __tracebackhide__ = True
        responses = []
        for number in range(1, times + 1):
            response, decision = _send(client, path, method, options)
            if not _is_refused(response, decision):
                pytest.fail(
                    f"request {number} of {times} was let through: {method} {path} → {response.status}"
                    f" ({_words(decision)})"
                )
            responses.append(response)
        return responses

    def exhaust(self, client: FlaskClient, path: str, *, method: str = "GET", **options: Any) -> int:
        """Send the request until it is refused; answers how many were let through."""
        __tracebackhide__ = True
        for allowed in range(MAX_EXHAUST):
            response, decision = _send(client, path, method, options)
            if _is_refused(response, decision):
                return allowed
            if decision is not None and decision.kind in {DecisionKind.EXEMPT, DecisionKind.SHADOW_BLOCKED}:
                pytest.fail(f"{method} {path} is never refused ({_words(decision)})")
        pytest.fail(f"{method} {path} was let through {MAX_EXHAUST:,} times")


@contextmanager
def rate_limits_under_test() -> Iterator[RateLimits]:
    """The limiter's clock in the hands of a test, and no counter from before or for after."""
    limits = RateLimits()
    with pytest.MonkeyPatch.context() as patch:
        for module in _READS_TIME:
            patch.setattr(module, "time", _ShiftedTime(limits))
        limits.reset()
        try:
            yield limits
        finally:
            with suppress(Exception):  # the test may have stopped the server; the next one resets first
                limits.reset()


@pytest.fixture
def rate_limits() -> Iterator[RateLimits]:
    """Forgets all counters before and after the test, and moves the limiter's clock; see `RateLimits`."""
    with rate_limits_under_test() as limits:
        yield limits


@pytest.fixture(autouse=True)
def _no_counter_of_another_test() -> None:
    """Tests that do not ask for `rate_limits` also use up limits.

    Counters that others may share, for instance in Redis, are left alone unless a test asks.
    """
    for limit in rate_limits_in_use():
        if isinstance(limit.limiter.storage, BoundedMemoryStorage | memory.MemoryStorage):
            limit.limiter.storage.reset()


class _ShiftedTime:
    """The module `time`, with another answer of `time()`."""

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits

    def time(self) -> float:
        return self._limits.now

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def _send(
    client: FlaskClient, path: str, method: str, options: dict[str, Any]
) -> tuple[TestResponse, Decision | None]:
    """The response, and the limiter's decision, if it was asked."""
    decisions: list[Decision | None] = []

    def note(_app: object, **_extra: object) -> None:
        decisions.append(current_decision())

    with request_finished.connected_to(note, client.application):
        response = client.open(path, method=method, **options)
    return response, decisions[-1] if decisions else None


def _is_refused(response: TestResponse, decision: Decision | None) -> bool:
    if decision is None:
        return response.status_code in _REFUSALS and "Retry-After" in response.headers
    if decision.kind is DecisionKind.ERROR:
        return response.status_code in _REFUSALS
    return decision.kind is DecisionKind.BLOCKED


def _words(decision: Decision | None) -> str:
    if decision is None:
        return "the limiter was not asked; is there a RateLimit on this application?"
    words = f"decision {decision.kind}, tier {decision.plan.tier or 'none'}"
    if decision.plan.windows:
        words += f", limits {'; '.join(window.text for window in decision.plan.windows)}"
    if decision.kind is DecisionKind.SHADOW_BLOCKED:
        words += "; limits are only observed (shadow)"
    return words


def _age(store: RedisStorage, seconds: float) -> None:
    connection: Any = store.get_connection()
    script = connection.register_script(_AGE)
    for key in list(connection.scan_iter(match=f"{store.prefixed_key('')}*")):
        script(keys=[key], args=[round(seconds * 1000)])
