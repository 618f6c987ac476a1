"""The text of a template: one spelling, `?` for literals and placeholders, lists and rows only once.

PostgreSQL groups statements in much the same way (`pg_stat_statements`), by their parse tree. Without a parse
tree some differences remain, on purpose: names count as they are written, and so do aliases, redundant
parentheses and the two ways to write "not equal".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum, auto
from typing import Final

from otel_ratelimit.queries.fingerprint.keywords import BEFORE_OPERAND, CONSTANTS, RESERVED
from otel_ratelimit.queries.fingerprint.lexer import Kind, Token

PLACEHOLDER: Final = "?"
UNFINISHED: Final = "…"
_LITERALS: Final = frozenset({Kind.STRING, Kind.NUMBER, Kind.PARAMETER})
_NAMES: Final = frozenset({Kind.WORD, Kind.NAME})
_OPENING: Final = frozenset({"(", "["})
_CLOSING: Final = frozenset({")", "]"})
_TIGHT_AFTER: Final = frozenset({"(", "[", ".", "::", ":"})
_TIGHT_BEFORE: Final = frozenset({")", "]", ".", "::", ",", ";", "[", ":"})
_OF_A_LIST: Final = frozenset({PLACEHOLDER, ","})
_LISTS_ON: Final = frozenset({"by", "rollup", "cube", "sets", "(", ","})
"""Before a parenthesis that continues the columns to group or order by."""
_MAX_ROW_PARTS: Final = 4_000
"""A row has up to 1,664 columns."""
_MAX_DIGITS: Final = 4
"""A query has no more columns than 1,664."""
_GOES_WITH_ORDINAL: Final = frozenset({"asc", "desc", "nulls", "using"})
_ENDS_LIST: Final = frozenset(
    {
        "except",
        "fetch",
        "for",
        "from",
        "having",
        "intersect",
        "limit",
        "offset",
        "returning",
        "select",
        "set",
        "union",
        "values",
        "where",
        "window",
    }
)
"""Words that end a list of columns to order or group by."""


def normalise(statement: Iterable[Token], *, is_cut: bool = False) -> str:
    """The template's text; several statements keep the semicolons between them.

    Args:
        statement: its tokens.
        is_cut: whether there were more tokens. Lists that are unfinished for that reason are left out.
    """
    writer = _Writer()
    for token in statement:
        writer.add(token)
    if is_cut:
        writer.break_off()
    return writer.text()


class Cast(Enum):
    """The position within the type of a cast."""

    NONE = auto()
    TYPE = auto()
    """A name must follow."""
    BEHIND = auto()
    WITHIN = auto()
    """In the parentheses or brackets behind the name."""


_AFTER_TYPE: Final = {".": Cast.TYPE, "(": Cast.WITHIN, "[": Cast.WITHIN}
_BEFORE_ROW: Final = frozenset({"values", ",", "(", "["})


class _Writer:
    """The parts of the text so far, and the list or row that is being written."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._is_name: list[bool] = []
        self._opened: list[int] = []
        self._rows_begin: list[bool] = [False]
        """By depth: whether rows of VALUES are being written."""
        self._rows: list[set[tuple[str, ...]]] = [set()]
        """By depth: the different rows written so far."""
        self._selects: list[bool] = [False]
        """By depth: whether it is a query. Elsewhere ORDER BY 1 orders by a constant."""
        self._orders: list[str] = [""]
        """By depth: `order` or `group` in a list of columns, in which a number may stand for a column."""
        self._lists: list[bool] = [False]
        """By depth: whether it is a list of values, in which the type of a literal makes no difference."""
        self._cast = Cast.NONE
        self._ordinal = -1
        """Position of the last number, if it may stand for a column."""
        self._after_string = False

    def add(self, token: Token) -> None:
        kind = token.kind
        if self._cast is not Cast.NONE and self._is_of_cast(token):
            return
        if kind in _LITERALS:
            if kind is Kind.NUMBER:
                self._number(token.text)
            elif not (kind is Kind.STRING and self._after_string):  # 'a' \n 'b' is one
                self._put(PLACEHOLDER)
            self._after_string = kind is Kind.STRING
            return
        self._after_string = False
        if kind is Kind.WORD:
            self._word(_lowered(token.text))
        elif kind is Kind.NAME:
            self._put(_unquoted(token.text), is_name=True)
        else:
            self._mark(token.text)

    def break_off(self) -> None:
        """Leave out unfinished lists of values: how much of them was read depends on the values."""
        while self._opened:
            for by_depth in (self._rows_begin, self._rows, self._selects, self._orders, self._lists):
                by_depth.pop()
            begin = self._opened.pop()
            before = self._parts[begin - 1] if begin else ""
            if self._lists[-1] or (self._rows_begin[-1] and before == ","):
                self._cut(max(begin - 1, 0), len(self._parts))
            elif before in ("in", "array", "values", ","):
                self._cut(begin + 1, len(self._parts))
        if self._parts[-1:] == [","]:
            self._cut(len(self._parts) - 1, len(self._parts))
        # Rows count as complete: what may follow them is rare and short.
        if not self._rows_begin[-1]:
            self._put(UNFINISHED)

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
        parts = self._parts
        before = parts[-1] if parts else ""
        if word in CONSTANTS and self._is_constant(word, before):
            self._put(PLACEHOLDER)
            return
        if self._ordinal == len(parts) - 1 >= 0 and word not in _ENDS_LIST | _GOES_WITH_ORDINAL:
            parts[-1] = PLACEHOLDER
        if word == "by":
            self._orders[-1] = before if self._selects[-1] and before in ("order", "group") else ""
        elif word in _ENDS_LIST:
            self._orders[-1] = ""
            if word == "select":
                self._selects[-1], self._lists[-1] = True, False
        self._rows_begin[-1] = word == "values"
        self._rows[-1] = set()
        self._put(word, is_name=word not in BEFORE_OPERAND)

    def _is_constant(self, word: str, before: str) -> bool:
        if before in ("is", ".", "as"):  # a test, a column, a label
            return False
        if before != "not":
            return True
        return word != "null" and self._parts[-2:-1] != ["is"]

    def _number(self, number: str) -> None:
        """A number that stands for a column to order or group by is no value. A sign belongs to a value."""
        parts = self._parts
        before = parts[-1] if parts else ""
        if self._orders[-1] and before in _LISTS_ON and number.isdecimal() and len(number) <= _MAX_DIGITS:
            self._ordinal = len(parts)
            self._put(number)
            return
        if before == "-" and (len(parts) <= 1 or self._wants_operand(-2)):
            self._cut(len(parts) - 1, len(parts))
        self._put(PLACEHOLDER)

    def _mark(self, mark: str) -> None:
        if mark in _OPENING:
            self._open(mark)
        elif mark in _CLOSING and self._opened:
            self._put(mark)
            for by_depth in (self._rows_begin, self._rows, self._selects, self._orders, self._lists):
                by_depth.pop()
            self._close(self._opened.pop())
        else:
            if self._ordinal == len(self._parts) - 1 >= 0 and mark not in ",;":
                self._parts[-1] = PLACEHOLDER  # it is part of an expression
            if mark == "::" and self._lists[-1] and self._parts[-1:] == [PLACEHOLDER]:
                self._cast = Cast.TYPE
                return
            self._put("%" if mark == "%%" else mark)

    def _open(self, mark: str) -> None:
        before = self._parts[-1] if self._parts else ""
        # GROUP BY (1, 2) lists columns; ORDER BY (a, 2) orders by a row.
        goes_on = self._orders[-1] == "group" and before in _LISTS_ON
        is_distinct = before == "on" and self._parts[-2:-1] == ["distinct"]
        is_row = before in _BEFORE_ROW and (self._rows_begin[-1] or self._lists[-1])
        is_list = before in ("in", "array") or is_row
        self._opened.append(len(self._parts))
        self._rows_begin.append(before == "in")
        self._rows.append(set())
        self._selects.append(False)
        self._orders.append("group" if goes_on or is_distinct else "")
        self._lists.append(is_list)
        self._put(mark)

    def _close(self, begin: int) -> None:
        """Cut a list that starts at `begin` to one element; leave out a row that was written before."""
        parts = self._parts
        before = parts[begin - 1] if begin else ""
        length = len(parts) - begin
        # Lists within lists look at each part only once, and rows within rows are compared up to a length.
        # So the time stays proportional to the text.
        if before in ("in", "array") and length > len("(?)"):
            if all(parts[index] in _OF_A_LIST for index in range(begin + 1, len(parts) - 1)):
                self._cut(begin + 2, len(parts) - 1)
            length = len(parts) - begin
        if before == "array" and self._lists[-1] and length == len("[?]"):
            self._cut(begin - 1, len(parts))
            self._put(PLACEHOLDER)
        elif self._rows_begin[-1] and parts[begin] == "(" and length <= _MAX_ROW_PARTS:
            row = tuple(parts[begin:])
            if before == "," and row in self._rows[-1]:
                self._cut(begin - 1, len(parts))
            self._rows[-1].add(row)

    def _is_of_cast(self, token: Token) -> bool:
        """Whether `token` belongs to the type that a literal in a list is cast to. The type is left out."""
        text, state = token.text, self._cast
        if state is Cast.TYPE:
            self._cast = Cast.BEHIND if token.kind in _NAMES else Cast.NONE
        elif state is Cast.BEHIND:
            self._cast = _AFTER_TYPE.get(text, Cast.NONE)
        elif text in _CLOSING:
            self._cast = Cast.BEHIND
        return self._cast is not Cast.NONE

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
    """In lower case as PostgreSQL does it: ASCII letters only."""
    if word.isascii():
        return word.lower()
    return "".join(letter.lower() if letter.isascii() else letter for letter in word)


def _unquoted(name: str) -> str:
    """A quoted name without its quotes, if that means the same."""
    plain = name[1:-1]
    if name[0] != '"' or not plain.isascii() or not plain.isidentifier() or plain != plain.lower():
        return name
    return name if plain in RESERVED else plain


def words_of(statement: Sequence[Token]) -> list[str]:
    """The texts of the tokens; keywords and names without quotes in lower case."""
    return [_lowered(token.text) if token.kind is Kind.WORD else token.text for token in statement]
