"""The rows of `policy show`: every key with its value, and the line of the file that gives it.

The rows are made from the policy's model, so that a new key is shown too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from pydantic.fields import FieldInfo

from otel_ratelimit.policy import Policy
from otel_ratelimit.policy.load import dotted
from otel_ratelimit.policy.model import RouteRule
from otel_ratelimit.policy.toml_table import TomlTable, unit_of

DEFAULT: Final = "default"
FOLLOWS: Final = "follows other keys"
"""Source of a key that the file does not give, and whose value depends on other keys."""
NOT_IN_RULE: Final = "*"
"""Marks a value that the rule itself does not give."""

RULE_COLUMNS: Final = (
    *("#", "MATCH", "TIER", "LIMITS", "KEY", "STRATEGY", "ON ERROR", "SHADOW", "SCOPE", "COST", "FROM"),
)
_LISTED_APART: Final = frozenset({"tiers", "routes"})
_DAY, _HOUR = 86_400, 3_600


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of the file."""

    place: str
    """Its place in the file: `memory.capacity`."""
    key: str
    value: str
    source: str
    """The file and line that give it, or `default`."""


@dataclass(frozen=True, slots=True)
class Section:
    """A table of the file, or one of a list of tables."""

    title: str
    """`[memory]`; empty for the top level."""
    settings: tuple[Setting, ...]


def sections(policy: Policy) -> Iterator[Section]:
    """All tables except tiers and rules; a nested table comes after the one that holds it."""
    yield from _sections(policy, policy, ())


def tier_rows(policy: Policy) -> list[tuple[str, str, str]]:
    """Name, limits and source of each tier."""
    return [
        (name, limits, policy.line_of(dotted(("tiers", name))) or DEFAULT)
        for name, limits in policy.tiers.items()
    ]


def rule_rows(policy: Policy) -> list[tuple[str, ...]]:
    """A row of `RULE_COLUMNS` for each rule, and one for routes that no rule names."""
    rows = [_rule(policy, index, rule) for index, rule in enumerate(policy.routes)]
    limits = policy.tiers[policy.default_tier]
    inherited = (policy.key, policy.strategy, policy.on_error, "false", "endpoint", "1")
    rows.append(("-", "everything else", policy.default_tier, limits, *inherited, "default_tier"))
    return rows


def _rule(policy: Policy, index: int, rule: RouteRule) -> tuple[str, ...]:
    place = f"routes[{index}]"

    def cell(key: str, value: str) -> str:
        return value if policy.line_of(f"{place}.{key}") else value + NOT_IN_RULE

    return (
        str(index),
        rule.match,
        rule.tier or "-",
        rule.limits or policy.tiers[rule.tier or policy.default_tier],
        cell("key", rule.key or policy.key),
        cell("strategy", rule.strategy or policy.strategy),
        cell("on_error", rule.on_error or policy.on_error),
        cell("shadow", str(rule.shadow).lower() if isinstance(rule.shadow, bool) else rule.shadow),
        cell("scope", rule.scope),
        cell("cost", str(rule.cost)),
        policy.line_of(place) or place,
    )


def _sections(policy: Policy, table: TomlTable, path: tuple[str | int, ...]) -> Iterator[Section]:
    settings, below = [], []
    for name, field in type(table).model_fields.items():
        key, value = field.alias or name, getattr(table, name)
        here = (*path, key)
        if here[0] in _LISTED_APART:
            continue
        if isinstance(value, TomlTable):
            below.append((here, value))
        elif _holds_tables(value):
            below += [((*here, index), each) for index, each in enumerate(value)]
        else:
            settings.append(_setting(policy, here, field, value))
    yield Section(_title(path), tuple(settings))
    for here, inner in below:
        yield from _sections(policy, inner, here)


def _holds_tables(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], TomlTable)


def _title(path: tuple[str | int, ...]) -> str:
    if not path:
        return ""
    *above, last = path
    return f"[[{dotted(above)}]] {last}" if isinstance(last, int) else f"[{dotted(path)}]"


def _setting(policy: Policy, path: tuple[str | int, ...], field: FieldInfo, value: object) -> Setting:
    place = dotted(path)
    source = policy.line_of(place) or (DEFAULT if value == field.get_default() else FOLLOWS)
    return Setting(place, str(path[-1]), _text(value, unit_of(field)), source)


def _text(value: Any, unit: str) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int | float):
        return _quantity(value, unit)
    return _list(value)


def _list(value: Iterable[Any]) -> str:
    return f"[{', '.join(_text(each, '') for each in value)}]"


def _quantity(value: float, unit: str) -> str:
    if unit == "B":
        return f"{value:,} B"
    if unit != "s":
        return f"{value:.12g}"
    for length, letter in ((_DAY, "d"), (_HOUR, "h")):
        if value >= length and not value % length:
            return f"{value / length:.12g}{letter}"
    return f"{value:.12g}s"
