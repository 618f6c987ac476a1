"""Splits texts of several statements."""

from __future__ import annotations

import re
from typing import Final

from otel_ratelimit.queries.fingerprint.lexer import Kind, UnsureError, marks, tokens
from otel_ratelimit.queries.fingerprint.long_texts import MAX_READ_CHARACTERS

_ATOMIC: Final = re.compile(r"\batomic\b", re.IGNORECASE)
_OPENING: Final = frozenset("([")


def split_statements(text: str) -> tuple[str, ...] | None:
    """The statements of a text, which are separated by semicolons; a function with its body is one statement.

    Returns:
        None if it is uncertain where they end: a string, a name or a comment is not ended, or a long text has
        semicolons in parentheses or may have such a body. Then no part of the text may be kept, because what
        looks like SQL may be in a literal.
    """
    try:
        parts = _between_marks(text) if len(text) > MAX_READ_CHARACTERS else _between_tokens(text)
    except UnsureError:
        return None
    return tuple(statement for part in parts if _has_token(statement := part.strip()))


def _between_marks(text: str) -> list[str]:
    """The statements of a long text: one step for each mark, not for each token."""
    if "atomic" in text.lower() and _ATOMIC.search(text) is not None:
        raise UnsureError("it may have a function's body")
    parts: list[str] = []
    begin, depth = 0, 0
    for mark, position in marks(text):
        if mark != ";":
            depth += 1 if mark in _OPENING else -1
        elif depth:
            raise UnsureError(f"the semicolon at character {position} is in parentheses")
        else:
            parts.append(text[begin:position])
            begin = position + 1
    return [*parts, text[begin:]]


def _between_tokens(text: str) -> list[str]:
    for _ in marks(text):  # raises if it is uncertain
        pass
    parts: list[str] = []
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
            parts.append(text[begin : token.start])
            begin = token.end
        before = word
    return [*parts, text[begin:]]


def _has_token(text: str) -> bool:
    return next(tokens(text), None) is not None
