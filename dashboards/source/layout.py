"""Where panels go: titled rows of lines that fill the 24 columns of Grafana's grid."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard

WIDTH: Final = 24
_IDS: Final = 100_000

PanelBuilder: TypeAlias = Builder[dashboard.Panel]
Placed: TypeAlias = dashboard.Panel | dashboard.RowPanel


@dataclass(frozen=True, slots=True)
class Line:
    """Columns beside each other, each a width and panels that share its height evenly.

    Raises:
        ValueError: they do not fill the width, or the height cannot be shared.
    """

    height: int
    columns: tuple[tuple[int, tuple[PanelBuilder, ...]], ...]

    def __post_init__(self) -> None:
        if sum(width for width, _ in self.columns) != WIDTH:
            raise ValueError(f"a line is {WIDTH} wide: {[width for width, _ in self.columns]}")
        if any(self.height % len(stacked) for _, stacked in self.columns):
            raise ValueError(f"a height of {self.height} cannot be shared evenly by all of its columns")


def line(height: int, *columns: tuple[int, PanelBuilder | tuple[PanelBuilder, ...]]) -> Line:
    """Make a `Line`; a column of one panel may give it without a tuple."""
    return Line(
        height,
        tuple((width, each if isinstance(each, tuple) else (each,)) for width, each in columns),
    )


@dataclass(frozen=True, slots=True)
class Row:
    """Lines under a title."""

    title: str
    lines: tuple[Line, ...]


def row(title: str, *lines: Line) -> Row:
    """Make a `Row`."""
    return Row(title, lines)


def place(rows: Sequence[Row]) -> list[dashboard.Panel | dashboard.RowPanel]:
    """The panels with their positions.

    Their ids come from their titles: a link to a panel stays valid when other panels are added.

    Raises:
        ValueError: two panels have one id, for instance because of equal titles.
    """
    placed = list(_placed(rows))
    ids = [panel.id_val for panel in placed]
    if len(set(ids)) != len(ids):
        raise ValueError(f"two panels have one id: {sorted((p.id_val or 0, p.title) for p in placed)}")
    return placed


def _placed(rows: Sequence[Row]) -> Iterator[Placed]:
    y = 0
    for each in rows:
        yield dashboard.RowPanel(
            collapsed=False,
            title=each.title,
            id_val=identity(f"row {each.title}"),
            grid_pos=dashboard.GridPos(h=1, w=WIDTH, x=0, y=y),
        )
        y += 1
        for its_line in each.lines:
            yield from _line(its_line, y)
            y += its_line.height


def _line(its_line: Line, y: int) -> Iterator[dashboard.Panel]:
    x = 0
    for width, stacked in its_line.columns:
        height = its_line.height // len(stacked)
        for place_in_column, panel in enumerate(stacked):
            built = panel.build()
            built.id_val = identity(built.title or "")
            built.grid_pos = dashboard.GridPos(h=height, w=width, x=x, y=y + place_in_column * height)
            yield built
        x += width


def identity(title: str) -> int:
    """The id of the panel or row with that title."""
    return 1 + zlib.crc32(title.encode()) % _IDS
