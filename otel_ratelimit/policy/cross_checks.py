"""Contradictions between the tables of a policy file: unknown tiers, rules that can never match, and so on.

The checks read the raw data, so that a mistake in one table does not hide a mistake in another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from limits import RateLimitItem

from otel_ratelimit.core.cache_assumptions import DEFAULT_CURRENCY
from otel_ratelimit.core.route_plan import Strategy
from otel_ratelimit.policy.cache import is_currency
from otel_ratelimit.policy.defaults import BUILT_IN_EXEMPT, BUILT_IN_TIERS
from otel_ratelimit.policy.invalid_value import InvalidValueError, nearest, shown
from otel_ratelimit.policy.limit_notation import parse_limits
from otel_ratelimit.policy.model import parse_network
from otel_ratelimit.policy.route_pattern import RoutePattern

MAX_MOVING_WINDOW: Final = 100_000
"""The most units of a moving window; each unit takes eight bytes for every client."""


class Contradiction(NamedTuple):
    """A mistake, and the place of the key that has it."""

    path: tuple[str | int, ...]
    what: str
    instead: str
    other: tuple[str | int, ...] = ()
    """The place that contradicts it, if any."""


def find_contradictions(data: dict[str, Any]) -> Iterator[Contradiction]:
    """Every contradiction between tables."""
    yield from _tiers(data)
    yield from _unreachable(data)
    yield from _costs_and_shadows(data)
    yield from _twice(data)
    yield from _prices(data)


def _known_tiers(data: dict[str, Any]) -> dict[str, Any]:
    tiers = data.get("tiers", {})
    return {**BUILT_IN_TIERS, **(tiers if isinstance(tiers, dict) else {})}


def _tables(data: dict[str, Any], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    tables = data.get(name, [])
    if isinstance(tables, list):
        for index, table in enumerate(tables):
            if isinstance(table, dict):
                yield index, table


def _tiers(data: dict[str, Any]) -> Iterator[Contradiction]:
    known = _known_tiers(data)
    named: list[tuple[tuple[str | int, ...], Any]] = [(("default_tier",), data.get("default_tier"))]
    named += [(("routes", index, "tier"), rule.get("tier")) for index, rule in _tables(data, "routes")]
    unmatched = data.get("unmatched")
    if isinstance(unmatched, dict):
        named.append((("unmatched", "tier"), unmatched.get("tier")))
    for path, tier in named:
        if isinstance(tier, str) and tier not in known:
            yield Contradiction(path, f"there is no tier {shown(tier)}", nearest(tier, known))


def _unreachable(data: dict[str, Any]) -> Iterator[Contradiction]:
    exempt = data.get("exempt", BUILT_IN_EXEMPT if "exempt" not in data else [])
    earlier: list[tuple[tuple[str | int, ...], RoutePattern]] = []
    for index, text in enumerate(exempt if isinstance(exempt, list | tuple) else []):
        pattern = _pattern(text)
        if pattern is not None:
            earlier.append((("exempt", index) if "exempt" in data else ("exempt",), pattern))
    for index, rule in _tables(data, "routes"):
        pattern = _pattern(rule.get("match"))
        if pattern is None:
            continue
        place = ("routes", index, "match")
        for former, candidate in earlier:
            if candidate.covers(pattern):
                by = "is exempt because of" if former[0] == "exempt" else "is already matched by"
                yield Contradiction(
                    place,
                    f"{shown(pattern.text)} can never match: all of it {by} {shown(candidate.text)}",
                    "put the more specific rule first, or remove one of them",
                    former,
                )
                break
        earlier.append((place, pattern))


def _costs_and_shadows(data: dict[str, Any]) -> Iterator[Contradiction]:
    tiers = _known_tiers(data)
    for index, rule in _tables(data, "routes"):
        tier = rule.get("tier")
        text = rule.get("limits", tiers.get(tier) if isinstance(tier, str) else None)
        items = _items(text)
        if not items:
            continue
        largest = max(items, key=lambda item: item.amount)
        strategy = rule.get("strategy", data.get("strategy"))
        if strategy == Strategy.MOVING_WINDOW and largest.amount > MAX_MOVING_WINDOW:
            yield Contradiction(
                ("routes", index, "strategy" if "strategy" in rule else "match"),
                f"moving-window keeps a time for each unit, and {largest} has too many",
                f"use sliding-window-counter, or at most {MAX_MOVING_WINDOW}",
            )
        cost = rule.get("cost", 1)
        tightest = min(items, key=lambda item: item.amount)
        if isinstance(cost, int) and cost > tightest.amount:
            yield Contradiction(
                ("routes", index, "cost"),
                f"a cost of {shown(cost)} is more than {tightest} ever allows",
                "make the cost smaller or the limit larger",
            )
        shadow = rule.get("shadow")
        if isinstance(shadow, str):
            for item in _items(shadow):
                if item not in items:
                    yield Contradiction(
                        ("routes", index, "shadow"),
                        f"{item} is not one of the rule's limits",
                        f"name some of {shown(text)}, or write true",
                    )


def _twice(data: dict[str, Any]) -> Iterator[Contradiction]:
    earlier: list[tuple[int, str, Any]] = []
    for index, rule in _tables(data, "clients"):
        match = rule.get("match")
        client = _client(match)
        if client is None:
            continue
        for former, text, known in earlier:
            if known == client or _holds(known, client):
                yield Contradiction(
                    ("clients", index, "match"),
                    f"{shown(match)} can never match: it is already matched by {shown(text)}",
                    "put the more specific one first, or remove one of them",
                    ("clients", former, "match"),
                )
                break
        earlier.append((index, str(match), client))


def _prices(data: dict[str, Any]) -> Iterator[Contradiction]:
    cache = data.get("cache")
    if not isinstance(cache, dict):
        return
    earlier: dict[str, int] = {}
    for index, price in _tables(cache, "prices"):
        name = price.get("name")
        if not isinstance(name, str):
            continue
        if name in earlier:
            yield Contradiction(
                ("cache", "prices", index, "name"),
                f"{shown(name)} is there twice",
                "give each price a name of its own",
                ("cache", "prices", earlier[name], "name"),
            )
        earlier.setdefault(name, index)
    currency = cache.get("currency", DEFAULT_CURRENCY)
    if is_currency(currency) and currency != DEFAULT_CURRENCY and not cache.get("prices"):
        yield Contradiction(
            ("cache", "currency"),
            f"there are no prices in {currency}: the built-in ones are in {DEFAULT_CURRENCY}",
            "add [[cache.prices]] with prices of your own, or leave the currency out",
        )


def _client(match: object) -> Any:
    """A user's name, a network, or None for what is neither."""
    kind, _, argument = match.partition(":") if isinstance(match, str) else ("", "", "")
    if kind != "ip":
        return argument if kind == "user" else None
    try:
        return parse_network(argument)
    except InvalidValueError:
        return None


def _holds(network: Any, other: Any) -> bool:
    if isinstance(network, str) or isinstance(other, str) or network.version != other.version:
        return False
    return bool(other.subnet_of(network))


def _items(text: object) -> tuple[RateLimitItem, ...]:
    """The limits in `text`; empty if it has mistakes, which the model reports."""
    try:
        return parse_limits(text) if isinstance(text, str) else ()
    except InvalidValueError:
        return ()


def _pattern(text: object) -> RoutePattern | None:
    try:
        return RoutePattern.parse(text) if isinstance(text, str) else None
    except InvalidValueError:
        return None
