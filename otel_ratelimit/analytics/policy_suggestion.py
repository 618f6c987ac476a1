"""A first policy from recorded requests: a few tiers, and the endpoints of each tier.

For each method of each endpoint the recommended limits (`recommended_limits.py`) are rounded up to 1, 2 or 5
times a power of ten, so that endpoints with similar needs get the same limits, and share a tier. If there are
too many tiers, the two nearest tiers are merged, with the larger amounts, until there are few enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import floor, log
from typing import Final, Literal, TypeAlias

from otel_ratelimit.analytics.headroom import percent_at
from otel_ratelimit.analytics.reader import Excess, LimitUse
from otel_ratelimit.analytics.recommended_limits import (
    MAX_REJECTED_SHARE,
    By,
    Recommendation,
    recommend_limits,
    rounded_up,
)
from otel_ratelimit.core.names import API_TIER, APPLICATION_TIER, OTHER_METHOD, UNMATCHED_ROUTE

MAX_TIERS: Final = 6
MIN_AMOUNT: Final = 5
"""A lower limit would refuse a page that is loaded twice. Only a present limit that is lower is kept."""

Amounts: TypeAlias = tuple[tuple[int, int], ...]
"""Seconds of a window and the amount allowed in it, the shortest window first."""

_NAMES: Final = ("rare", "occasional", "regular", "frequent", "busy", "constant")
_FOREIGN_TIERS: Final = frozenset({APPLICATION_TIER, API_TIER})
_METHODS_WITHOUT_RULE: Final = frozenset({OTHER_METHOD, "OPTIONS", "HEAD"})
"""Preflight requests have their own limits, and HEAD belongs to GET."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The evidence on one limit of one endpoint and method."""

    recommendation: Recommendation
    p99_units: int
    """99 % of the requests found at most this many units used."""


@dataclass(frozen=True, slots=True)
class SuggestedRoute:
    """The suggested tier of one method of one endpoint."""

    endpoint: str
    method: str
    tier: str
    evidence: tuple[Seen, ...]
    """By window, the shortest first."""


WhyUndecided: TypeAlias = Literal["little", "beyond", "unnameable"]
"""little: too few requests or clients; beyond: even the highest limit that was tried refuses too much;
unnameable: no pattern of a policy file matches the route."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """One method of one endpoint that keeps the default tier, and why."""

    endpoint: str
    method: str
    reason: str
    """Sentences, one for each limit that cannot be judged."""
    kind: WhyUndecided
    requests: int
    """Recorded requests."""
    client_windows: int
    """Client windows of the limit that has the fewest."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Tiers, the tightest first; routes, sorted by endpoint and method."""

    tiers: Mapping[str, Amounts]
    routes: tuple[SuggestedRoute, ...]
    undecided: tuple[Undecided, ...]


def suggest(
    uses: Iterable[LimitUse],
    excess: Iterable[Excess],
    *,
    max_rejected_share: float = MAX_REJECTED_SHARE,
    by: By = "clients",
    known_tiers: Mapping[str, Amounts] | None = None,
    max_tiers: int = MAX_TIERS,
) -> Suggestion:
    """Tiers and routes for the recorded requests; requests that no route matched are left out.

    Args:
        uses: how far each limit was used.
        excess: how far clients went beyond each limit.
        max_rejected_share: share that a limit may refuse, 0 to 1.
        by: share of client windows, or share of requests.
        known_tiers: tiers that exist already; a tier with exactly the amounts needed is used again.
        max_tiers: number of new tiers allowed for each set of windows.

    Raises:
        ValueError: `max_rejected_share` is not between 0 and 1.
    """
    ours = [use for use in uses if _is_ours(use)]
    mattering = _most_used(ours)
    p99 = {_limit(use): floor(percent_at(use.requests, 0.99) * use.limit_value / 100) for use in mattering}
    found: dict[tuple[str, str], list[Recommendation]] = {}
    for recommendation in recommend_limits(mattering, excess, max_rejected_share, by):
        found.setdefault((recommendation.endpoint, recommendation.method), []).append(recommendation)
    wanted = {route: _amounts(recommendations) for route, recommendations in found.items()}
    merged = _merged({amounts for amounts in wanted.values() if amounts}, max_tiers)
    known = {amounts: name for name, amounts in (known_tiers or {}).items()}
    new = sorted({amounts for amounts in merged.values() if amounts not in known}, key=_width)
    names = known | dict(zip(new, _names(len(new), set(known_tiers or ())), strict=True))
    routes, undecided = [], []
    for (endpoint, method), recommendations in sorted(found.items()):
        amounts = wanted[endpoint, method]
        if amounts:
            evidence = tuple(Seen(r, p99[_limit(r)]) for r in recommendations)
            routes.append(SuggestedRoute(endpoint, method, names[merged[amounts]], evidence))
        else:
            undecided.append(_undecided(endpoint, method, recommendations))
    return Suggestion({names[amounts]: amounts for amounts in new}, tuple(routes), tuple(undecided))


def _is_ours(use: LimitUse) -> bool:
    return bool(
        use.requests
        and use.tier not in _FOREIGN_TIERS
        and use.method not in _METHODS_WITHOUT_RULE
        and use.endpoint != UNMATCHED_ROUTE
    )


def _most_used(uses: list[LimitUse]) -> list[LimitUse]:
    """The most used one of several limits with the same window.

    There are several if the policy changed, or if known clients have other limits.
    """
    main: dict[tuple[str, str, int], LimitUse] = {}
    for use in uses:
        place = (use.endpoint, use.method, use.limit_seconds)
        if place not in main or sum(use.requests.values()) > sum(main[place].requests.values()):
            main[place] = use
    return list(main.values())


def _limit(limit: LimitUse | Recommendation) -> tuple[str, str, int]:
    return (limit.endpoint, limit.method, limit.limit_seconds)


def _amounts(recommendations: list[Recommendation]) -> Amounts:
    """The amounts for one route; empty if one of its limits cannot be judged."""
    amounts: list[tuple[int, int]] = []
    floor_amount = 1
    for found in sorted(recommendations, key=lambda found: found.limit_seconds):
        if found.recommended is None or not found.enough_evidence:
            return ()
        needed = found.recommended.limit_value
        rounded = max(rounded_up(needed), MIN_AMOUNT)
        if needed <= found.limit_value:
            rounded = min(
                rounded, found.limit_value
            )  # no looser than the present limit, which refused few enough
        # A longer window must allow at least as much as a shorter one.
        floor_amount = max(rounded, floor_amount)
        amounts.append((found.limit_seconds, floor_amount))
    return tuple(amounts)


def _merged(wanted: set[Amounts], most: int) -> dict[Amounts, Amounts]:
    """From each set of amounts to the one that replaces it, if at most `most` remain for the same windows."""
    merged = {amounts: amounts for amounts in wanted}
    while True:
        left = sorted(set(merged.values()))
        crowded = [
            (one, other)
            for one, other in combinations(left, 2)
            if _windows(one) == _windows(other)
            and sum(_windows(one) == _windows(each) for each in left) > most
        ]
        if not crowded:
            return merged
        pair = min(crowded, key=lambda pair: (_distance(*pair), pair))
        both = tuple((s, max(a, b)) for (s, a), (_, b) in zip(*pair, strict=True))
        merged = {amounts: both if to in pair else to for amounts, to in merged.items()}


def _windows(amounts: Amounts) -> tuple[int, ...]:
    return tuple(seconds for seconds, _ in amounts)


def _distance(one: Amounts, other: Amounts) -> float:
    return sum(abs(log(a / b)) for (_, a), (_, b) in zip(one, other, strict=True))


def _width(amounts: Amounts) -> tuple[float, Amounts]:
    """Requests a second over the longest window; tiers are sorted by it."""
    seconds, amount = amounts[-1]
    return amount / seconds, amounts


def _names(count: int, taken: set[str]) -> list[str]:
    """Names in the order of width, spread over the free names; numbers if there are too few names."""
    free = [name for name in _NAMES if name not in taken]
    if count > len(free):
        return [f"tier-{number}" for number in range(1, count + 1)]
    middle = (len(free) - 1) / 2
    if count == 1:
        return [free[round(middle)]]
    return [free[round(index * (len(free) - 1) / (count - 1))] for index in range(count)]


def _undecided(endpoint: str, method: str, recommendations: list[Recommendation]) -> Undecided:
    wanting = [found for found in recommendations if found.recommended is None or not found.enough_evidence]
    return Undecided(
        endpoint,
        method,
        "; ".join(found.reason for found in wanting),
        "beyond" if all(found.enough_evidence for found in wanting) else "little",
        requests=max(found.requests for found in recommendations),
        client_windows=min(found.client_windows for found in recommendations),
    )
