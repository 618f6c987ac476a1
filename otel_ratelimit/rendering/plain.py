"""Plain text that keeps within a width: headings, paragraphs, facts and tables."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

from otel_ratelimit.rendering import figures
from otel_ratelimit.rendering.facts import Fact

WIDTH: Final = 78
_GAP: Final = "  "
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
    lines = textwrap.wrap(
        figures.with_units(text),
        WIDTH,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
    return [line.replace(figures.KEPT, " ") for line in lines]


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
    widths = [max(len(cells[place]) for cells in (columns, *rows)) for place in range(len(columns))]
    if sum(widths) + len(_GAP) * (len(widths) - 1) > WIDTH:
        return _as_list(columns, rows)
    return [_line(cells, widths) for cells in (columns, *rows)]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.rjust(width) if place else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return _GAP.join((first, *others)).rstrip()


def _as_list(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines: list[str] = []
    for row in rows:
        pairs = zip(columns[1:], row[1:], strict=True)
        lines += paragraph("; ".join(f"{name} {cell}" for name, cell in pairs), _INDENT, f"{row[0]}: ")
    return lines
