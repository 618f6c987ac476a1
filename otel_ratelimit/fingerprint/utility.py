"""What utility statements name and set, which makes no other template: `savepoint ?`, `set x to ?`.

Frameworks make up names of savepoints, cursors and temporary tables, and what SET sets needs no quotes.
PostgreSQL leaves most of this out of its query ids as well ("pg_stat_statements", since versions 17 and 18).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from otel_ratelimit.fingerprint.lexer import Kind, Token

_LEFT_OUT: Final = "?"
_DIGITS: Final = "…"
"""For what was generated within a name; a letter to PostgreSQL, as is everything beyond ASCII."""
_NAMES: Final = frozenset({Kind.WORD, Kind.NAME})
_IN_NAME: Final = frozenset({Kind.WORD, Kind.NAME, Kind.PARAMETER})
_SET_OTHERWISE: Final = frozenset({"transaction", "constraints", "characteristics"})
"""What SET is followed by where it sets nothing by name, and all of its words are key words or names."""
_SET_WITHOUT_TO: Final = frozenset({"authorization", "names", "role", "schema"})
_WITH_SETTINGS: Final = frozenset({"create", "alter"})
_TEMPORARY: Final = frozenset({"temp", "temporary"})
_NAMED_AFTER: Final = {
    "savepoint": frozenset[str](),
    "release": frozenset({"savepoint"}),
    "declare": frozenset[str](),
    "close": frozenset[str](),
    "deallocate": frozenset({"prepare"}),
    "prepare": frozenset[str](),
    "execute": frozenset[str](),
    "listen": frozenset[str](),
    "notify": frozenset[str](),
    "unlisten": frozenset[str](),
}
"""Statements with a name behind their first word, and words that may stand between."""
_NOT_A_NAME: Final = frozenset({"all", "transaction"})
"""CLOSE ALL, DEALLOCATE ALL, PREPARE TRANSACTION."""
_MAKING_TABLES: Final = frozenset({"table", "view", "sequence"})
_BEFORE_TABLE: Final = frozenset({"if", "not", "exists"})
_AROUND_TABLES: Final = frozenset(
    {
        "from",
        "join",
        "into",
        "update",
        "table",
        "only",
        "truncate",
        "exists",
        "analyze",
        "vacuum",
        "copy",
        "on",
    }
)
"""Words before the name of a table."""
_GENERATED: Final = re.compile(
    r"""(?<![a-z0-9])(?:
        [0-9a-f]{8}[-_]?+[0-9a-f]{4}[-_]?+[0-9a-f]{4}[-_]?+[0-9a-f]{4}[-_]?+[0-9a-f]{12}
      | \d{6,}+
      | (?=[a-f]*+\d)(?=\d*+[a-f])[0-9a-f]{8,}+
    )(?![a-z0-9])
    | (?<=[a-z])\d{6,}+(?![a-z0-9])""",
    re.VERBOSE | re.IGNORECASE,
)
"""A UUID, six digits or more, eight hexadecimal ones or more."""
_TEMPORARY_WORD: Final = re.compile(r'(?<![^_"])(?:te?mp|temporary)(?![^_"\d])', re.IGNORECASE)
_PART_WITH_DIGIT: Final = re.compile(r"(?<=_)[a-z]*+\d[a-z0-9]*+|\d++", re.IGNORECASE)


def without_names(statement: Sequence[Token]) -> list[Token]:
    """`statement`, or several with semicolons between them, without what is made up for each run."""
    left: list[Token] = []
    for piece in _pieces(statement):
        left += _without(piece)
    return _without_temporary_names([_generalised(token) for token in left])


def _pieces(statement: Sequence[Token]) -> Iterator[list[Token]]:
    """Each with the semicolon that ends it."""
    piece: list[Token] = []
    for token in statement:
        piece.append(token)
        if token.text == ";":
            yield piece
            piece = []
    if piece:
        yield piece


def _without(piece: list[Token]) -> list[Token]:
    words = _words(piece)
    begin = _begin(words)
    first = words[begin] if begin < len(words) else ""
    if first in _NAMED_AFTER:
        piece = _named_after(piece, words, begin)
    elif first in ("rollback", "abort") and "to" in words[begin : begin + 3]:
        index = words.index("to", begin) + 1
        piece = _replaced(piece, index + (words[index : index + 1] == ["savepoint"]))
    elif first in ("fetch", "move"):
        ends = len(words) - 1 - (words[-1:] == [";"])
        if ends > begin:
            piece = _replaced(piece, ends)
    elif first == "set":
        return _without_what_is_set(piece, words, begin)
    elif first in _WITH_SETTINGS:
        piece = _without_settings(piece, words)
    if not _TEMPORARY.isdisjoint(words[begin:]):
        piece = _without_temporary_table(piece)
    return _without_names_within(piece)


def _words(piece: Sequence[Token]) -> list[str]:
    return [token.text.lower() if token.kind is Kind.WORD else token.text for token in piece]


def _begin(words: Sequence[str]) -> int:
    """Behind EXPLAIN and its options."""
    if words[:1] != ["explain"]:
        return 0
    index = 1
    if words[1:2] == ["("]:
        while index < len(words) and words[index] != ")":
            index += 1
        return index + 1
    while words[index : index + 1] in (["analyze"], ["analyse"], ["verbose"]):
        index += 1
    return index


def _named_after(piece: list[Token], words: Sequence[str], begin: int) -> list[Token]:
    index = begin + 1
    if words[index : index + 1] and words[index] in _NAMED_AFTER[words[begin]] and len(words) > index + 1:
        index += 1
    if (
        words[index : index + 1]
        and words[index] in _NOT_A_NAME
        and words[begin] not in ("savepoint", "release")
    ):
        return piece
    return _replaced(piece, index)


def _replaced(piece: list[Token], index: int) -> list[Token]:
    """With a placeholder for the name at `index`, if there is one."""
    if index >= len(piece) or piece[index].kind not in _NAMES:
        return piece
    end = index + 1
    while end + 1 < len(piece) and piece[end].text == "." and piece[end + 1].kind in _IN_NAME:
        end += 2
    return [*piece[:index], _placeholder(piece[index]), *piece[end:]]


def _placeholder(token: Token) -> Token:
    return Token(Kind.PARAMETER, _LEFT_OUT, token.start, token.end)


def _without_what_is_set(piece: list[Token], words: Sequence[str], begin: int) -> list[Token]:
    """SET without its value, which is the rest: `SET a.b.c TO x, y`, `SET TIME ZONE x`, `SET ROLE x`."""
    index = begin + 1
    if words[index : index + 1] in (["session"], ["local"]):
        index += 1
    is_setting = words[index + 1 : index + 2] in (["="], ["to"])
    if not is_setting and words[index : index + 1] and words[index] in _SET_OTHERWISE:
        return piece
    if words[index : index + 2] in (["time", "zone"], ["session", "authorization"]):
        value = index + 2
    elif words[index : index + 1] and words[index] in _SET_WITHOUT_TO and not is_setting:
        value = index + 1
    else:
        value = _end_of_name(piece, index)
        value += words[value : value + 1] in (["="], ["to"])
    ends = len(piece) - (words[-1:] == [";"])
    if value >= ends or words[value:ends] == ["from", "current"]:
        return piece
    return [*piece[:value], _placeholder(piece[value]), *piece[ends:]]


def _without_settings(piece: list[Token], words: Sequence[str]) -> list[Token]:
    """ALTER ... SET x TO v, and CREATE FUNCTION ... SET x = v, without v."""
    left: list[Token] = []
    index = 0
    while index < len(piece):
        left.append(piece[index])
        index += 1
        if words[index - 1] != "set":
            continue
        end = _end_of_name(piece, index)
        if words[index : index + 2] == ["time", "zone"]:
            end = index + 2
        elif end == index or words[end : end + 1] not in (["="], ["to"]):
            continue
        else:
            end += 1
        left += piece[index:end]
        index = _end_of_values(piece, end)
        if index > end:
            left.append(_placeholder(piece[end]))
    return left


def _end_of_name(piece: Sequence[Token], index: int) -> int:
    """Of `a`, `a.b` and so on; `index` where none begins."""
    end = index
    while end < len(piece) and piece[end].kind in _NAMES:
        end += 1
        if end >= len(piece) or piece[end].text != ".":
            break
        end += 1
    return end


def _end_of_values(piece: Sequence[Token], index: int) -> int:
    """`x`, `'x'`, `-1`, with commas between several."""
    while index < len(piece):
        if piece[index].kind is Kind.OPERATOR:  # a sign
            index += 1
        if index < len(piece) and piece[index].kind is not Kind.PUNCTUATION:
            index += 1
        if index >= len(piece) or piece[index].text != ",":
            break
        index += 1
    return index


def _without_temporary_table(piece: list[Token]) -> list[Token]:
    """CREATE TEMPORARY TABLE x and SELECT ... INTO TEMPORARY x, without x."""
    words = _words(piece)
    for index, word in enumerate(words):
        if word not in _TEMPORARY or index == 0:
            continue
        if words[index - 1] not in ("create", "replace", "local", "global", "into"):
            continue
        name = index + 1
        while words[name : name + 1] and words[name] in ("recursive", "unlogged", *_MAKING_TABLES):
            name += 1
        while words[name : name + 1] and words[name] in _BEFORE_TABLE:
            name += 1
        return _replaced(piece, name)
    return piece


def _without_names_within(piece: list[Token]) -> list[Token]:
    """WHERE CURRENT OF x, and AS EXECUTE x, without x."""
    words = _words(piece)
    for index in range(len(words) - 2):
        if words[index : index + 2] in (["current", "of"], ["as", "execute"]):
            return _replaced(piece, index + 2)
    return piece


def _generalised(token: Token) -> Token:
    """A name that was generated, in part or wholly, without that part."""
    if token.kind not in _NAMES or len(token.text) < 6 or not _has_digit(token.text):  # noqa: PLR2004  # shortest
        return token
    return token._replace(text=_GENERATED.sub(_DIGITS, token.text))


_has_digit: Final[Callable[[str], object]] = re.compile(r"\d").search


def _without_temporary_names(statement: list[Token]) -> list[Token]:
    """Without what tells one `tmp_17` from another, where such a table is named."""
    names: set[str] = set()
    before = ""
    for token in statement:
        if token.kind in _NAMES and before in _AROUND_TABLES and _is_temporary(token.text):
            names.add(token.text)
        before = token.text.lower() if token.text != "." else before
    if not names:
        return statement
    return [
        token._replace(text=_PART_WITH_DIGIT.sub(_DIGITS, token.text)) if token.text in names else token
        for token in statement
    ]


def _is_temporary(name: str) -> bool:
    return bool(_has_digit(name)) and _TEMPORARY_WORD.search(name) is not None
