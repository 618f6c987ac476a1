"""Plain text that keeps within a width: headings, paragraphs, facts and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from otel_ratelimit.reports.rendering import layout
from otel_ratelimit.reports.rendering.facts import Fact

WIDTH: Final = 78
_GAP: Final = " " * layout.GAP
_INDENT: Final = "    "


def heading(text: str) -> list[str]:
    """Of a section, with an empty line before it."""
    return ["", text.upper(), "-" * min(len(text), WIDTH), ""]


def paragraph(text: str, indent: str = "", first: str | None = None) -> list[str]:
    """Wrapped, no figure apart from its unit; words that are too long for a line are broken.

    Args:
        text: on one line.
        indent: before every line.
        first: before the first one in place of it.
    """
    return layout.wrapped(text, WIDTH, first=indent if first is None else first, others=indent)


def facts(rows: Sequence[Fact]) -> list[str]:
    """One below the other, values in a column and notes below them."""
    if not rows:
        return []
    widest = max(len(row.name) for row in rows)
    indent = " " * widest + _GAP
    lines: list[str] = []
    for row in rows:
        lines += paragraph(row.value, indent, row.name.ljust(widest) + _GAP)
        lines += paragraph(row.note, indent)
    return lines


def numbered(number: int, query: str, notes: Sequence[str]) -> list[str]:
    """A query of a list, and below it what there is to say."""
    lines = paragraph(query, _INDENT, f"{number:>2}. ")
    for note in notes:
        lines += paragraph(note, f"{_INDENT}{_GAP}")
    return lines


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left, figures to the right; as a list where it is too wide for a line."""
    widths = layout.widths(columns, rows)
    if layout.fits(widths, WIDTH):
        return [layout.aligned(cells, widths, first_left=True).rstrip() for cells in (columns, *rows)]
    return [line for row in rows for line in paragraph(layout.in_a_line(columns, row), _INDENT, "")]
