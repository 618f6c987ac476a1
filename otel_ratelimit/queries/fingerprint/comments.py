"""Statements without their comments, but with their literals: what the server was asked."""

from __future__ import annotations

import re
from typing import Final

from otel_ratelimit.queries.fingerprint.lexer import tokens

_TRAILING: Final = re.compile(rb"/\*[^*'\"$\\\n]*+(?:'[^'*\\\n]*+'[^*'\"$\\\n]*+|(?!))*+\*/\Z")
"""A comment with an even number of quotes. If it started within a literal, that would have ended in it, and
another one started.
"""
_END: Final = b"; \t\r\n"


def without_trailing_comment(text: bytes) -> bytes:
    """`text` without the comment at its end, as sqlcommenter writes one; `text` itself if that is uncertain.

    https://google.github.io/sqlcommenter/spec/: `SELECT 1 /*key='value',key='value'*/`.
    """
    stripped = text.rstrip(_END)
    if not stripped.endswith(b"*/"):
        return text
    begins = stripped.rfind(b"/*")
    if begins < 0 or not _TRAILING.match(stripped, begins):
        return text
    return stripped[:begins].rstrip()


def without_comments(text: bytes) -> bytes:
    """`text` with one blank for each comment and the white space around it."""
    decoded = text.decode("utf-8", "surrogateescape")
    parts: list[str] = []
    end = 0
    for token in tokens(decoded):
        between = decoded[end : token.start]
        if "/*" in between or "--" in between:
            between = " "
        parts += (between, token.text)
        end = token.end
    return "".join(parts).strip().encode("utf-8", "surrogateescape")
