"""Which tables a statement names: after FROM, JOIN, INTO, UPDATE and the like; not CTEs and functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from otel_ratelimit.fingerprint.lexer import Kind, Token
from otel_ratelimit.fingerprint.words import BEFORE_OPERAND, FROM_WITHIN

_LISTING: Final = frozenset({"from", "using", "truncate", "table"})
"""Words after which tables may come with commas between them."""
_NAMING: Final = frozenset({"join", "into", "update"})
_ENDING: Final = frozenset(
    {
        *("select", "where", "group", "having", "order", "limit", "offset", "fetch", "window", "for"),
        *("union", "intersect", "except", "returning", "set", "values", "when", ";"),
    }
)
"""What a list of tables cannot go on behind."""
_SKIPPED: Final = frozenset({"only", "lateral", "table", "if", "not", "exists", "concurrently"})
_NO_NAMES: Final = BEFORE_OPERAND | {"values"}
_NOT_A_TABLES_UPDATE: Final = frozenset({"for", "key", "do", "on", "of", "or"})


def tables(statement: Sequence[Token], operation: str) -> tuple[str, ...]:
    """Names of tables, sorted, each once; `operation` is the statement's first word."""
    words = [token.text.lower() if token.kind is Kind.WORD else token.text for token in statement]
    found: set[str] = set()
    calls: list[str] = []
    listing = [False]
    for index, word in enumerate(words):
        before = words[index - 1] if index else ""
        if word == "(":
            calls.append(before)
            # FROM (a JOIN b): the parenthesis is within the list.
            listing.append(listing[-1] and before in ("from", "join", ",", "(", "using"))
        elif word == ")" and calls:
            calls.pop()
            listing.pop()
        elif word == "," and listing[-1]:
            _add(statement, words, index + 1, found)
        elif statement[index].kind is Kind.WORD or word == ";":
            if word in _ENDING:
                listing[-1] = False
            if word in _LISTING and _lists(word, before, calls, operation):
                listing[-1] = True
                _add(statement, words, index + 1, found, is_target=word == "table")
            elif index == 0 and operation == "copy" and words[1:2] != ["("]:
                _add(statement, words, index + 1, found, is_target=True)
            elif word in _NAMING and not (word == "update" and before in _NOT_A_TABLES_UPDATE):
                _add(statement, words, index + 1, found, is_target=word == "into")
    return tuple(sorted(found - _ctes(words)))


def _lists(word: str, before: str, calls: Sequence[str], operation: str) -> bool:
    if word == "from":
        if operation == "copy" and not calls:  # a file
            return False
        return before != "distinct" and not (calls and calls[-1] in FROM_WITHIN)
    if word == "using":
        return operation in {"delete", "merge"}
    return True


def _add(
    statement: Sequence[Token], words: Sequence[str], index: int, found: set[str], *, is_target: bool = False
) -> None:
    """The table that `index` begins with, if it is one and not a function or a subquery."""
    while index < len(words) and (words[index] in _SKIPPED or words[index] == "("):
        index += 1
    name, index = _name(statement, index)
    is_call = index < len(words) and words[index] == "(" and not is_target
    if name and not is_call:
        found.add(name)


def _name(statement: Sequence[Token], index: int) -> tuple[str, int]:
    """`a`, `a.b` or `a.b.c` from `index` on, and where it ends; empty if none begins there."""
    parts: list[str] = []
    while index < len(statement):
        token = statement[index]
        if token.kind is Kind.WORD:
            if not parts and token.text.lower() in _NO_NAMES:
                return "", index
            parts.append(token.text.lower())
        elif token.kind is Kind.NAME:
            plain = token.text[1:-1]
            parts.append(plain if plain.isidentifier() and plain == plain.lower() else token.text)
        else:
            return "", index
        index += 1
        if index >= len(statement) or statement[index].text != ".":
            break
        index += 1
    return ".".join(parts), index


def _ends(words: Sequence[str]) -> dict[int, int]:
    """Of each parenthesis that is closed: where it opens, and what stands behind it."""
    ends: dict[int, int] = {}
    opened: list[int] = []
    for index, word in enumerate(words):
        if word == "(":
            opened.append(index)
        elif word == ")" and opened:
            ends[opened.pop()] = index + 1
    return ends


def _ctes(words: Sequence[str]) -> set[str]:
    """Names given by WITH: `name [(columns)] AS [[NOT] MATERIALIZED] (`, after WITH, RECURSIVE or a comma."""
    if "with" not in words:
        return set()
    found = set()
    ends = _ends(words)
    for index in range(1, len(words)):
        if words[index - 1] not in ("with", "recursive", ","):
            continue
        after = index + 1
        if after < len(words) and words[after] == "(":
            after = ends.get(after, len(words))
        if after < len(words) and words[after] == "as":
            rest = [word for word in words[after + 1 : after + 4] if word not in ("not", "materialized")]
            if rest[:1] == ["("]:
                found.add(words[index].strip('"'))
    return found
