"""A suggestion as the text of a policy file (TOML 1.0), with the evidence beside each rule.

Rules name routes exactly: `GET /api/jobs/<id>` is that template and no other. In the present policy,
everything except tiers and routes is kept. Its rules keep everything except their limits, for the routes that
they match; a rule that cannot be kept is named at the end. The comments are made in
`policy_suggest_comments`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

from otel_ratelimit.analytics.policy_suggestion import Amounts, Seen, SuggestedRoute, Suggestion, Undecided
from otel_ratelimit.cli import policy_suggest_comments as comments
from otel_ratelimit.cli.policy_suggest_comments import LostRule
from otel_ratelimit.core.periods import Period
from otel_ratelimit.policy import Policy
from otel_ratelimit.policy.limit_notation import parse_limits
from otel_ratelimit.policy.route_pattern import RoutePattern

_PARAMETER: Final = re.compile(r"<[^<>]*?(\w*)[^\w<>]*>")
_UNWRITABLE: Final = re.compile(r"[<>{}?#*\s]+|(?<=/):|^:")
"""Characters that a route's template may have and a pattern cannot."""
_INVISIBLE: Final = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]")
"""Characters that JSON does not escape, and that TOML forbids or a terminal obeys."""
_KEPT_OF_RULES: Final = ("key", "strategy", "on_error", "cost", "shadow")
_KEPT_TABLES: Final = ("unmatched", "identity", "memory", "analytics", "cache", "report")
_UNITS: Final = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True, slots=True)
class SuggestedRule:
    """A rule of `[[routes]]`, with its evidence."""

    methods: tuple[str, ...]
    path: str
    tier: str
    kept: tuple[tuple[str, str | int], ...]
    """Keys that the present policy has for these routes."""
    evidence: tuple[tuple[str, Seen], ...]
    """By method."""

    @property
    def match(self) -> str:
        """As the policy file has it."""
        return f"{','.join(self.methods)} {self.path}"


@dataclass(frozen=True, slots=True)
class SuggestedPolicy:
    """The tiers and rules of the file, and what is not carried over."""

    tiers: Mapping[str, str]
    rules: tuple[SuggestedRule, ...]
    undecided: tuple[Undecided, ...]
    lost: tuple[LostRule, ...]

    @property
    def seen(self) -> tuple[int, int]:
        """The number of requests, and of the methods of routes that they used; without exempt routes."""
        by_route: dict[tuple[str, str], int] = {
            (left.endpoint, left.method): left.requests for left in self.undecided
        }
        for _, seen in (each for rule in self.rules for each in rule.evidence):
            found = seen.recommendation
            route = (found.endpoint, found.method)
            by_route[route] = max(by_route.get(route, 0), found.requests)
        return sum(by_route.values()), len(by_route)


def known_tiers(policy: Policy) -> dict[str, Amounts]:
    """The tiers of the present policy that are kept: the default, and that of requests without a route."""
    names = {policy.default_tier} | ({policy.unmatched.tier} if policy.unmatched.tier else set())
    return {
        name: tuple((item.get_expiry(), item.amount) for item in parse_limits(policy.tiers[name]))
        for name in sorted(names)
    }


def suggested_policy(suggestion: Suggestion, policy: Policy) -> SuggestedPolicy:
    """Rules for the routes of `suggestion`, in an order in which each of them can match."""
    exempt = [RoutePattern.parse(text) for text in policy.exempt]
    order = {name: index for index, name in enumerate([*known_tiers(policy), *suggestion.tiers])}
    found: dict[tuple[object, str], SuggestedRule] = {}
    undecided = list(suggestion.undecided)
    for route in suggestion.routes:
        if any(pattern.matches("", route.method, route.endpoint) for pattern in exempt):
            continue
        path = pattern_path(route.endpoint)
        if path is None:
            undecided.append(_unnameable(route))
            continue
        rule = _rule(route, path, policy)
        # Equal for templates that differ only in the names or converters of parameters.
        place = (RoutePattern.parse(path).segments, route.method)
        same = found.get(place)
        if same is not None:
            wider = max(same.tier, rule.tier, key=lambda tier: order[tier])
            rule = replace(same, tier=wider, evidence=same.evidence + rule.evidence)
        found[place] = rule
    tiers = known_tiers(policy) | dict(suggestion.tiers)
    used = {rule.tier for rule in found.values()} | set(known_tiers(policy))
    return SuggestedPolicy(
        tiers={name: limits_text(amounts) for name, amounts in tiers.items() if name in used},
        rules=_in_order(_by_methods(found.values())),
        undecided=tuple(undecided),
        lost=tuple(_lost(policy, suggestion)),
    )


def policy_text(
    suggested: SuggestedPolicy, policy: Policy, period: Period, share: float, *, service: str | None = None
) -> str:
    """The whole file.

    Args:
        suggested: tiers and rules.
        policy: the present policy.
        period: of the evidence.
        share: of client windows that a limit may refuse.
        service: of the evidence.
    """
    return "\n".join(_lines(suggested, policy, period, share, service)) + "\n"


def pattern_path(route: str) -> str | None:
    """The path of a pattern for a route's template; None if no pattern can match only it."""
    # The literal parts are between the names of the parameters.
    parts = _PARAMETER.split(route)
    parts[::2] = (_UNWRITABLE.sub("*", literal) for literal in parts[::2])
    parts[1::2] = (f"<{name}>" for name in parts[1::2])
    path = "".join(parts)
    try:
        return path if RoutePattern.parse(path).matches("", "GET", route) else None
    except ValueError:
        return None


def limits_text(amounts: Amounts) -> str:
    """`10/minute; 50/hour`."""
    return "; ".join(f"{amount}/{_window_text(seconds)}" for seconds, amount in amounts)


def _window_text(seconds: int) -> str:
    length, unit = next((length, unit) for length, unit in _UNITS if seconds % length == 0)
    return unit if seconds == length else f"{seconds // length} {unit}"


def _unnameable(route: SuggestedRoute) -> Undecided:
    return Undecided(
        route.endpoint,
        route.method,
        "no pattern of a policy file can name this route",
        "unnameable",
        requests=max(seen.recommendation.requests for seen in route.evidence),
        client_windows=min(seen.recommendation.client_windows for seen in route.evidence),
    )


def _rule(route: SuggestedRoute, path: str, policy: Policy) -> SuggestedRule:
    kept: tuple[tuple[str, str | int], ...] = ()
    for present in policy.routes:
        if RoutePattern.parse(present.match).matches("", route.method, route.endpoint):
            said = present.model_dump(include=set(_KEPT_OF_RULES), exclude_unset=True)
            kept = tuple((key, said[key]) for key in _KEPT_OF_RULES if _can_be_kept(key, said.get(key)))
            break
    evidence = tuple((route.method, seen) for seen in route.evidence)
    return SuggestedRule((route.method,), path, route.tier, kept, evidence)


def _can_be_kept(key: str, value: object) -> bool:
    return value is not None and (key != "shadow" or value is True)


def _lost(policy: Policy, suggestion: Suggestion) -> Iterator[LostRule]:
    for rule in policy.routes:
        pattern = RoutePattern.parse(rule.match)
        if pattern.segments is None:
            yield LostRule(rule.match, "names an endpoint, while routes are recorded")
        elif not any(pattern.matches("", route.method, route.endpoint) for route in suggestion.routes):
            yield LostRule(rule.match, "has too few requests to suggest a limit")
        elif rule.scope != "endpoint":
            yield LostRule(rule.match, f"has the scope {rule.scope}, while here each route counts by itself")
        elif isinstance(rule.shadow, str):
            yield LostRule(rule.match, f"observes its limit {rule.shadow} only, which is replaced here")


def _by_methods(rules: Iterable[SuggestedRule]) -> list[SuggestedRule]:
    joined: dict[tuple[object, ...], SuggestedRule] = {}
    for rule in rules:
        key = (rule.path, rule.tier, rule.kept)
        same = joined.get(key)
        joined[key] = (
            rule
            if same is None
            else replace(same, methods=same.methods + rule.methods, evidence=same.evidence + rule.evidence)
        )
    return list(joined.values())


def _in_order(rules: list[SuggestedRule]) -> tuple[SuggestedRule, ...]:
    """The most specific first; without rules for which an earlier one leaves nothing to match."""
    kept: list[tuple[RoutePattern, SuggestedRule]] = []
    for rule in sorted(rules, key=_specific_first):
        pattern = RoutePattern.parse(rule.match)
        if not any(earlier.covers(pattern) for earlier, _ in kept):
            kept.append((pattern, rule))
    return tuple(rule for _, rule in kept)


def _specific_first(rule: SuggestedRule) -> tuple[object, ...]:
    asterisks = rule.path.count("*")
    # A pattern that covers another has no more literal characters.
    literals = len(_PARAMETER.sub("<>", rule.path)) - asterisks
    return (asterisks > 0, -literals if asterisks else 0, asterisks, rule.path, rule.methods)


def _lines(
    suggested: SuggestedPolicy, policy: Policy, period: Period, share: float, service: str | None
) -> Iterator[str]:
    yield from comments.heading(suggested.seen, period, share, service, has_rules=bool(suggested.rules))
    said = policy.model_dump(by_alias=True, exclude_unset=True)
    yield "version = 1"
    yield f"default_tier = {_toml(policy.default_tier)}"
    yield from (f"{key} = {_toml(said[key])}" for key in ("key", "strategy", "on_error") if key in said)
    yield f"exempt = {_toml(list(policy.exempt))}"
    yield ""
    yield "[tiers]"
    yield from (f"{_toml_key(name)} = {_toml(limits)}" for name, limits in suggested.tiers.items())
    for rule in suggested.rules:
        yield ""
        for method, seen in rule.evidence:
            yield from comments.evidence(shown(method), seen)
        yield "[[routes]]"
        yield f"match = {_toml(rule.match)}"
        yield f"tier = {_toml(rule.tier)}"
        yield from (f"{key} = {_toml(value)}" for key, value in rule.kept)
    yield from comments.undecided(suggested.undecided, shown)
    yield from comments.lost(suggested.lost, shown)
    yield from _kept_tables(said)


def _kept_tables(said: Mapping[str, Any]) -> Iterator[str]:
    for name in _KEPT_TABLES:
        if said.get(name):
            yield ""
            yield f"[{name}]"
            yield from _table(name, said[name])
    for client in said.get("clients", ()):
        yield ""
        yield "[[clients]]"
        yield from _pairs(client)


def _table(name: str, table: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a table; tables in it come last, because keys after them would be theirs."""
    inner = {key: value for key, value in table.items() if _is_tables(value)}
    yield from _pairs({key: value for key, value in table.items() if key not in inner})
    for key, tables in inner.items():
        for row in tables:
            yield ""
            yield f"[[{name}.{key}]]"
            yield from _pairs(row)


def _is_tables(value: object) -> bool:
    return isinstance(value, list | tuple) and any(isinstance(row, dict) for row in value)


def _pairs(table: Mapping[str, Any]) -> Iterator[str]:
    return (f"{key} = {_toml(value)}" for key, value in table.items() if value is not None)


def _toml(value: object) -> str:
    """A value in TOML: as in JSON, except for dates and characters that TOML forbids."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list | tuple) and value:
        return "[" + ", ".join(map(_toml, value)) + "]"
    return _INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def _toml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def shown(text: str) -> str:
    """The text on one line, safe for a comment and a terminal."""
    return _toml(text)[1:-1]
