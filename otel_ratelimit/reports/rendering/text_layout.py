"""Text in columns and lines of a given width, for the mail's text and for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

from otel_ratelimit.reports.rendering import formatting

GAP: Final = 2
"""Between two columns."""


def wrapped(text: str, width: int, *, first: str = "", others: str = "") -> list[str]:
    """Wrap prose; a figure stays with its unit, and words that are too long for a line are broken.

    Args:
        text: on one line.
        width: of the lines, prefixes included.
        first: prefix of the first line.
        others: prefix of the other lines.
    """
    lines = textwrap.wrap(
        formatting.with_units(text),
        max(width, 1),
        initial_indent=first,
        subsequent_indent=others,
        break_on_hyphens=False,
    )
    return [line.replace(formatting.NO_BREAK_SPACE, " ") for line in lines]


def widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """The width of each column, its name included."""
    return [max(len(cells[place]) for cells in (columns, *rows)) for place in range(len(columns))]


def fits(columns: Sequence[int], width: int) -> bool:
    """Whether columns of these widths fit into `width`."""
    return sum(columns) + GAP * (len(columns) - 1) <= width


def aligned(cells: Sequence[str], columns: Sequence[int], *, first_left: bool = False) -> str:
    """A row with its cells aligned to the right; with `first_left` the first one is aligned to the left."""
    padded = [cell.rjust(width) for cell, width in zip(cells, columns, strict=True)]
    if first_left:
        padded[0] = cells[0].ljust(columns[0])
    return (" " * GAP).join(padded)


def in_a_line(columns: Sequence[str], row: Sequence[str]) -> str:
    """A row on one line, for columns that do not fit: its first cell, and the others with their names."""
    pairs = zip(columns[1:], row[1:], strict=True)
    return f"{row[0]}: " + "; ".join(
        f"{name if name == 'TTL' else name.lower()} {cell}" for name, cell in pairs
    )
