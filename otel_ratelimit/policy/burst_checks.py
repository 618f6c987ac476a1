"""Contradictions between a burst, the strategy, the cost and the limits that it is for.

Like `cross_checks`, it reads the raw data, in which anything may be of a wrong type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from limits import RateLimitItem

from otel_ratelimit.core.route_plan import Strategy
from otel_ratelimit.policy import defaults
from otel_ratelimit.policy.contradiction import Contradiction
from otel_ratelimit.policy.invalid_value import shown
from otel_ratelimit.policy.limit_notation import MAX_AMOUNT
from otel_ratelimit.policy.quantities import MAX_SECONDS

_WITHOUT_BURST: Final = [str(strategy) for strategy in Strategy if strategy is not Strategy.TOKEN_BUCKET]
_YEAR_SECONDS: Final = 365.25 * 86_400


class Bursts:
    """The bursts of a policy file: which one a rule has, and what is wrong with it.

    Args:
        data: the raw policy.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._strategy = data.get("strategy", defaults.STRATEGY)
        self._burst = data.get("burst")

    def of_policy(self) -> Iterator[Contradiction]:
        """A burst at the top level that no limit has."""
        yield from _without_bucket(("burst",), self._burst, self._strategy)

    def of_rule(
        self, index: int, rule: Mapping[str, Any], items: Sequence[RateLimitItem]
    ) -> Iterator[Contradiction]:
        """A rule's burst that its strategy does not know, or that takes too long to become free."""
        strategy = rule.get("strategy", self._strategy)
        yield from _without_bucket(("routes", index, "burst"), rule.get("burst"), strategy)
        burst = self.units(rule)
        if burst is not None:
            place = ("routes", index, "burst" if "burst" in rule else "match")
            yield from _too_slow(place, burst, items)

    def of_default(self, items: Sequence[RateLimitItem]) -> Iterator[Contradiction]:
        """A burst at the top level that takes too long to become free at limits without a rule."""
        burst = self.units({})
        if burst is not None:
            yield from _too_slow(("burst",), burst, items)

    def units(self, rule: Mapping[str, Any]) -> int | None:
        """How many units the rule's buckets hold; None for its limits' amounts, or if it is invalid."""
        burst = rule.get("burst", self._burst)
        buckets = rule.get("strategy", self._strategy) == Strategy.TOKEN_BUCKET
        return burst if buckets and type(burst) is int and 0 < burst <= MAX_AMOUNT else None


def _without_bucket(path: tuple[str | int, ...], burst: object, strategy: object) -> Iterator[Contradiction]:
    if type(burst) is int and strategy in _WITHOUT_BURST:
        yield Contradiction(
            path,
            f"a burst of {shown(burst)} has no effect on the strategy {shown(strategy)}",
            'write strategy = "token-bucket" beside it, or remove the burst',
        )


def _too_slow(
    path: tuple[str | int, ...], burst: int, items: Sequence[RateLimitItem]
) -> Iterator[Contradiction]:
    for item in items:
        if burst * item.get_expiry() > MAX_SECONDS * item.amount:
            years = burst * item.get_expiry() / item.amount / _YEAR_SECONDS
            most = max(1, MAX_SECONDS * item.amount // item.get_expiry())
            yield Contradiction(
                path,
                f"a burst of {shown(burst)} takes {years:,.0f} years to become free again at {item}",
                f"use at most {most}",
            )
            return
