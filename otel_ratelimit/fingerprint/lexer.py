"""PostgreSQL's lexical rules, as far as it takes to tell literals, names, comments and operators apart.

PostgreSQL's documentation, "Lexical Structure", and the placeholders of psycopg. Linear in the text's
length: no repetition here ever gives back what it has taken. Whatever is not ended extends to the end of
the text. `standard_conforming_strings` is taken to be on, as it is since PostgreSQL 9.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple


class Kind(IntEnum):
    """What a token is."""

    WORD = 1
    """A keyword or a name without quotes."""
    NAME = 2
    """A quoted name."""
    STRING = 3
    NUMBER = 4
    PARAMETER = 5
    """`%s`, `%(name)s`, `$1`, and the `?` of a template."""
    OPERATOR = 6
    PUNCTUATION = 7


class Token(NamedTuple):
    """A part of a statement; comments and white space are none."""

    kind: Kind
    text: str
    start: int
    end: int


_TOKEN: Final = re.compile(
    r"""
    (?P<blank>[ \t\n\r\f\v]++ | --[^\n\r]*+)
  | (?P<comment>/\*)
  | (?P<escaped>[eE]'(?:[^'\\]++|\\.|'')*+(?:'|\Z|\\\Z))
  | (?P<string>(?:[bBxXnN]|[uU]&)?'(?:[^']++|'')*+(?:'|\Z))
  | (?P<name>(?:[uU]&)?"(?:[^"]++|"")*+(?:"|\Z))
  | (?P<word>[A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]*+)
  | (?P<parameter>\$\d++ | %[sbt](?!\w) | %\([^()%]*+\)[sbt] | \?(?![|&\-?]))
  | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff]*+)?\$)
  | (?P<number>0[xX][\da-fA-F_]++|0[oO][0-7_]++|0[bB][01_]++
      |(?:\d[\d_]*+(?:\.(?!\.)[\d_]*+)?|\.\d[\d_]*+)(?:[eE][+-]?\d++)?)
  | (?P<punctuation>::|:=|[(),;\[\].:{}])
  | (?P<operator>(?:[+*<>=~!@\#^&|`?]|%%|%(?![sbt(])|-(?!-)|/(?!\*)){1,63}+)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
"""An operator has at most 63 characters; without that limit a run of signs would be read again for each.
Whatever is not ASCII may be part of a name.
"""
_GOES_ON: Final = re.compile(r"(?:[ \t\f\v]|--[^\n\r]*+)*+[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*+)*+'")
"""What stands between two parts of one string; the second one is like the first."""
_ESCAPED_PART: Final = re.compile(r"(?:[^'\\]++|\\.|'')*+(?:'|\Z|\\\Z)", re.DOTALL)
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")
_KINDS: Final = {
    "string": Kind.STRING,
    "name": Kind.NAME,
    "word": Kind.WORD,
    "parameter": Kind.PARAMETER,
    "number": Kind.NUMBER,
    "punctuation": Kind.PUNCTUATION,
    "operator": Kind.OPERATOR,
    "other": Kind.PUNCTUATION,
}
_KEEPS_ITS_SIGN: Final = frozenset("~!@#%^&|`?")


def tokens(text: str) -> Iterator[Token]:
    """The tokens of `text`."""
    position, end = 0, len(text)
    match = _TOKEN.match
    while position < end:
        found = match(text, position)
        if found is None:  # cannot be: `other` takes anything
            return
        start, position, group = position, found.end(), found.lastgroup
        if group == "blank":
            continue
        if group == "comment":
            position = _end_of_comment(text, position)
        elif group == "dollar":
            closing = text.find(found[0], position)
            position = end if closing < 0 else closing + len(found[0])
            yield Token(Kind.STRING, text[start:position], start, position)
        elif group == "escaped":
            while text[position - 1] == "'" and (goes_on := _GOES_ON.match(text, position)):
                part = _ESCAPED_PART.match(text, goes_on.end())
                position = part.end() if part is not None else end
            yield Token(Kind.STRING, text[start:position], start, position)
        elif group == "operator":
            position = start + len(_operator(found[0]))
            yield Token(Kind.OPERATOR, text[start:position], start, position)
        else:
            yield Token(_KINDS[group or "other"], found[0], start, position)


def _end_of_comment(text: str, position: int) -> int:
    """Comments nest."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(text, position):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(text)


def _operator(run: str) -> str:
    """The first operator of a run of operator characters: `=-` is `=` and a sign, `@-` is one operator."""
    if _KEEPS_ITS_SIGN.isdisjoint(run):
        return run.rstrip("+-") or run[0]
    return run
