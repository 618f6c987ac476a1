"""Which strategies a store counts by, known from its URI without opening it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from limits.storage import (
    MemcachedStorage,
    MemoryStorage,
    MovingWindowSupport,
    SlidingWindowCounterSupport,
    Storage,
)

from otel_ratelimit.core.errors import Problem
from otel_ratelimit.core.route_plan import Strategy
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.storage.zone.uri import SCHEME as SHARED_MEMORY
from otel_ratelimit.storage.zone.values import FORMS

_NEEDS: Final[Mapping[Strategy, type]] = {
    Strategy.FIXED_WINDOW: Storage,
    Strategy.MOVING_WINDOW: MovingWindowSupport,
    Strategy.SLIDING_WINDOW_COUNTER: SlidingWindowCounterSupport,
}
"""The interface of `limits` that a storage must have for a strategy."""
_OTHERS: Final[Mapping[str, type[Storage]]] = {"memcached": MemcachedStorage, "memory": MemoryStorage}
"""Schemes of storages that have no store of ours."""


def strategies_of(kind: type) -> list[Strategy]:
    """The strategies that a storage of `limits` supports; it has none for token buckets."""
    return [strategy for strategy, needed in _NEEDS.items() if issubclass(kind, needed)]


def unsupported(scheme: str, able: Collection[Strategy], strategies: Iterable[Strategy]) -> list[Problem]:
    """The `strategies` that a store does not support, as problems of its URI.

    Args:
        scheme: of the URI.
        able: what the store supports.
        strategies: those of a policy.
    """
    return [
        Problem(
            "OTEL_RATELIMIT_STORAGE_URI",
            f"{scheme}:// cannot count by strategy {strategy.value!r}",
            f"use {' or '.join(able)} in the policy, or another store",
        )
        for strategy in sorted(set(strategies))
        if strategy not in able
    ]


def strategy_problems(given: str | Secret, strategies: Iterable[Strategy]) -> list[Problem]:
    """The `strategies` that the store of a valid URI does not support."""
    scheme = Secret.of(given).reveal().partition("://")[0]
    return unsupported(scheme, _able(scheme), strategies)


def _able(scheme: str) -> Collection[Strategy]:
    if scheme == SHARED_MEMORY:
        return list(FORMS)
    return strategies_of(_OTHERS[scheme]) if scheme in _OTHERS else list(Strategy)
