"""In what our templates and PostgreSQL's query ids differ on purpose: a rule for each, see agreement.py.

PostgreSQL's ids are of the parse tree (`queryjumble.c`): literals are their types, names are the objects they
stand for, and labels, aliases and parentheses are gone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from otel_ratelimit.queries.fingerprint.keywords import RESERVED
from otel_ratelimit.queries.fingerprint.lexer import Kind, Token
from otel_ratelimit.queries.fingerprint.template import without_generated_parts

WORD = re.compile(r'(?:[uU]&)?"(?:[^"]|"")*"|[^\W\d][\w$]*|\d+|::|:=|[(),.\[\]?;]|[^\s\w"(),.\[\]?;:]+|\S')
TYPES = frozenset(
    {"time", "timestamp", "interval", "int", "integer", "bigint", "smallint", "real", "float"}
) | {
    *("numeric", "decimal", "dec", "boolean", "bit", "char", "character", "varchar", "nchar", "json"),
    *("precision", "value", "user"),
}
KEYWORDS = RESERVED - TYPES | frozenset(
    {
        *("where", "set", "values", "returning", "escape", "ordinality", "columns", "passing", "path", "in"),
        *("is", "like", "no", "next", "recursive", "begin", "by", "over", "partition", "range", "rows"),
        *("groups", "preceding", "following", "current", "unbounded", "exclude", "ties", "filter", "within"),
        *("matched", "do", "nothing", "conflict", "overriding", "tablesample", "repeatable", "at"),
        *("zone", "row", "of", "skip", "nowait", "share", "if", "exists", "between", "similar", "xmltable"),
        *("rollup", "grouping", "sets", "document", "content", "into", "ref", "nulls"),
    }
)
SCALES = ((2**31, "int4"), (2**63, "int8"))
RENAME = re.compile(
    r"\s*alter\s+(?:\w+\s+)+?[\w.]+\s+rename\s+(?:column\s+)?(?:(?P<column>\w+)\s+)?to\s+(?P<new>\w+)",
    re.IGNORECASE,
)


class Executed(NamedTuple):
    """A statement that the server ran."""

    text: str
    query_id: int
    session: str


@dataclass(frozen=True)
class Statement:
    """One that is compared."""

    text: str
    query_id: int
    template: str
    tokens: tuple[Token, ...]
    defined: tuple[int, ...]
    """For each name in it: how often it had been in a statement that defines something."""


Words = Sequence[str]
Names = Mapping[str, str]
"""The old name of each new one."""


# Finer: details that templates leave out.


def _literal_types(statement: Statement) -> tuple[str, ...]:
    """The type of each literal; values of one type have one id."""
    return tuple(kind for part in statement.tokens if (kind := _type(part)))


def _type(part: Token) -> str:
    if part.kind is Kind.WORD:
        return {"true": "bool", "false": "bool", "null": "unknown"}.get(part.text.lower(), "")
    if part.kind is Kind.STRING:
        return "bit" if part.text[0] in "bBxX" else "unknown"
    if part.kind is Kind.NUMBER:
        plain = part.text.replace("_", "")
        if not plain.isdecimal():
            return "numeric"
        return next((name for most, name in SCALES if int(plain) < most), "numeric")
    return ""


def _literals(statement: Statement) -> int:
    """How many there are before lists and rows are collapsed."""
    return sum(bool(_type(part)) for part in statement.tokens)


def _signed_casts(statement: Statement) -> int:
    """`-1::int` is to PostgreSQL a minus before `1::int`."""
    parts = [part.text for part in statement.tokens]
    return sum(
        before == "-" and part[0].isdigit() and after == "::"
        for before, part, after in zip(parts, parts[1:], parts[2:], strict=False)
    )


def _defined(statement: Statement) -> tuple[int, ...]:
    return statement.defined


def _casts(statement: Statement) -> tuple[str, ...]:
    """The types that literals are cast to; in lists of values templates do without."""
    parts = [part.text.lower() for part in statement.tokens]
    return tuple(after for before, after in pairwise(parts) if before == "::")


def _generated_names(statement: Statement) -> tuple[str, ...]:
    """Names, or parts of them, that were made up for one run: of temporary tables, or long numbers."""
    kept = {part.text for part in without_generated_parts(statement.tokens)[0]}
    return tuple(part.text for part in statement.tokens if part.text not in kept)


FINER: dict[str, Callable[[Statement], Hashable]] = {
    "lists and rows of other lengths": _literals,
    "literals of other types": _literal_types,
    "casts of literals in lists and rows": _casts,
    "a sign before a literal with a cast": _signed_casts,
    "a name that was defined anew between": _defined,
    "names that were generated": _generated_names,
}


# Coarser: what the parser leaves out. Each takes the words of a template.


def renamed_in(executed: Iterable[Executed]) -> Names:
    """Tables and columns that ALTER ... RENAME gave another name: the same objects."""
    names: dict[str, str] = {}
    for text, _, _ in executed:
        found = RENAME.match(text)
        if not found:
            continue
        old, new = (found["column"], found["new"]) if found["column"] else (_renamed(text), found["new"])
        if old and new:
            names[new.lower()] = names.get(old.lower(), old.lower())
    return names


def _renamed(text: str) -> str:
    """`x` of ALTER TABLE x RENAME TO y."""
    words = text.split()
    index = next(index for index, word in enumerate(words) if word.lower() == "rename")
    return words[index - 1].rpartition(".")[2]


def _without_new_names(words: Words, names: Names) -> list[str]:
    return [names.get(word, word) for word in words]


def _is_name(word: str) -> bool:
    return (word[0].isalpha() or word[0] in '_"') and word not in KEYWORDS


def _group_end(words: Words, index: int) -> int:
    """Behind the parenthesis or bracket that opens at `index`."""
    depth = 0
    for end in range(index, len(words)):
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(words[end], 0)
        if depth == 0:
            return end + 1
    return len(words)


def _without_aliases(words: Words, _: Names) -> list[str]:
    """Without `AS name`, a name behind an operand, names of columns behind either, and `name.`."""
    left: list[str] = []
    index = 0
    while index < len(words):
        word, after = words[index], words[index + 1 : index + 2]
        before = left[-1] if left else ""
        if word == "as" and after and after[0] not in ("(", "materialized", "not"):
            index += 2
        elif _is_name(word) and before and (_is_name(before) or before in (")", "]", "?")):
            index += 1
        elif after == ["."] and _is_name(word):
            index += 2
            continue
        else:
            left.append(word)
            index += 1
            continue
        if words[index : index + 1] == ["("]:
            index = _group_end(words, index)
    return left


def _without_casts(words: Words, _: Names) -> list[str]:
    """Without `::type`, `type` before a literal, and `cast`; `as type` goes with the aliases."""
    left: list[str] = []
    index = 0
    while index < len(words):
        word = words[index]
        if word == "::":
            index = _type_end(words, index + 1)
            continue
        if word == "?":
            _drop_type(left)
        if word != "cast":
            left.append(word)
        index += 1
    return left


def _type_end(words: Words, index: int) -> int:
    index += 1
    while words[index : index + 1] == ["."]:
        index += 2
    while words[index : index + 1] in (["varying"], ["precision"], ["with"], ["without"]):
        index += 3 if words[index].startswith("with") else 1
    while words[index : index + 1] in (["("], ["["]):
        index = _group_end(words, index)
    return index


def _drop_type(left: list[str]) -> None:
    """From the end: `timestamp with time zone`, `double precision`, `interval(?)`, `pg_catalog.int4`."""
    if left[-2:] == ["time", "zone"] and left[-3] in ("with", "without"):
        del left[-3:]
    if left[-3:] == ["(", "?", ")"] and left[-4:-3] and _is_name(left[-4]):
        del left[-3:]
    while left and (_is_name(left[-1]) or (left[-1] == "." and len(left) > 1)):
        left.pop()


def _without_parentheses(words: Words, _: Names) -> list[str]:
    return [word for word in words if word not in "()"]


def _one_spelling(words: Words, _: Names) -> list[str]:
    """Without words that say nothing, and of two spellings one."""
    left: list[str] = []
    for word in words:
        if word == "table" and (not left or left[-1] in ("(", "union")):
            left += ("select", "*", "from")
        elif word not in ("outer", "inner", "all", "asc", "as", "row", ";"):
            left.append({"!=": "<>", ":=": "=>"}.get(word, word))
    return left


def _without_columns(words: Words, _: Names) -> list[str]:
    """Without the columns of INSERT, and `*` for those of a SELECT that are nothing but names."""
    left: list[str] = []
    index = 0
    while index < len(words):
        word = words[index]
        left.append(word)
        index += 1
        if word == "insert":
            while index < len(words) and words[index] not in ("(", "values", "default", "select"):
                left.append(words[index])
                index += 1
            if words[index : index + 1] == ["("] and words[index + 1 : index + 2] not in (
                ["select"],
                ["with"],
            ):
                index = _group_end(words, index)
        elif word in ("select", "returning"):
            end = index
            while end < len(words) and (_is_name(words[end]) or words[end] in (",", "*")):
                end += 1
            if end > index and (end == len(words) or words[end] in ("from", "on", ")", ";")):
                left.append("*")
                index = end
    return left


def _substituting(*patterns: tuple[str, str]) -> Callable[[Words, Names], list[str]]:
    compiled = [(re.compile(pattern), kept) for pattern, kept in patterns]

    def rule(words: Words, _: Names) -> list[str]:
        text = " ".join(words)
        for pattern, kept in compiled:
            text = pattern.sub(kept, text)
        return WORD.findall(text)

    return rule


FIELD = "(?:year|month|day|hour|minute|second)"
TYPED = r"\w+ \w+(?: \( \?(?: , \?)* \)| \[ \])*"
NESTED = r"(?:[^()]|\((?:[^()]|\([^()]*\))*\))"
ITEM = (
    r"(?!(?:limit|offset|fetch|for|having|window|union|intersect|except|order)\b)"
    r"(?:[^\s()]+|\((?:[^()]|\([^()]*\))*\))"
)

NO_FUNCTION = (
    "in|values|any|all|some|exists|as|on|where|and|or|not|from|sets|over|by|using|when|then|else|select|union"
    "|intersect|except|join|array|distinct|having|lateral|materialized|is|set|into|returning"
)
ONE_ARGUMENT = r"(?:[^(),]|\((?:[^()]|\([^()]*\))*\))*"

COARSER: dict[str, Callable[[Words, Names], list[str]]] = {
    "tables and columns that were renamed": _without_new_names,
    "what is not in PostgreSQL's ids": _substituting(
        (r"overriding (?:system|user) value ", ""),
        (r" exclude (?:no others|current row|group|ties)", ""),
        (r" nulls (?:first|last)", ""),
        (r"\b(by|,) (?:rollup|cube|grouping sets)\b", r"\1 sets"),
        (r"extract \( \w+ from", "extract ( ? from"),
        (r"\bnfk?[cd]\b", "nfc"),
        (rf"\? {FIELD}(?: to {FIELD})?(?: \( \? \))?", "?"),
        (r" else \? end", " end"),
        (r" uescape \?", ""),
        (r"\b(?:document|content) \?", "?"),
        (r", (?:version|standalone) (?:no value|no|yes|\?)", ""),
        (r" by ref\b", ""),
        (r"\bfrom (\w+) \*", r"from \1"),
        (rf"\b(as|,) (\w+ )?\( {TYPED}( , {TYPED})* \)", r"\1 x"),
        (rf"\bxmlnamespaces \({NESTED}*\) ,", ""),
        (rf"(\bxmltable \({NESTED}*?) columns {NESTED}*\)", r"\1 )"),
        (r"(\bset \w+(?: \[ [^\]]* \])*)(?: \. \w+)+ =", r"\1 ="),
    ),
    "casts of literals, which are folded": _without_casts,
    "aliases, labels and qualifiers": _without_aliases,
    "two spellings of the same": _one_spelling,
    "clauses in another order or form": _substituting(
        (r"!~~\*(?= )", "not ilike"),
        (r"!~~(?= )", "not like"),
        (r"(?<= )~~\*(?= )", "ilike"),
        (r"(?<= )~~(?= )", "like"),
        (r"variadic array \[ (.*?) \]", r"\1"),
        (r"\? (?:, \? )+", "? "),
        (r"(offset \?) (limit \?)", r"\2 \1"),
        (r"rows from \( (.*?\)) \)", r"\1"),
        (r"\bfetch first (?:\? )?rows? with ties", "fetch first ? with ties"),
        (rf"\b(order|group) by (?:{ITEM}\s?)+", r"\1 by "),
        (r" window \w+ \([^()]*\)", ""),
        (r"\bover (?:\w+|\([^()]*\))", "over"),
        (r"\b(?:substring|overlay|position|btrim|trim) \( [^()]* \)", "called"),
    ),
    "casts that are calls of a function": _substituting(
        *[(rf"\b(?!(?:{NO_FUNCTION})\b)[^\W\d]\w* \( ({ONE_ARGUMENT}) \)", r"( \1 )")] * 2,
        (r"(\bselect|,) \( (\w+) \)", r"\1 \2"),
    ),
    "columns that are named, or not": _without_columns,
    "parentheses": _without_parentheses,
}
