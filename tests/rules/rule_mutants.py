"""Mutants of a rule, each with one change: each of them must fail a case.

The changes concern comparisons (reversed; a threshold a quarter higher or a fifth lower), `and`, `or` and
`unless` (one side left out), matchers and `by` labels (one left out), `sum` and `max`, and how long an alert
waits.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import promql_parser as promql
from alert_rules import Rule
from promql_facts import COMPARISONS, SET_OPERATIONS, below, is_number, number

_OPPOSITE: Final = {">": "<=", "<=": ">", "<": ">=", ">=": "<", "==": "!=", "!=": "=="}
_EDGE: Final = {">": ">=", ">=": ">", "<": "<=", "<=": "<"}
_SMALL: Final = 10
"""A smaller threshold is a number of occurrences, which has no quarter."""

Change = tuple[str, str]
"""A description of the change, and the changed expression."""


def mutants(rule: Rule) -> Iterator[tuple[str, Rule]]:
    """The mutants of a rule, each with a description of its change."""
    for what, expression in _changed(rule.expr):
        yield what, replace(rule, given={**rule.given, "expr": expression})
    if rule.is_alert:
        yield "waits for nothing", replace(rule, given={**rule.given, "for": "0s"})
        yield "waits too long", replace(rule, given={**rule.given, "for": _three_times(rule.waits)})


def _changed(text: str) -> Iterator[Change]:
    parsed = promql.parse(text)
    whole = str(parsed)
    seen: Counter[str] = Counter()
    for node, in_vain in _nodes(parsed):
        head = _head(node)
        nth = seen[head]
        seen[head] += 1
        for what, new in _of_node(node, in_vain=in_vain):
            yield f"{what}: {head}" if len(head) < 100 else what, _replaced(whole, head, new, nth)


def _head(node: Any) -> str:
    """The part of the node's text that a change replaces, as it stands in the text of its parents."""
    text = str(node)
    if isinstance(node, promql.VectorSelector):
        return text.partition(" offset ")[0]
    if isinstance(node, promql.AggregateExpr):
        return f"{node.op} {node.modifier}"
    return text


def _replaced(whole: str, old: str, new: str, nth: int) -> str:
    at = -1
    for _ in range(nth + 1):
        at = whole.index(old, at + 1)
    return f"{whole[:at]}{new}{whole[at + len(old) :]}"


def _of_node(node: Any, *, in_vain: bool) -> Iterator[Change]:
    if isinstance(node, promql.BinaryExpr):
        yield from _of_binary(node)
    elif isinstance(node, promql.AggregateExpr):
        for label in node.modifier.labels:
            kept = ", ".join(each for each in node.modifier.labels if each != label)
            yield f"without the label {label}", f"{node.op} by ({kept})"
        other = {"sum": "max", "max": "sum"}.get(str(node.op))
        if other:
            yield f"{other} in place of {node.op}", f"{other} {node.modifier}"
    elif isinstance(node, promql.VectorSelector) and not in_vain:
        for matcher in node.matchers.matchers:
            kept = ",".join(
                part
                for part in _head(node).partition("{")[2][:-1].split(",")
                if not part.startswith(matcher.name)
            )
            yield f"without the matcher {matcher.name}", f"{node.name}{{{kept}}}"


def _of_binary(node: Any) -> Iterator[Change]:
    operator, modifier = str(node.op), str(node.modifier or "")
    if operator in SET_OPERATIONS:
        yield f"{operator}: the left side only", f"({node.lhs})"
        if operator == "or":
            yield f"{operator}: the right side only", f"({node.rhs})"
    if operator not in COMPARISONS:
        return
    yield "the other way round", f"({node.lhs} {_OPPOSITE[operator]} {modifier} {node.rhs})"
    if is_number(node.rhs):
        for threshold in _near(number(node.rhs)):
            yield f"{operator} {threshold:g}", f"({node.lhs} {operator} {threshold:.12g})"
        if not number(node.rhs) and operator in _EDGE:
            yield "zero too", f"({node.lhs} {_EDGE[operator]} 0)"


def _near(threshold: float) -> list[float]:
    if threshold and threshold < _SMALL and threshold.is_integer():
        return [threshold - 1, threshold + 1]
    return [threshold * 0.8, threshold * 1.25] if threshold else []


def _nodes(node: Any, *, in_vain: bool = False) -> Iterator[tuple[Any, bool]]:
    """The nodes, each with whether its matchers only repeat those of the left side.

    The labels of both sides must be equal anyway.
    """
    yield node, in_vain
    is_unless = (
        isinstance(node, promql.BinaryExpr) and str(node.op) == "unless" and node.modifier.matching is None
    )
    for number_of_part, part in enumerate(below(node)):
        yield from _nodes(part, in_vain=in_vain or (is_unless and number_of_part == 1))


def _three_times(duration: str) -> str:
    return re.sub(r"\d+", lambda found: str(3 * int(found[0])), duration)
