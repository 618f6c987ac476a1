"""Leaves names and values out of utility statements: `savepoint ?`, `set x to ?`.

Frameworks generate names of savepoints, cursors and temporary tables, and the value of a SET needs no quotes.
PostgreSQL leaves most of this out of its query ids as well ("pg_stat_statements", since versions 17 and 18).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from otel_ratelimit.queries.fingerprint.lexer import Kind, Token

_LEFT_OUT: Final = "?"
_NAMES: Final = frozenset({Kind.WORD, Kind.NAME})
_IN_NAME: Final = frozenset({Kind.WORD, Kind.NAME, Kind.PARAMETER})
_SET_OTHERWISE: Final = frozenset({"transaction", "constraints", "characteristics"})
"""Words behind a SET that does not set a value by name; all of its words are key words or names."""
_SET_WITHOUT_TO: Final = frozenset({"authorization", "names", "role", "schema"})
_NAMED: Final = (["."], ["="], ["to"])
"""Tokens behind a setting's name, or behind the first part of one."""
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
"""Statements with a name behind their first word, and the words that may be in between."""
_NOT_A_NAME: Final = frozenset({"all", "transaction"})
"""CLOSE ALL, DEALLOCATE ALL, PREPARE TRANSACTION."""
_MAKING_TABLES: Final = frozenset({"table", "view", "sequence"})
_BEFORE_TABLE: Final = frozenset({"if", "not", "exists"})


def without_names(statement: Sequence[Token]) -> list[Token]:
    """`statement`, or several with semicolons between them, without what is generated for each run."""
    left: list[Token] = []
    for piece in _pieces(statement):
        left += _without(piece)
    return left


def _pieces(statement: Sequence[Token]) -> Iterator[list[Token]]:
    """The statements, each with the semicolon that ends it."""
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
    begin = begin_of_explained(words)
    first = words[begin] if begin < len(words) else ""
    if first in _NAMED_AFTER:
        piece = _named_after(piece, words, begin)
        if first == "execute":
            piece = _without_arguments(piece, begin + 2)
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


def begin_of_explained(words: Sequence[str]) -> int:
    """Position behind EXPLAIN and its options."""
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
    """`piece` with a placeholder for the name at `index`, if there is one."""
    if index >= len(piece) or piece[index].kind not in _NAMES:
        return piece
    end = index + 1
    while end + 1 < len(piece) and piece[end].text == "." and piece[end + 1].kind in _IN_NAME:
        end += 2
    return [*piece[:index], _placeholder(piece[index]), *piece[end:]]


def _without_arguments(piece: list[Token], begin: int) -> list[Token]:
    """`piece` with one placeholder in the parentheses at `begin`, which the server may not read."""
    if len(piece) < begin + 2 or piece[begin].text != "(":
        return piece
    ends = max((index for index, token in enumerate(piece) if token.text == ")"), default=len(piece))
    return [*piece[: begin + 1], _placeholder(piece[begin + 1]), *piece[ends:]]


def _placeholder(token: Token) -> Token:
    return Token(Kind.PARAMETER, _LEFT_OUT, token.start, token.end)


def _without_what_is_set(piece: list[Token], words: Sequence[str], begin: int) -> list[Token]:
    """SET without its value, which is all the rest: `SET a.b.c TO x, y`, `SET TIME ZONE x`, `SET ROLE x`."""
    index = begin + 1
    if words[index : index + 1] in (["session"], ["local"]) and words[index + 1 : index + 2] not in _NAMED:
        index += 1
    value = _begin_of_value(piece, words, index)
    ends = len(piece) - (words[-1:] == [";"])
    if value is None or value >= ends or words[value:ends] == ["from", "current"]:
        return piece
    return [*piece[:value], _placeholder(piece[value]), *piece[ends:]]


def _begin_of_value(piece: Sequence[Token], words: Sequence[str], index: int) -> int | None:
    """Position behind `x TO`, `x =`, `ROLE` and the like, from `index` on; None if nothing is set by name."""
    end = _end_of_name(piece, index)
    if words[end : end + 1] in (["="], ["to"]):
        return end + 1
    if words[index : index + 1] and words[index] in _SET_OTHERWISE:
        return None
    if words[index : index + 2] in (["time", "zone"], ["session", "authorization"]):
        return index + 2
    return index + 1 if words[index : index + 1] and words[index] in _SET_WITHOUT_TO else end


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
        if words[index : index + 2] in (["time", "zone"], ["session", "authorization"]):
            end = index + 2
        elif end > index and words[end : end + 1] in (["="], ["to"]):
            end += 1
        elif words[index : index + 1] in (["role"], ["names"]):
            end = index + 1
        else:
            continue
        left += piece[index:end]
        index = _end_of_values(piece, end)
        if index > end:
            left.append(_placeholder(piece[end]))
    return left


def _end_of_name(piece: Sequence[Token], index: int) -> int:
    """Position behind the name (`a`, `a.b` and so on) at `index`; `index` if there is none."""
    end = index
    while end < len(piece) and piece[end].kind in _NAMES:
        end += 1
        if end >= len(piece) or piece[end].text != ".":
            break
        end += 1
    return end


def _end_of_values(piece: Sequence[Token], index: int) -> int:
    """Position behind `x`, `'x'`, `-1`, or several with commas between them."""
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
            piece = _replaced(piece, index + 2)
            return _without_arguments(piece, index + 3) if words[index + 1] == "execute" else piece
    return piece
