"""Names of which a part is generated for one run: `import_3f2a9c01`, `tmp_17`, `events_20261129`.

A template has `…` for that part. To PostgreSQL it is a letter, as is everything beyond ASCII.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from otel_ratelimit.queries.fingerprint.lexer import Kind, Token

LEFT_OUT: Final = "…"
_NAMES: Final = frozenset({Kind.WORD, Kind.NAME})
_ANYWHERE: Final = re.compile(
    r"""(?<![a-z0-9])(?:
        [0-9a-f]{8}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{12}
      | \d{10,}+
      | (?=[a-f]*+\d++[a-f]++\d|\d++[a-f]++\d|[a-f]++\d++[a-f])[0-9a-f]{8,}+
    )(?![a-z0-9])
    | (?<=[a-z])\d{10,}+(?![a-z0-9])""",
    re.VERBOSE | re.IGNORECASE,
)
"""A UUID, ten digits or more, or eight or more hexadecimal digits that mix digits and letters."""
_OF_TABLES: Final = re.compile(r"(?<![0-9])\d{6,}+(?![a-z0-9])", re.IGNORECASE)
"""In the name of a table: six digits or more, such as those of a date."""
_TEMPORARY: Final = re.compile(r'(?<![^_"])(?:te?mp|temporary)(?![^_"\d])', re.IGNORECASE)
_PART_WITH_DIGIT: Final = re.compile(r"(?<=_)[a-z]*+\d[a-z0-9]*+|\d++", re.IGNORECASE)
_DATA: Final = frozenset({"select", "insert", "update", "delete", "merge", "values", "table", "with", "copy"})
"""Statements in which most names are those of columns. In others they are those of tables and the like."""
_SHORTEST: Final = 4
_has_digit: Final[Callable[[str], object]] = re.compile(r"\d").search


def without_generated(statement: Sequence[Token], operation: str, tables: Iterable[str]) -> list[Token]:
    """`statement` with `…` for the generated parts of its names.

    Args:
        statement: its tokens.
        operation: its first word.
        tables: the names of tables in it.
    """
    of_tables = {part.strip('"') for table in tables for part in table.split(".")}
    names = {
        token.text
        for token in statement
        if token.kind in _NAMES and len(token.text) >= _SHORTEST and _has_digit(token.text)
    }
    if not names:
        return list(statement)
    is_data = operation in _DATA
    shown: dict[str, str] = {}
    for name in names:
        left = _ANYWHERE.sub(LEFT_OUT, name)
        if not is_data or name.strip('"').lower() in of_tables or name.strip('"') in of_tables:
            left = _PART_WITH_DIGIT.sub(LEFT_OUT, left) if _TEMPORARY.search(name) else left
            left = _OF_TABLES.sub(LEFT_OUT, left)
        shown[name] = left
    return [
        token._replace(text=shown[token.text]) if token.text in names and token.kind in _NAMES else token
        for token in statement
    ]
