"""Statements without their comments, the literals kept: what the server was asked."""

from __future__ import annotations

import re
from typing import Final

from otel_ratelimit.queries.fingerprint.lexer import tokens

_TRAILING: Final = re.compile(rb"/\*[^*'\"$\\\n]*+(?:'[^'*\\\n]*+'[^*'\"$\\\n]*+|(?!))*+\*/\Z")
"""A comment in which quotes are even: had it begun within a literal, that would have been ended in it, and
begun again.
"""
_END: Final = b"; \t\r\n"


def without_trailing_comment(text: bytes) -> bytes:
    """`text` without the comment that ends it, as sqlcommenter writes one; itself where that is not certain.

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
    """`text` with each comment, and the white space around it, as one blank."""
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
