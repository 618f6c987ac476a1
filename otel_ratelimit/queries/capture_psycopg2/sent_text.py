"""The text of a statement: as the application wrote it, and as it was sent."""

from __future__ import annotations

import re
from typing import Final

from otel_ratelimit.queries.fingerprint import MAX_READ_CHARACTERS
from otel_ratelimit.queries.fingerprint.comments import without_comments, without_trailing_comment

_DECLARE: Final = re.compile(
    rb'DECLARE "(?:[^"]++|"")*+" (?:NO SCROLL |SCROLL )?CURSOR (?:WITH|WITHOUT) HOLD FOR ', re.IGNORECASE
)
"""psycopg2 puts this before the query of a named cursor, whose name is often different each time."""
_END: Final = b"; \t\r\n"


def question_of(sent: bytes, *, is_named: bool) -> bytes:
    """The query itself: `sent` without comments, final semicolon, and the DECLARE of a named cursor."""
    if is_named:
        declared = _DECLARE.match(sent)
        sent = sent if declared is None else sent[declared.end() :]
    if b"/*" in sent:
        sent = without_trailing_comment(sent)
    # In a long text a comment counts as part of the question: looking for it would take longer than the
    # query.
    if len(sent) <= MAX_READ_CHARACTERS and (b"/*" in sent or b"--" in sent):
        sent = without_comments(sent)
    return sent.rstrip(_END)


def written_text(query: object, sent: bytes) -> str:
    """The text as the application wrote it if it is a string, otherwise as it was sent."""
    if not isinstance(query, str):
        return decoded(sent)
    if query.rstrip().endswith("*/"):
        return without_trailing_comment(query.encode(errors="replace")).decode()
    return str.__str__(query)


def decoded(sent: bytes) -> str:
    """`sent` as text that `encoded` turns back, in whatever encoding it is."""
    return sent.decode("utf-8", "surrogateescape")


def encoded(text: str) -> bytes:
    """The bytes of a text that `decoded` has made."""
    return text.encode("utf-8", "surrogateescape")
