"""A statement's template, its hash, and what the statement does."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

from otel_ratelimit.queries.fingerprint.generated_names import without_generated
from otel_ratelimit.queries.fingerprint.keywords import READING, VERBS
from otel_ratelimit.queries.fingerprint.lexer import Kind, Token
from otel_ratelimit.queries.fingerprint.long_texts import read
from otel_ratelimit.queries.fingerprint.normalise import normalise, words_of
from otel_ratelimit.queries.fingerprint.statement_text import statement_text
from otel_ratelimit.queries.fingerprint.tables import tables
from otel_ratelimit.queries.fingerprint.utility_statements import begin_of_explained, without_names
from otel_ratelimit.queries.fingerprint.volatile_functions import (
    VOLATILE_CALLS,
    VOLATILE_WORDS,
    WRITING_CALLS,
)
from otel_ratelimit.queries.records import QueryTemplate

MAX_TEMPLATE_CHARACTERS: Final = 10_000
"""Longest text of a template; its hash is over the whole text."""
_CUT: Final = " …"
_WRITES: Final = frozenset({"insert", "update", "delete", "merge", "into", "share"}) | WRITING_CALLS
_VOLATILE: Final = VOLATILE_CALLS | VOLATILE_WORDS
_WORD: Final = re.compile(r"[a-z_]\w*+", re.IGNORECASE)
"""Words in the unread part of a long text: a query that is not cached does less harm than a wrong answer."""


def hash_query(sql: Any) -> QueryTemplate:
    """The template of a statement, and its hash.

    Args:
        sql: text, bytes (UTF-8), or an object of psycopg2.sql; the text of any other object.

    Returns:
        The template. `hash` is the first 64 bits of the BLAKE2b hash of its whole text, signed. A text that
        cannot be read as SQL is a template of its own; nothing raises. In texts of more than
        `MAX_READ_CHARACTERS`, only the elements of lists that differ are read, and at most `MAX_TOKENS`.
    """
    text = statement_text(sql)
    found, rest = read(text)
    statement, operation = without_generated_parts(found)
    words = words_of(statement)
    normal = normalise(statement, is_cut=rest is not None)
    named, written = tables(statement, operation)
    if operation == "explain" and not _is_write(words, operation):
        written = {}
    digest = hashlib.blake2b(normal.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    unread = set() if rest is None else {word.lower() for word in _WORD.findall(text, rest)}
    return QueryTemplate(
        hash=int.from_bytes(digest, "big", signed=True),
        text=normal
        if len(normal) <= MAX_TEMPLATE_CHARACTERS
        else normal[: MAX_TEMPLATE_CHARACTERS - len(_CUT)] + _CUT,
        operation=operation,
        tables=tuple(sorted(named)),
        written=tuple(sorted(written.items())),
        is_write=bool(written) or not unread.isdisjoint(_WRITES) or _is_write(words, operation),
        volatile=not unread.isdisjoint(_VOLATILE) or _is_volatile(statement, words),
    )


def without_generated_parts(statement: Sequence[Token]) -> tuple[list[Token], str]:
    """`statement` without names and settings that are generated for one run, and its operation."""
    left = without_names(statement)
    operation = _operation(words_of(left))
    return without_generated(left, operation, tables(left, operation)[0]), operation


def _operation(words: Sequence[str]) -> str:
    first = next((word for word in words if word != "("), "")
    if first != "with":
        return first if first.isidentifier() else "other"
    return next((word for word in _at_top(words) if word in VERBS), first)


def _at_top(words: Sequence[str]) -> Iterator[str]:
    """The words outside of parentheses."""
    depth = 0
    for word in words:
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth == 0:
            yield word


_BEGINS_READING: Final = READING | {"with", "(", ";"}
_LOCKING: Final = frozenset({"select", "values", "table", "copy", "declare", "with"})


def _is_write(words: Sequence[str], operation: str) -> bool:
    if operation not in READING:
        return True
    pairs = set(pairwise(words))
    if any(before == ";" and word not in _BEGINS_READING for before, word in pairs):
        return True
    if operation == "copy" and "from" in _at_top(words):
        return True
    if operation == "explain":
        begin = begin_of_explained(words)
        is_run = not {"analyze", "analyse"}.isdisjoint(words[:begin])
        return is_run and _is_write(words[begin:], _operation(words[begin:]))
    if operation not in _LOCKING:
        return False
    called = {before.strip('"') for before, word in pairs if word == "("}
    return (
        any(("for", lock) in pairs for lock in ("update", "share", "no", "key"))
        or "into" in words
        or any(("(", verb) in pairs for verb in ("insert", "update", "delete", "merge"))
        or not WRITING_CALLS.isdisjoint(called)
    )


def _is_volatile(statement: Sequence[Token], words: Sequence[str]) -> bool:
    for index, word in enumerate(words):
        is_called = index + 1 < len(words) and words[index + 1] == "("
        if is_called and word.strip('"') in VOLATILE_CALLS:
            return True
        if statement[index].kind is not Kind.WORD:
            continue
        if word in VOLATILE_WORDS and not (index and words[index - 1] in (".", "as")):
            return True
    return False
