"""How far our templates group statements as PostgreSQL's query ids do.

A statement agrees if no other has its template and another id, and none its id and another template. Where
the two differ on purpose, a rule in differences.py says so. Each rule can only ever take one side:

finer     Statements that we put together and PostgreSQL apart are excused if they differ in a detail that
          templates leave out: each rule adds one detail to the template.
coarser   Statements that PostgreSQL puts together and we apart are excused if they are the same but for what
          its parser leaves out: each rule takes one thing out of the template.

What a rule makes equal or unequal on the other side counts for nothing: finer templates are compared for
wrong merges only, coarser ones for wrong splits only.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

from differences import COARSER, FINER, KEYWORDS, WORD, Executed, Statement, renamed_in

from otel_ratelimit.queries.fingerprint import hash_query, split_statements
from otel_ratelimit.queries.fingerprint.lexer import Kind, Token, tokens

OPTIMISED = frozenset({"select", "insert", "update", "delete", "merge", "values", "table"})
"""Statements with a parse tree; of the others PostgreSQL 15 only hashes the text."""
DEFINING = frozenset({"create", "drop", "alter"})
MAX_CHARACTERS = 10_000
SEVERAL_IDS = "one text, to which PostgreSQL gave several ids"

Key = Callable[[Statement], Hashable]


class Step(NamedTuple):
    """The disagreements after a rule and those before it."""

    rule: str
    merged: int
    """Statements that share a template with one of another id."""
    split: int
    """Statements that share an id with one of another template."""
    either: int


class Conflict(NamedTuple):
    """Statements of one group that should be of several, or the other way."""

    statements: int
    texts: tuple[str, ...]


class Comparison(NamedTuple):
    """The comparison of all statements of a run."""

    statements: int
    templates: int
    query_ids: int
    left_out: Counter[str]
    steps: tuple[Step, ...]
    """The first without a rule."""
    unexplained: tuple[Conflict, ...]

    def agreement(self, step: int) -> float:
        """Share of statements that agree after so many rules."""
        return 1 - self.steps[step].either / self.statements

    def __str__(self) -> str:
        counts = f"{self.statements} statements, {self.templates} templates, {self.query_ids} query ids"
        lines = [counts, *(f"left out: {number} {why}" for why, number in self.left_out.items())]
        for index, step in enumerate(self.steps):
            share = f"{self.agreement(index):8.3%} {step.merged:6} merged {step.split:6} split"
            lines.append(f"{share}  {step.rule}")
        for conflict in sorted(self.unexplained, reverse=True):
            lines.append(f"not explained, {conflict.statements} statements:")
            lines += (f"    {' '.join(text.split())[:160]}" for text in conflict.texts[:3])
        return "\n".join(lines)


def compare(executed: Sequence[Executed]) -> Comparison:
    """Group what was executed, in its order, both ways."""
    statements, left_out = _compared(executed)
    finer, coarser, names = _finer(statements), _coarser(statements, executed), list(FINER)
    merged = [_in_conflict(of, key, _query_id) for of, key in finer]
    split = [_in_conflict(statements, _query_id, key) for key in coarser]
    # Finer rules come first; the others take over where those end.
    merged += [merged[-1]] * (len(split) - 1)
    split = [split[0]] * (len(finer) - 1) + split
    rules = ["no rule", *names, SEVERAL_IDS, *COARSER]
    of, key = finer[-1]
    return Comparison(
        len(statements),
        len({one.template for one in statements}),
        len({one.query_id for one in statements}),
        left_out,
        tuple(
            Step(rule, len(one), len(other), len(one | other))
            for rule, one, other in zip(rules, merged, split, strict=True)
        ),
        (*_conflicts(of, key, _query_id), *_conflicts(statements, _query_id, coarser[-1])),
    )


def total(comparisons: Sequence[Comparison]) -> Comparison:
    """Those of several databases together; their ids have nothing to do with each other."""
    steps = zip(*(one.steps for one in comparisons), strict=True)
    return Comparison(
        sum(one.statements for one in comparisons),
        sum(one.templates for one in comparisons),
        sum(one.query_ids for one in comparisons),
        sum((one.left_out for one in comparisons), Counter()),
        tuple(
            Step(
                step[0].rule,
                sum(one.merged for one in step),
                sum(one.split for one in step),
                sum(one.either for one in step),
            )
            for step in steps
        ),
        tuple(conflict for one in comparisons for conflict in one.unexplained),
    )


def _query_id(statement: Statement) -> Hashable:
    return statement.query_id


def _finer(statements: Sequence[Statement]) -> list[tuple[Sequence[Statement], Key]]:
    """After each rule: the statements still compared, and what tells them apart."""
    keys: dict[int, tuple[Hashable, ...]] = {id(one): (one.template,) for one in statements}
    steps: list[tuple[Sequence[Statement], Key]] = [(statements, _looked_up(keys))]
    for detail in FINER.values():
        keys = {id(one): (*keys[id(one)], detail(one)) for one in statements}
        steps.append((statements, _looked_up(keys)))
    ids: defaultdict[str, set[int]] = defaultdict(set)
    for one in statements:
        ids[one.text].add(one.query_id)
    return [*steps, ([one for one in statements if len(ids[one.text]) == 1], _looked_up(keys))]


def _coarser(statements: Sequence[Statement], executed: Sequence[Executed]) -> list[Key]:
    names = renamed_in(executed)
    words = {one.template: WORD.findall(one.template) for one in statements}
    steps: list[Key] = [lambda one: one.template]
    for without in COARSER.values():
        words = {template: without(parts, names) for template, parts in words.items()}
        joined = {template: " ".join(parts) for template, parts in words.items()}
        steps.append(_by_template(joined))
    return steps


def _looked_up(keys: dict[int, tuple[Hashable, ...]]) -> Key:
    return lambda one: keys[id(one)]


def _by_template(texts: dict[str, str]) -> Key:
    return lambda one: texts[one.template]


def _compared(executed: Iterable[Executed]) -> tuple[list[Statement], Counter[str]]:
    found: list[Statement] = []
    left_out: Counter[str] = Counter()
    defined: Counter[str] = Counter()
    nonstandard: set[str] = set()
    for text, query_id, session in executed:
        parts = tuple(tokens(text))
        names = {part.text.lower().strip('"') for part in parts if part.kind in (Kind.WORD, Kind.NAME)}
        template = hash_query(text)
        if "standard_conforming_strings" in names:
            (nonstandard.add if "off" in names else nonstandard.discard)(session)
        if len(split_statements(text) or ()) != 1:
            left_out["of several statements with one id, or read in another way"] += 1
        elif template.operation not in OPTIMISED or _makes_a_table(parts):
            left_out["not optimised"] += 1
            if template.operation in DEFINING:
                defined.update(_defined_by(parts))
        elif query_id == 0:
            left_out["without an id"] += 1
        elif session in nonstandard and "\\" in text:
            left_out["with backslashes, while standard_conforming_strings was off"] += 1
        else:
            counts = tuple(defined[name] for name in sorted(names))
            whole = len(template.text) < MAX_CHARACTERS
            unique = template.text if whole else f"{template.text} {template.hash}"
            found.append(Statement(text, query_id, unique, parts, counts))
    return found, left_out


def _defined_by(parts: Sequence[Token]) -> set[str]:
    """The names in CREATE, DROP or ALTER before a parenthesis or AS: what it is about."""
    found: set[str] = set()
    for part in parts[1:]:
        if part.text == "(" or part.text.lower() == "as":
            break
        if part.kind in (Kind.WORD, Kind.NAME) and part.text.lower() not in KEYWORDS:
            found.add(part.text.lower().strip('"'))
    return found


def _makes_a_table(parts: Sequence[Token]) -> bool:
    """SELECT INTO is to PostgreSQL a CREATE TABLE."""
    depth = 0
    for part in parts:
        depth += {"(": 1, ")": -1}.get(part.text, 0)
        if depth == 0 and part.text.lower() == "into":
            return parts[0].text.lower() == "select"
    return False


def _conflicts(statements: Iterable[Statement], group: Key, mark: Key) -> list[Conflict]:
    found: defaultdict[Hashable, dict[Hashable, str]] = defaultdict(dict)
    sizes: Counter[Hashable] = Counter()
    for one in statements:
        found[group(one)].setdefault(mark(one), one.text)
        sizes[group(one)] += 1
    return [Conflict(sizes[key], tuple(texts.values())) for key, texts in found.items() if len(texts) > 1]


def _in_conflict(statements: Iterable[Statement], group: Key, mark: Key) -> set[int]:
    found: defaultdict[Hashable, set[Hashable]] = defaultdict(set)
    for one in statements:
        found[group(one)].add(mark(one))
    return {id(one) for one in statements if len(found[group(one)]) > 1}
