# ruff: noqa: INP001  # a program on its own
"""Draws layers.svg from the import contract in pyproject.toml.

python docs/explanation/layers_figure.py
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
RULE: Final = "A room may import rooms of the layers below it, and no room beside it or above it."
PROJECT: Final = HERE.parents[1] / "pyproject.toml"
ROOMS: Final = {
    "cli": "the command line, one file per command",
    "testing": "the pytest plugin for applications",
    "demo": "a job board under traffic, and the stack around it",
    "runtime": "RateLimit: joins all parts; the instrumentor; policy reload; public functions",
    "reports": "the nightly report: job, schedule, rendering, e-mail",
    "web": "Flask hooks, responses, HTTP API",
    "telemetry": "metrics, span attributes, logs",
    "postgres": "readers, writers, migrations",
    "storage": "counters and stores",
    "policy": "limits and clients",
    "queries": "capture, sampling, N+1",
    "analytics": "hit rate and headroom",
    "cache_advice": "would a cache pay?",
    "core": "decision, names, settings, errors, clock, background thread",
}
"""What is in each room, in one line."""
WIDTH: Final = 960
MARGIN: Final = 20
LABEL: Final = 26
"""For the number of a layer."""
PADDING: Final = 10
BOX: Final = 48
GAP: Final = 12
BAND: Final = BOX + 2 * PADDING
ARROW: Final = 26
TITLE: Final = 46
STYLE: Final = (
    "text{fill:#1f2933}.name{font-weight:bold;font-size:15px}.what{font-size:12px}"
    ".layer{font-size:15px;fill:#52606d}.band{fill:#e4eaf0}.box{fill:#fff;stroke:#7b8794}"
    ".arrow{stroke:#52606d;stroke-width:2}.head{fill:#52606d}"
)


def layers() -> list[list[str]]:
    """The rooms of each layer, top first."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    [contract] = [each for each in contracts if each.get("containers") == ["otel_ratelimit"]]
    return [[room.strip() for room in layer.split("|")] for layer in contract["layers"]]


def _band(number: int, rooms: list[str], top: int) -> Iterator[str]:
    """A layer: its number, and a box for each room."""
    middle = top + BAND // 2
    yield f'<rect class="band" x="{MARGIN}" y="{top}" width="{WIDTH - 2 * MARGIN}" height="{BAND}" rx="6"/>'
    yield f'<text class="layer" x="{MARGIN + 11}" y="{middle + 5}">{number}</text>'
    left = MARGIN + LABEL + PADDING
    room = WIDTH - MARGIN - PADDING - left
    width = (room - GAP * (len(rooms) - 1)) // len(rooms)
    for place, name in enumerate(rooms):
        x = left + place * (width + GAP)
        y = top + PADDING
        center = x + width // 2
        yield f'<rect class="box" x="{x}" y="{y}" width="{width}" height="{BOX}" rx="4"/>'
        yield f'<text class="name" x="{center}" y="{y + 20}" text-anchor="middle">{name}</text>'
        yield f'<text class="what" x="{center}" y="{y + 38}" text-anchor="middle">{ROOMS[name]}</text>'


def _arrow(top: int) -> Iterator[str]:
    """From a band down to the next one."""
    x, end = WIDTH // 2, top + ARROW - 3
    yield f'<line class="arrow" x1="{x}" x2="{x}" y1="{top + 3}" y2="{end - 8}"/>'
    yield f'<path class="head" d="M{x - 6} {end - 9}h12l-6 9z"/>'


def drawing() -> str:
    """The picture; it has a background, so that it is readable on a dark page as well."""
    found = layers()
    height = TITLE + len(found) * (BAND + ARROW) - ARROW + MARGIN
    described = "; ".join(f"layer {number}: {', '.join(rooms)}" for number, rooms in enumerate(found, 1))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"',
        'role="img" aria-labelledby="title description" font-family="sans-serif">',
        '<title id="title">The layers of otel_ratelimit, and who may import whom</title>',
        f'<desc id="description">From top to bottom, {described}. {RULE}</desc>',
        f"<style>{STYLE}</style>",
        f'<rect x="0" y="0" width="{WIDTH}" height="{height}" fill="#f9fafb"/>',
        f'<text class="layer" x="{MARGIN}" y="29">{RULE}</text>',
    ]
    for index, rooms in enumerate(found):
        top = TITLE + index * (BAND + ARROW)
        parts += _band(index + 1, rooms, top)
        if index + 1 < len(found):
            parts += _arrow(top + BAND)
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    (HERE / "layers.svg").write_text(drawing(), encoding="utf-8")
