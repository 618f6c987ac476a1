"""PostgreSQL's lexical rules, as far as needed to distinguish literals, names, comments and operators.

PostgreSQL's documentation, "Lexical Structure", and the placeholders of psycopg. The time is linear in the
text's length, because no repetition here gives back what it has matched. A string, a name or a comment that
is not ended extends to the end of the text, and `marks` raises for it. `standard_conforming_strings` is
assumed to be on, as it is by default since PostgreSQL 9.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple


class Kind(IntEnum):
    """Kinds of tokens."""

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
    """A part of a statement. Comments and white space are not tokens."""

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
  | (?P<parameter>\$\d++ | %[sbt](?!\w) | %\([^()%'"$;]*+\)[sbt] | \?(?![|&\-?]))
  | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff]*+)?\$)
  | (?P<number>0[xX][\da-fA-F_]++|0[oO][0-7_]++|0[bB][01_]++
      |(?:\d[\d_]*+(?:\.(?!\.)[\d_]*+)?|\.\d[\d_]*+)(?:[eE][+-]?\d++)?)
  | (?P<punctuation>::|:=|[(),;\[\].:{}])
  | (?P<operator>(?:[+*<>=~!@\#^&|`?]|%%|%(?![sbt(])|-(?!-)|/(?!\*)|(?!)){1,63}+)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
"""An operator has at most 63 characters. Without that limit a run of signs would be read again for each sign.
Any character beyond ASCII may be part of a name.
"""
_GOES_ON: Final = re.compile(r"(?:[ \t\f\v]|--[^\n\r]*+)*+[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*+)*+'")
"""Separates two parts of one string, and the quote that starts the second part."""
_ESCAPED_PART: Final = re.compile(r"(?:[^'\\]++|\\.|'')*+(?P<end>'|\Z|\\\Z)", re.DOTALL)
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")
_STEP: Final = re.compile(
    r"""
    (?:
        [^'"$;()\[\]\\/\-%\dA-Za-z_\x80-\U0010ffff]++
      | %% | %[sbt](?![\w\x80-\U0010ffff]) | %\([^()%'"$;]*+\)[sbt] | %
      | 0[xX][\da-fA-F_]++ | 0[oO][0-7_]++ | 0[bB][01_]++
      | (?:\d[\d_]*+(?:\.(?!\.)[\d_]*+)?)(?:[eE][+-]?\d++)?
      | (?![eE]')[A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]*+
      | \$\d++ | -(?!-) | /(?!\*) | --[^\n\r]*+
      | '(?:[^']++|'')*+' | "(?:[^"]++|"")*+" | (?!)
    )++
  | (?P<mark>[;()\[\]])
  | (?P<escaped>[eE]'(?:[^'\\]++|\\.|'')*+')
  | (?P<comment>/\*)
  | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff]*+)?\$)
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
"""Like `_TOKEN`, but it matches as many tokens as possible at once, and none that is not ended.

In Python 3.11.0 to 3.11.4 a possessive repetition keeps what its last, failed turn has matched (CPython's
gh-106052), unless the last branch matches nothing: `(?!)`.
"""
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


def tokens(text: str, position: int = 0) -> Iterator[Token]:
    """The tokens of `text` from `position` on, where a token must start."""
    end = len(text)
    match = _TOKEN.match
    while position < end:
        found = match(text, position)
        if found is None:  # impossible: `other` matches anything
            return
        start, position, group = position, found.end(), found.lastgroup
        if group == "blank":
            continue
        if group == "comment":
            position = _end_of_comment(text, position)[0]
        elif group == "dollar":
            closing = text.find(found[0], position)
            position = end if closing < 0 else closing + len(found[0])
            yield Token(Kind.STRING, text[start:position], start, position)
        elif group == "escaped":
            position = _end_of_escaped(text, position)[0]
            yield Token(Kind.STRING, text[start:position], start, position)
        elif group == "operator":
            position = start + len(_operator(found[0]))
            yield Token(Kind.OPERATOR, text[start:position], start, position)
        else:
            yield Token(_KINDS[group or "other"], found[0], start, position)


class UnsureError(ValueError):
    """This module reads the text in another way than the server: something in it is not SQL."""


def marks(text: str) -> Iterator[tuple[str, int]]:
    """Semicolons, parentheses and brackets outside of other tokens, each with its position.

    The text is read as `tokens` reads it, but what is in between is skipped in few steps.

    Raises:
        UnsureError: a string, a name or a comment is not ended, or a backslash or dollar is outside of them.
            A server that has accepted the text must have read it in another way.
    """
    position, end = 0, len(text)
    step = _STEP.match
    while position < end:
        found = step(text, position)
        if found is None:
            raise UnsureError(f"unfinished, or not SQL, from character {position} on")
        start, position, group = position, found.end(), found.lastgroup
        if group == "mark":
            yield found[0], start
        elif group == "comment":
            position, is_ended = _end_of_comment(text, position)
            if not is_ended:
                raise UnsureError(f"the comment from character {start} on is not ended")
        elif group == "dollar":
            position = text.find(found[0], position) + len(found[0])
            if position < found.end():
                raise UnsureError(f"the string from character {start} on is not ended")
        elif group == "escaped":
            position, is_ended = _end_of_escaped(text, position)
            if not is_ended:
                raise UnsureError(f"the string from character {start} on is not ended")


def is_certain(text: str) -> bool:
    """Whether every string, name and comment of `text` is ended, as in each text that a server accepts."""
    try:
        for _ in marks(text):
            pass
    except UnsureError:
        return False
    return True


def _end_of_comment(text: str, position: int) -> tuple[int, bool]:
    """The end of the comment that contains `position`, and whether it is ended. Comments nest."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(text, position):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end(), True
    return len(text), False


def _end_of_escaped(text: str, position: int) -> tuple[int, bool]:
    """The end of a string that has a part which ends at `position`, and whether it is ended."""
    while text[position - 1] == "'" and (goes_on := _GOES_ON.match(text, position)):
        part = _ESCAPED_PART.match(text, goes_on.end())
        if part is None or part["end"] != "'":
            return (len(text) if part is None else part.end()), False
        position = part.end()
    return position, True


def _operator(run: str) -> str:
    """The first operator of a run of operator characters: `=-` is `=` and a sign, `@-` is one operator."""
    if _KEEPS_ITS_SIGN.isdisjoint(run):
        return run.rstrip("+-") or run[0]
    return run
