"""Facts about an expression, found without running it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import promql_parser as promql

COMPARISONS = frozenset({">", ">=", "<", "<=", "==", "!="})
SET_OPERATIONS = frozenset({"and", "or", "unless"})


def below(node: Any) -> list[Any]:
    """The node's children, from left to right."""
    if isinstance(node, promql.Call):
        return list(node.args)
    if isinstance(node, promql.BinaryExpr):
        return [node.lhs, node.rhs]
    if isinstance(node, promql.MatrixSelector):
        return [node.vector_selector]
    child = getattr(node, "expr", None)
    return [] if child is None else [child]


def nodes(node: Any) -> Iterator[Any]:
    """The node and all its descendants."""
    yield node
    for child in below(node):
        yield from nodes(child)


def selectors(node: Any) -> list[Any]:
    return [each for each in nodes(node) if isinstance(each, promql.VectorSelector)]


def comparisons(node: Any) -> list[Any]:
    return [
        each for each in nodes(node) if isinstance(each, promql.BinaryExpr) and str(each.op) in COMPARISONS
    ]


def is_number(node: Any) -> bool:
    """Whether the node is a constant."""
    return isinstance(node, promql.NumberLiteral) or (
        isinstance(node, promql.BinaryExpr) and is_number(node.lhs) and is_number(node.rhs)
    )


def number(node: Any) -> float:
    """The node's value, if it `is_number`."""
    if isinstance(node, promql.NumberLiteral):
        return float(node.val)
    if str(node.op) != "*":
        raise ValueError(f"{node}: only products are expected")
    return number(node.lhs) * number(node.rhs)


def labels_of(node: Any, series: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Labels that the result may have, by the rules of Prometheus for each kind of node."""
    if isinstance(node, promql.VectorSelector):
        return series[node.name]
    if isinstance(node, promql.AggregateExpr):
        return _of_aggregation(node, series)
    if isinstance(node, promql.BinaryExpr):
        return _of_binary(node, series)
    found = frozenset().union(*(labels_of(each, series) for each in below(node)))
    is_quantile = isinstance(node, promql.Call) and node.func.name == "histogram_quantile"
    return found - {"le"} if is_quantile else found


def _of_aggregation(node: Any, series: Mapping[str, frozenset[str]]) -> frozenset[str]:
    kept = frozenset(node.modifier.labels) if node.modifier else frozenset()
    within = labels_of(node.expr, series)
    if not kept <= within:
        raise ValueError(f"there is no {sorted(kept - within)} below {node}")
    return kept


def _of_binary(node: Any, series: Mapping[str, frozenset[str]]) -> frozenset[str]:
    left, right = labels_of(node.lhs, series), labels_of(node.rhs, series)
    if not selectors(node.lhs):
        return right
    if not selectors(node.rhs):
        return left
    matching = node.modifier.matching if node.modifier else None
    named = frozenset(matching.labels) if matching else frozenset()
    if not named <= left | right:
        raise ValueError(f"neither side of {node} has {sorted(named - left - right)}")
    if str(node.op) == "or":
        return left | right
    if str(node.op) in SET_OPERATIONS or node.modifier is None or matching is None:
        return left
    if node.modifier.card == promql.VectorMatchCardinality.OneToOne:
        return named if matching.type == promql.LabelModifierType.Include else left - named
    return left | frozenset(node.modifier.group_labels or ())
