# ruff: noqa: INP001  # a program on its own
"""Draws query-sampling.svg from the figures in query-sampling.md.

python docs/explanation/query_sampling_figure.py
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
WAYS: Final = (("coin", "#d1495b"), ("by key alone", "#edae49"), ("hot and by key", "#2a9d8f"))
LEFT: Final = 130
WIDTH: Final = 560
LOWEST: Final = -32.0
ROW: Final = 62
BAR: Final = 12


def figures() -> list[tuple[str, list[tuple[float, float]]]]:
    """By skew, mean and deviation of each way, in points."""
    page = (HERE / "query-sampling.md").read_text(encoding="utf-8").replace("\N{MINUS SIGN}", "-")
    found = []
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"\d\.\d", cells[0]):
            pairs = [tuple(map(float, cell.split(", "))) for cell in cells[2:5]]
            found.append((cells[0], [(mean, deviation) for mean, deviation in pairs]))
    return found


def x(points: float) -> float:
    """Where an error of so many points is."""
    return LEFT + (points - LOWEST) / (3.0 - LOWEST) * WIDTH


def drawing() -> str:
    """The picture, readable on light and on dark."""
    rows = figures()
    height = 60 + ROW * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 30} {height}"',
        'role="img" font-family="sans-serif" font-size="13">',
        "<title>Error of the duplicate share, in points, at a rate of 0.1</title>",
        "<style>text{fill:#444}.line{stroke:#999}@media(prefers-color-scheme:dark){text{fill:#ccc}}</style>",
    ]
    for points in range(-30, 1, 10):
        parts.append(
            f'<line class="line" x1="{x(points):.0f}" x2="{x(points):.0f}" y1="34" y2="{height - 22}"/>'
        )
        parts.append(f'<text x="{x(points):.0f}" y="{height - 6}" text-anchor="middle">{points}</text>')
    for number, (way, colour) in enumerate(WAYS):
        parts.append(f'<rect x="{LEFT + number * 150}" y="8" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + 18 + number * 150}" y="19">{way}</text>')
    for row, (skew, ways) in enumerate(rows):
        top = 44 + row * ROW
        parts.append(f'<text x="{LEFT - 12}" y="{top + 24}" text-anchor="end">Zipf {skew}</text>')
        for number, ((mean, deviation), (_, colour)) in enumerate(zip(ways, WAYS, strict=True)):
            y = top + number * (BAR + 3)
            begin, end = sorted((x(mean), x(0)))
            width = max(end - begin, 1.5)
            parts.append(
                f'<rect x="{begin:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>'
            )
            low, high = x(mean - 2 * deviation), x(mean + 2 * deviation)
            middle = y + BAR / 2
            ends = f'x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"'
            parts.append(f'<line {ends} stroke="#888" stroke-width="2"/>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    (HERE / "query-sampling.svg").write_text(drawing(), encoding="utf-8")
