"""Plain text that keeps within a width: headings, paragraphs, facts and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from otel_ratelimit.reports.rendering import text_layout
from otel_ratelimit.reports.rendering.labelled_figures import LabelledFigure

WIDTH: Final = 78
_GAP: Final = " " * text_layout.GAP
_INDENT: Final = "    "


def heading(text: str) -> list[str]:
    """The heading of a section, with an empty line before it."""
    return ["", text.upper(), "-" * min(len(text), WIDTH), ""]


def paragraph(text: str, indent: str = "", first: str | None = None) -> list[str]:
    """Wrap a paragraph; a figure stays with its unit, and words that are too long for a line are broken.

    Args:
        text: on one line.
        indent: prefix of every line.
        first: prefix of the first line, instead of `indent`.
    """
    return text_layout.wrapped(text, WIDTH, first=indent if first is None else first, others=indent)


def labelled_figures(rows: Sequence[LabelledFigure]) -> list[str]:
    """One figure below the other, with the values in a column and the notes below them."""
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
    """A query of a list, with its notes below it."""
    lines = paragraph(query, _INDENT, f"{number:>2}. ")
    for note in notes:
        lines += paragraph(note, f"{_INDENT}{_GAP}")
    return lines


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table, its first column aligned to the left; a list where it is too wide for a line."""
    widths = text_layout.widths(columns, rows)
    if text_layout.fits(widths, WIDTH):
        return [text_layout.aligned(cells, widths, first_left=True).rstrip() for cells in (columns, *rows)]
    return [line for row in rows for line in paragraph(text_layout.in_a_line(columns, row), _INDENT, "")]
