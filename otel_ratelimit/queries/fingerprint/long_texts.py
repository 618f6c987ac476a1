"""The tokens of long texts, without the equal elements of lists: nearly all long texts are lists of values.

Reading everything would take a second per megabyte, and hold the interpreter's lock meanwhile. So elements
that are like the one before are skipped in one step of `re`: those of IN (...) and ARRAY[...], rows of
VALUES, and links of chains (`a = 1 OR a = 2`, `WHEN 1 THEN 'a'`). The text behind a list, which may lock or
update rows, is read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Final, NamedTuple

from otel_ratelimit.queries.fingerprint.keywords import CONSTANTS
from otel_ratelimit.queries.fingerprint.lexer import Kind, Token, tokens

MAX_READ_CHARACTERS: Final = 16_000
"""Texts up to this length are read completely; longer ones are long."""
MAX_TOKENS: Final = 20_000
"""Tokens of a long text that are read. The rest is only searched for words that write."""
_MAX_ELEMENT_TOKENS: Final = 4_000
"""A row has up to 1,664 columns."""
_MAX_PARTS: Final = 32
"""Parts of a pattern: runs of values, and what is between them."""
_MAX_PATTERNS: Final = 64
"""Patterns that are tried for one text."""

_BLANK: Final = r"[ \t\n\r\f\v]*+"
_NAME_GOES_ON: Final = r"[\w$\x80-\U0010ffff]"
_PLAIN: Final = rf"""(?:
    (?:[-+]{_BLANK})?(?:\d[\d_]*+(?:\.[\d_]*+)?|\.\d[\d_]*+)(?:[eE][+-]?\d++)?(?!{_NAME_GOES_ON})
  | [eE]'(?:[^'\\]++|\\.|'')*+'
  | (?:[bBxXnN]|[uU]&)?'(?:[^']++|'')*+'
  | \$\$[^$]*+\$\$
  | %[sbt](?!\w) | %\([^()%'"$;]*+\)[sbt] | \$\d++(?!{_NAME_GOES_ON})
  | (?i:null|true|false)(?!{_NAME_GOES_ON})
)"""
_CAST: Final = rf"""(?:{_BLANK}::{_BLANK}[\w."]++(?:\([\d, ]*+\))?(?:\[\d*+\]|(?!))*+|(?!))*+"""
_ARRAY: Final = rf"(?i:array)\[{_BLANK}(?:{_PLAIN}{_CAST}{_BLANK},?{_BLANK}|(?!))*+\]"
_VALUE: Final = rf"(?:{_PLAIN}|{_ARRAY}){_CAST}"
"""A literal or a placeholder, or an array of them, as psycopg2 and SQLAlchemy write them."""
_LITERALS: Final = frozenset({Kind.STRING, Kind.NUMBER, Kind.PARAMETER})
_NAMES: Final = frozenset({Kind.WORD, Kind.NAME})
_SIGNS: Final = frozenset("+-")
_CHAINING: Final = frozenset({"or", "and", "when", "union"})
"""Words between the links of a chain, such as those of Django's `Q` objects and `bulk_update`."""
_ABOVE: Final = {
    "or": ("and",),
    "when": ("or", "and"),
    "union": ("or", "and", "when"),
    ",": ("or", "and", "when"),
}
"""By separator, those that bind more tightly: their chains end there."""
_CLOSING: Final = {"(": ")", "[": "]"}


class Read(NamedTuple):
    """The part of a text that was read."""

    tokens: list[Token]
    rest: int | None
    """Where the part starts that was not read; None if all of it was."""


@dataclass(slots=True)
class _Level:
    """One depth of parentheses: what is listed there with commas, and where the current elements start."""

    lists: str
    begins: dict[str, int]
    """By separator: a comma, OR, AND, WHEN or UNION."""


def read(text: str) -> Read:
    """The tokens of `text`. In the lists of a long text, only elements that differ from the one before.

    The first and the last of several equal elements are kept.
    """
    if len(text) <= MAX_READ_CHARACTERS:
        return Read(list(tokens(text)), None)
    found: list[Token] = []
    levels = [_Level("", {})]
    patterns = 0
    source = tokens(text)
    before = ""
    while (token := next(source, None)) is not None:
        if len(found) >= MAX_TOKENS:
            return Read(found, token.start)
        found.append(token)
        word = token.text.lower() if token.kind is Kind.WORD else token.text
        level = levels[-1]
        if not (word in _CHAINING or (word == "," and level.lists)):
            _step(levels, token, word, before, len(found))
        elif patterns < _MAX_PATTERNS:
            patterns += 1
            end = _end_of_like(_element(level, word, found), token.text, text, token.end)
            if end > token.end:
                source = tokens(text, end)
        before = word
    return Read(found, None)


def _element(level: _Level, separator: str, found: Sequence[Token]) -> Sequence[Token]:
    """The element before the separator, which is the last token. The next element starts behind it."""
    element = found[level.begins.get(separator, len(found)) : -1]
    if separator in _ABOVE:
        # A chain of AND ends where OR follows.
        for below in _ABOVE[separator]:
            level.begins.pop(below, None)
    level.begins[separator] = len(found)
    return element if len(element) <= _MAX_ELEMENT_TOKENS else ()


def _step(levels: list[_Level], token: Token, word: str, before: str, position: int) -> None:
    """Update `levels` for `token`, given the word `before` it and the `position` of the next token."""
    if word in ("(", "["):
        lists = "elements" if before in ("in", "array") else ""
        levels.append(_Level(lists, {",": position} if lists else {}))
    elif word in (")", "]"):
        if len(levels) > 1:
            levels.pop()
    elif token.kind is Kind.WORD and (word == "values" or levels[-1].lists == "rows"):
        levels[-1] = _Level("rows", {",": position}) if word == "values" else _Level("", {})


def _end_of_like(element: Sequence[Token], separator: str, text: str, position: int) -> int:
    """Where the next elements that are like `element` end, with their separators; `position` if none is."""
    pattern = _pattern(element, separator) if element else None
    if pattern is None:
        return position
    found = _compiled(pattern).match(text, position)
    return position if found is None else found.end()


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.VERBOSE | re.DOTALL)


def _pattern(element: Sequence[Token], separator: str = ",") -> str | None:
    """A pattern for elements that differ from this one in their values only; None if it would be too long."""
    parts: list[str] = []
    for part, run in groupby(_runs(_parts(element))):
        times = len(list(run))
        parts.append(part if times == 1 else f"(?:{part}){{{times}}}")
    return None if len(parts) > _MAX_PARTS else f"(?:{_BLANK}{''.join(parts)}{_escaped(separator)}|(?!))++"


def _runs(parts: Sequence[str]) -> list[str]:
    """Each value together with the comma behind it, so that a run of values has equal parts."""
    joined: list[str] = []
    index = 0
    while index < len(parts):
        part = parts[index]
        if part == _VALUE and parts[index + 1 : index + 2] == [","]:
            joined.append(f"{_VALUE}{_BLANK},{_BLANK}")
            index += 1
        else:
            joined.append(f"{part if part == _VALUE else _escaped(part)}{_BLANK}")
        index += 1
    return joined


def _escaped(part: str) -> str:
    # The word must end here.
    return re.escape(part) + (f"(?!{_NAME_GOES_ON})" if part[-1].isalnum() else "")


def _parts(element: Sequence[Token]) -> list[str]:
    """Texts of the tokens; `_VALUE` for each value, or array of values, with its sign and casts."""
    parts: list[str] = []
    index = 0
    while index < len(element):
        end = _end_of_value(element, index)
        if end == index:
            parts.append(element[index].text)
            index += 1
            continue
        if parts and parts[-1] in _SIGNS and (len(parts) == 1 or parts[-2] in ("(", ",", "[")):
            parts.pop()
        parts.append(_VALUE)
        index = end
    return parts


def _end_of_value(element: Sequence[Token], index: int) -> int:
    """The end of a literal, placeholder or array of them, with its casts; `index` if none starts there."""
    token = element[index]
    word = token.text.lower() if token.kind is Kind.WORD else ""
    if token.kind in _LITERALS or word in CONSTANTS:
        return _end_of_casts(element, index + 1)
    if word != "array" or index + 1 == len(element) or element[index + 1].text != "[":
        return index
    end = index + 2
    while end < len(element) and element[end].text != "]":
        part = element[end]
        if (
            part.kind not in _LITERALS
            and part.text not in (",", *_SIGNS)
            and part.text.lower() not in CONSTANTS
        ):
            return index
        end = _end_of_casts(element, end + 1)
    return _end_of_casts(element, end + 1)


def _end_of_casts(element: Sequence[Token], index: int) -> int:
    while index + 1 < len(element) and element[index].text == "::" and element[index + 1].kind in _NAMES:
        index += 2
        while index + 1 < len(element) and element[index].text == "." and element[index + 1].kind in _NAMES:
            index += 2
        while index < len(element) and element[index].text in _CLOSING:
            closing = _CLOSING[element[index].text]
            while index < len(element) and element[index].text != closing:
                index += 1
            index += 1
    return index
