"""What code ran: a statement's template, its hash, and what it does to which tables.

lexer       PostgreSQL's lexical rules
normalise   one spelling, without literals
tables      which tables it names
words       what its words mean here
comments    statements without their comments, for the key of an execution
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

from otel_ratelimit.fingerprint.lexer import Kind, Token, tokens
from otel_ratelimit.fingerprint.normalise import normalise, words_of
from otel_ratelimit.fingerprint.tables import tables
from otel_ratelimit.fingerprint.words import (
    READING,
    VERBS,
    VOLATILE_CALLS,
    VOLATILE_WORDS,
    WRITING_CALLS,
)
from otel_ratelimit.query_records import REFUSED, QueryTemplate

__all__ = ["TemplateCache", "hash_query", "is_statement", "split_statements", "statement_text"]

MOST_TEMPLATE_CHARACTERS: Final = 10_000
"""As much of a template's text is kept; its hash is over all of it."""
MOST_READ_CHARACTERS: Final = 16_000
"""Of longer statements, which are lists of values nearly always, the rest is not read: that takes a second a
megabyte, and holds the interpreter's lock meanwhile.
"""
_CUT: Final = " …"
_VALUES: Final = r"""
    (?P<string>'(?:[^']++|'')*+(?:'|\Z))
  | (?P<kept>"(?:[^"]++|"")*+(?:"|\Z) | --[^\n\r]*+)
  | (?<![\w$.])(?P<number>[0-9]++(?:\.[0-9]++)?)(?![\w.])
    """
"""Strings and plain numbers, and what may hold something that looks like one."""
_COLUMNS: Final = r"(?P<column>(?:\b[bB][yY]|[(,])[ \t\n\r\f\v]*+[0-9]{1,4}+(?![\w.])) |"
"""What may be the number of a column that is ordered or grouped by."""
_UNSURE: Final = re.compile(r"/\*|\$(?:[^\W\d]\w*+)?\$|[eE]'|[^\x00-\x7f\w]")
"""Comments nest, which no pattern can follow; an E or a dollar may end one thing or begin a string; beyond
ASCII a name may have any character.
"""
_NOT_BETWEEN: Final = re.compile(
    r"""(?<![\w$])[eE]'(?:[^'\\]++|\\.|'')*+' | '(?:[^']++|'')*+' | "(?:[^"]++|"")*+"
    | --[^\n\r]*+ | /\*.*?\*/ | (?<![\w$])\$(?P<tag>(?:[^\W\d]\w*+)?)\$.*?\$(?P=tag)\$ | ;""",
    re.VERBOSE | re.DOTALL,
)
"""Semicolons, and what may hold some that end nothing."""
_FLAGS: Final = re.VERBOSE | re.DOTALL
_VALUE: Final = re.compile(_VALUES, _FLAGS)
_VALUE_NOT_COLUMN: Final = re.compile(_COLUMNS + _VALUES, _FLAGS)
_HAS_COLUMNS: Final = re.compile(r"\b(?:by|on)\b", re.IGNORECASE)
_MOST_CACHED: Final = 4_096
_MOST_CACHED_CHARACTERS: Final = 8_000_000


def hash_query(sql: Any) -> QueryTemplate:
    """The template of a statement, and its hash.

    Args:
        sql: text, bytes (UTF-8), or what psycopg2.sql composes; of anything else, its text.

    Returns:
        The template. `hash` is the first 64 bits of the BLAKE2b hash of its whole text, signed. Whatever
        cannot be read as SQL is a template of its own; nothing raises. Of more than `MOST_READ_CHARACTERS`
        the rest is not read.
    """
    text = statement_text(sql)
    return template_of(text[:MOST_READ_CHARACTERS], is_cut=len(text) > MOST_READ_CHARACTERS)


def template_of(text: str, *, is_cut: bool = False) -> QueryTemplate:
    """As `hash_query`, of a text that is read whole; `is_cut` if there was more of it."""
    statement = list(tokens(text))
    words = words_of(statement)
    operation = _operation(words)
    if operation == "set":
        statement, words = _without_value(statement, words)
    text = normalise(statement, is_cut=is_cut)
    named, written = tables(statement, operation)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return QueryTemplate(
        hash=int.from_bytes(digest, "big", signed=True),
        text=text
        if len(text) <= MOST_TEMPLATE_CHARACTERS
        else text[: MOST_TEMPLATE_CHARACTERS - len(_CUT)] + _CUT,
        operation=operation,
        tables=tuple(sorted(named)),
        written=tuple(sorted(written.items())),
        is_write=_is_write(words, operation),
        volatile=_is_volatile(statement, words),
    )


def split_statements(text: str) -> tuple[str, ...]:
    """The statements of a text with semicolons between them; those within a function's body are one.

    Long texts are looked through more quickly, and for the usual ways to write them only.
    """
    if len(text) > MOST_READ_CHARACTERS:
        return tuple(statement for statement in _roughly_split(text) if _has_token(statement))
    found: list[str] = []
    begin, depth, blocks = 0, 0, 0
    before = ""
    for token in tokens(text):
        word = token.text.lower() if token.kind is Kind.WORD else token.text
        depth += {"(": 1, ")": -1}.get(word, 0)
        # BEGIN ATOMIC ... END, with CASE ... END within.
        if (word == "atomic" and before == "begin") or (blocks and word == "case"):
            blocks += 1
        elif blocks and word == "end":
            blocks -= 1
        elif word == ";" and depth <= 0 and not blocks:
            found.append(text[begin : token.start].strip())
            begin = token.end
        before = word
    found.append(text[begin:].strip())
    return tuple(statement for statement in found if _has_token(statement))


def _roughly_split(text: str) -> Iterator[str]:
    begin = 0
    for found in _NOT_BETWEEN.finditer(text):
        if found[0] == ";":
            yield text[begin : found.start()].strip()
            begin = found.end()
    yield text[begin:].strip()


class TemplateCache:
    """`hash_query` for one thread, remembering the texts that were asked for last.

    An application that writes values into its SQL never sends the same text twice. So what is remembered
    is also the text without its values, which takes a tenth of the time of reading it.
    """

    def __init__(
        self, capacity: int = _MOST_CACHED, capacity_characters: int = _MOST_CACHED_CHARACTERS
    ) -> None:
        self._capacity = capacity
        self._capacity_characters = capacity_characters
        self._characters = 0
        self._templates: OrderedDict[str, QueryTemplate] = OrderedDict()

    def __len__(self) -> int:
        return len(self._templates)

    def __call__(self, text: str) -> QueryTemplate:
        """The template of `text`."""
        if text == REFUSED.text:
            return REFUSED
        known = self._templates.get(text)
        if known is not None:
            self._templates.move_to_end(text)
            return known
        if len(text) > MOST_READ_CHARACTERS:
            return hash_query(text)
        shape = without_values(text)
        template = self._templates.get(shape)
        if template is None:
            template = hash_query(shape)
            self._remember(shape, template)
        if shape != text:
            self._remember(text, template)
        return template

    def _remember(self, text: str, template: QueryTemplate) -> None:
        self._templates[text] = template
        self._characters += len(text)
        while len(self._templates) > self._capacity or self._characters > self._capacity_characters:
            forgotten, _ = self._templates.popitem(last=False)
            self._characters -= len(forgotten)


def without_values(text: str) -> str:
    """`text` with its literals emptied: another statement with the same template."""
    if _UNSURE.search(text):
        return text
    if not _HAS_COLUMNS.search(text):
        return _VALUE.sub(_emptied, text)
    if "--" in text:  # it may stand between BY and the number
        return text
    return _VALUE_NOT_COLUMN.sub(_emptied, text)


def _emptied(found: re.Match[str]) -> str:
    value = found[0]
    if found.lastgroup == "number":
        return "0.0"  # which no column has
    if found.lastgroup == "string" and value.endswith("'"):
        return "''"
    return value


def is_statement(sql: Any) -> bool:
    """Whether it is text, bytes, or what psycopg2.sql composes."""
    return isinstance(sql, str | bytes | bytearray | memoryview) or _is_composed(sql)


def _is_composed(sql: Any) -> bool:
    # By name: psycopg2 is no part of the core.
    return any(base.__name__ == "Composable" for base in type(sql).__mro__)


def statement_text(sql: Any) -> str:
    """The text of a statement as `hash_query` reads it; its literals may be placeholders."""
    if isinstance(sql, str):
        return sql
    if isinstance(sql, bytes | bytearray | memoryview):
        return bytes(sql).decode("utf-8", "replace")
    if _is_composed(sql):
        return "".join(_composed(sql))
    return str(sql)


def _composed(sql: Any) -> Iterator[str]:
    """What psycopg2.sql composes, without the connection that it would need to write literals."""
    if hasattr(sql, "seq"):
        for part in sql.seq:
            yield from _composed(part)
    elif hasattr(sql, "strings"):
        yield ".".join('"' + str(name).replace('"', '""') + '"' for name in sql.strings)
    elif hasattr(sql, "string"):
        yield sql.string
    else:  # a literal or a placeholder
        yield "%s"


def _without_value(statement: list[Token], words: list[str]) -> tuple[list[Token], list[str]]:
    """SET without what is set, which needs no quotes."""
    for index, word in enumerate(words[2:12], start=2):
        if word in ("=", "to"):
            end = statement[index].end
            placeholder = Token(Kind.PARAMETER, "?", end, end)
            return [*statement[: index + 1], placeholder], [*words[: index + 1], "?"]
    return statement, words


def _has_token(text: str) -> bool:
    return next(tokens(text), None) is not None


def _operation(words: Sequence[str]) -> str:
    first = next((word for word in words if word != "("), "")
    if first != "with":
        return first if first.isidentifier() else "other"
    return next((word for word in _at_top(words) if word in VERBS), first)


def _at_top(words: Sequence[str]) -> Iterator[str]:
    """Those that are in no parenthesis."""
    depth = 0
    for word in words:
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth == 0:
            yield word


_BEGINS_READING: Final = READING | {"with", "(", ";"}


def _is_write(words: Sequence[str], operation: str) -> bool:
    if operation not in READING:
        return True
    pairs = set(pairwise(words))
    if any(before == ";" and word not in _BEGINS_READING for before, word in pairs):
        return True
    if operation == "copy" and "from" in _at_top(words):
        return True
    if operation == "explain":
        return "analyze" in words and not {"insert", "update", "delete", "merge"}.isdisjoint(words)
    if operation not in ("select", "values", "table", "copy"):
        return False
    return (
        any(("for", lock) in pairs for lock in ("update", "share", "no", "key"))
        or "into" in words
        or any(("(", verb) in pairs for verb in ("insert", "update", "delete", "merge"))
        or not WRITING_CALLS.isdisjoint(words)
    )


def _is_volatile(statement: Sequence[Token], words: Sequence[str]) -> bool:
    for index, word in enumerate(words):
        if statement[index].kind is not Kind.WORD:
            continue
        is_called = index + 1 < len(words) and words[index + 1] == "("
        if is_called and word in VOLATILE_CALLS:
            return True
        if word in VOLATILE_WORDS and not (index and words[index - 1] in (".", "as")):
            return True
    return False
