"""Which tables a statement names: after FROM, JOIN, INTO, UPDATE and the like, without CTEs and functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from otel_ratelimit.queries.fingerprint.keywords import BEFORE_OPERAND, FROM_WITHIN
from otel_ratelimit.queries.fingerprint.lexer import Kind, Token

_LISTING: Final = frozenset({"from", "using", "truncate", "table"})
"""Words that may be followed by several tables with commas between them."""
_NAMING: Final = frozenset({"join", "into", "update"})
_ENDING: Final = frozenset(
    {
        ";",
        "except",
        "fetch",
        "for",
        "group",
        "having",
        "intersect",
        "limit",
        "offset",
        "order",
        "returning",
        "select",
        "set",
        "union",
        "values",
        "when",
        "where",
        "window",
    }
)
"""Words that end a list of tables."""
_SKIPPED: Final = frozenset({"only", "lateral", "table", "if", "not", "exists", "concurrently"})
_MAX_SKIPPED: Final = 16
_CURSORS: Final = frozenset({"fetch", "move", "close", "import", "listen", "notify", "unlisten"})
"""Statements in which FROM is not followed by a table."""
_CHANGING: Final = frozenset(
    {
        "select",
        "values",
        "table",
        "insert",
        "update",
        "delete",
        "merge",
        "truncate",
        "copy",
        "refresh",
        "explain",
        "with",
        "prepare",
        "declare",
        "create",
        "lock",
        "comment",
        "grant",
        "revoke",
        "security",
        "analyze",
        "analyse",
        "vacuum",
        "cluster",
        "reindex",
        "do",
        "execute",
    }
)
"""Statements that write some of the tables that they name, or none; others (ALTER, DROP) change all."""
_HOW: Final = {"update": "update", "into": "insert", ("merge", "into"): "merge"}
"""How a table is written, by the word before it, or by the two words before it."""
_NO_NAMES: Final = BEFORE_OPERAND | {"values"}
_NOT_A_TABLES_UPDATE: Final = frozenset({"for", "key", "do", "on", "of", "or"})


def tables(statement: Sequence[Token], operation: str) -> tuple[set[str], dict[str, str]]:
    """The tables that a statement names, and how it writes those that it writes.

    Args:
        statement: its tokens.
        operation: its first word.
    """
    if operation in _CURSORS:
        return set(), {}
    words = [token.text.lower() if token.kind is Kind.WORD else token.text for token in statement]
    found = _Found(statement, words, operation)
    calls: list[str] = []
    listing = [False]
    for index, word in enumerate(words):
        before = words[index - 1] if index else ""
        if word == "(":
            calls.append(before)
            # FROM (a JOIN b): the parentheses are within the list.
            listing.append(listing[-1] and before in ("from", "join", ",", "(", "using"))
        elif word == ")" and calls:
            calls.pop()
            listing.pop()
        elif word == "," and listing[-1]:
            found.add(index + 1, writes="truncate" if operation == "truncate" else "")
        elif statement[index].kind is Kind.WORD or word == ";":
            if word in _ENDING:
                listing[-1] = False
            listing[-1] |= found.see(index, before, calls[-1] if calls else "")
    named = found.named - _ctes(words)
    if operation not in _CHANGING:
        return named, dict.fromkeys(named, operation)
    return named, {name: how for name, how in found.written.items() if name in named}


class _Found:
    """The tables found so far."""

    def __init__(self, statement: Sequence[Token], words: Sequence[str], operation: str) -> None:
        self._statement = statement
        self._words = words
        self._operation = operation
        self.named: set[str] = set()
        self.written: dict[str, str] = {}

    def see(self, index: int, before: str, call: str) -> bool:
        """Add the table that the word at `index` announces; whether more may follow, separated by commas.

        Args:
            index: index of the word.
            before: the word before it.
            call: the word before the parentheses around it; empty if there are none.
        """
        word, operation = self._words[index], self._operation
        if word in _LISTING and self._lists(word, before, call):
            self.add(index + 1, is_target=word == "table", writes=self._writing(word, before))
            return True
        if word in _NAMING and not (word == "update" and before in _NOT_A_TABLES_UPDATE):
            self.add(index + 1, is_target=word == "into", writes=_HOW.get((before, word), _HOW.get(word, "")))
        elif index == 0 and operation == "copy" and self._words[1:2] != ["("]:
            self.add(1, is_target=True, writes="copy" if "from" in self._words else "")
        elif word == "view" and operation == "refresh":
            self.add(index + 1, writes="refresh")
        return False

    def _writing(self, word: str, before: str) -> str:
        """How the table behind `word` is written; empty if it is read."""
        if before == "delete":
            return "delete"
        if self._operation == "create" and word == "table":
            return "create"
        return "truncate" if self._operation == "truncate" else ""

    def _lists(self, word: str, before: str, call: str) -> bool:
        if word == "from":
            if self._operation == "copy" and not call:  # a file
                return False
            return before != "distinct" and call not in FROM_WITHIN
        if word == "using":
            return self._operation in {"delete", "merge"}
        return True

    def add(self, index: int, *, is_target: bool = False, writes: str = "") -> None:
        """Add the table at `index`, unless it is a function or a subquery."""
        words = self._words
        end = index + _MAX_SKIPPED
        while index < min(len(words), end) and (words[index] in _SKIPPED or words[index] == "("):
            index += 1
        name, index = _name(self._statement, index)
        is_call = index < len(words) and words[index] == "(" and not is_target
        if name and not is_call:
            self.named.add(name)
            if writes:
                self.written[name] = writes


def _name(statement: Sequence[Token], index: int) -> tuple[str, int]:
    """`a`, `a.b` or `a.b.c` from `index` on, and where it ends; empty if no name starts there."""
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
    """By position of each opening parenthesis, the position behind the one that closes it."""
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
