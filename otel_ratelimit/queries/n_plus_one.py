"""The rule for N+1: one template that a request runs again and again, without a pause in between.

N+1 costs time because round trips follow each other. A stream that looks every second for news, or a view
that waits for news (long polling), runs one template as often, and nothing could be joined into one query. So
executions count together only within a burst: while the request pauses for less than `PAUSE_SECONDS` between
the end of one query and the beginning of the next.

`request_queries` counts texts on the request's thread, and `n_plus_one_patterns` counts templates in the
background. Both decide by this module.
"""

from __future__ import annotations

import re
from typing import Final

N_PLUS_ONE_EXECUTIONS: Final = 5
"""This many executions of one template in one burst make a pattern.

Sentry and others take five; fewer are as often two lists on a page.
"""
PAUSE_SECONDS: Final = 0.1
"""A burst ends when the request runs no query for this long."""

_COUNTED_OPERATIONS: Final = frozenset(
    {"select", "values", "table", "insert", "update", "delete", "merge", "call"}
)
"""Operations that one query for all could replace. Savepoints, SET and the like never count."""
_COUNTED_FIRST_WORDS: Final = _COUNTED_OPERATIONS | {"with"}
_FIRST_WORD: Final = re.compile(r"[( \t\r\n]*+([a-z]++)", re.IGNORECASE)


def can_be_n_plus_one(operation: str) -> bool:
    """Whether templates of `operation` can make a pattern."""
    return operation in _COUNTED_OPERATIONS


def may_be_n_plus_one(statement: str) -> bool:
    """Whether a statement can make a pattern, by the first word of its text."""
    found = _FIRST_WORD.match(statement)
    return found is not None and found[1].lower() in _COUNTED_FIRST_WORDS
