"""A statement as a template: one spelling, literals and placeholders as `?`, lists and rows once.

PostgreSQL groups statements in much the same way (`pg_stat_statements`), by their parse tree. Without a parse
tree some differences remain, on purpose: names count as they are written, and so do aliases, redundant
parentheses and the two ways to write "not equal".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from otel_ratelimit.fingerprint.lexer import Kind, Token
from otel_ratelimit.fingerprint.words import BEFORE_OPERAND, CONSTANTS, RESERVED

PLACEHOLDER: Final = "?"
_LITERALS: Final = frozenset({Kind.STRING, Kind.NUMBER, Kind.PARAMETER})
_NAMES: Final = frozenset({Kind.WORD, Kind.NAME})
_OPENING: Final = frozenset({"(", "["})
_CLOSING: Final = frozenset({")", "]"})
_TIGHT_AFTER: Final = frozenset({"(", "[", ".", "::", ":"})
_TIGHT_BEFORE: Final = frozenset({")", "]", ".", "::", ",", ";", "[", ":"})
_SIGNS: Final = frozenset({"-", "+"})


def normalise(statement: Iterable[Token]) -> str:
    """The template's text; of several statements with a semicolon between them."""
    writer = _Writer()
    for token in statement:
        writer.add(token)
    return writer.text()


class _Writer:
    """Parts of the text so far, and which list or row is being written."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._is_name: list[bool] = []
        self._opened: list[int] = []
        self._rows_begin: list[bool] = [False]
        """By depth: whether rows of VALUES are being written there."""
        self._row: list[tuple[str, ...]] = [()]
        self._after_string = False

    def add(self, token: Token) -> None:
        kind = token.kind
        if kind in _LITERALS:
            if not (kind is Kind.STRING and self._after_string):  # 'a' \n 'b' is one
                self._constant()
            self._after_string = kind is Kind.STRING
            return
        self._after_string = False
        if kind is Kind.WORD:
            self._word(_lowered(token.text))
        elif kind is Kind.NAME:
            self._put(_unquoted(token.text), is_name=True)
        else:
            self._mark(token.text)

    def text(self) -> str:
        parts, names = self._parts, self._is_name
        while parts and parts[-1] == ";":
            parts.pop()
        written: list[str] = []
        for index, part in enumerate(parts):
            if index and not _is_tight(parts[index - 1], part, after_name=names[index - 1]):
                written.append(" ")
            written.append(part)
        return "".join(written)

    def _word(self, word: str) -> None:
        before = self._parts[-1] if self._parts else ""
        if word in CONSTANTS and before not in ("is", "not", "."):
            self._constant()
            return
        self._rows_begin[-1] = word == "values"
        self._row[-1] = ()
        self._put(word, is_name=word not in BEFORE_OPERAND)

    def _mark(self, mark: str) -> None:
        if mark in _OPENING:
            self._opened.append(len(self._parts))
            self._rows_begin.append(False)
            self._row.append(())
            self._put(mark)
        elif mark in _CLOSING and self._opened:
            self._put(mark)
            self._rows_begin.pop()
            self._row.pop()
            self._close(self._opened.pop())
        else:
            self._put(mark)

    def _close(self, begin: int) -> None:
        """A list that began at `begin` is cut to one element; a row like the last is left out."""
        parts = self._parts
        before = parts[begin - 1] if begin else ""
        inside = parts[begin + 1 : -1]
        if before in ("in", "array") and len(inside) > 1 and set(inside) <= {PLACEHOLDER, ","}:
            self._cut(begin + 2, len(parts) - 1)
        if self._rows_begin[-1] and parts[begin] == "(":
            row = tuple(parts[begin:])
            if row == self._row[-1] and before == ",":
                self._cut(begin - 1, len(parts))
            self._row[-1] = row

    def _constant(self) -> None:
        """A sign belongs to it where no operand stands before the sign."""
        parts = self._parts
        if parts and parts[-1] in _SIGNS and (len(parts) < 2 or self._wants_operand(-2)):  # noqa: PLR2004
            self._cut(len(parts) - 1, len(parts))
        self._put(PLACEHOLDER)

    def _wants_operand(self, index: int) -> bool:
        part = self._parts[index]
        if self._is_name[index] or part == PLACEHOLDER or part in _CLOSING:
            return False
        return part in BEFORE_OPERAND or part in _OPENING or part == "," or not part[0].isalnum()

    def _put(self, part: str, *, is_name: bool = False) -> None:
        self._parts.append(part)
        self._is_name.append(is_name)

    def _cut(self, begin: int, end: int) -> None:
        del self._parts[begin:end]
        del self._is_name[begin:end]


def _is_tight(before: str, after: str, *, after_name: bool) -> bool:
    return before in _TIGHT_AFTER or after in _TIGHT_BEFORE or (after == "(" and after_name)


def _lowered(word: str) -> str:
    """As PostgreSQL folds names: letters of ASCII only."""
    if word.isascii():
        return word.lower()
    return "".join(letter.lower() if letter.isascii() else letter for letter in word)


def _unquoted(name: str) -> str:
    """A quoted name without its quotes, where that means the same."""
    plain = name[1:-1]
    if name[0] != '"' or not plain.isascii() or not plain.isidentifier() or plain != plain.lower():
        return name
    return name if plain in RESERVED else plain


def words_of(statement: Sequence[Token]) -> list[str]:
    """Keywords and names without quotes in lower case, and everything else as it is."""
    return [_lowered(token.text) if token.kind is Kind.WORD else token.text for token in statement]
