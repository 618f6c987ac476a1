# ruff: noqa: INP001  # a program on its own
"""Draws zone.svg, the layout of a zone of 50 MB, from the code that computes the layout.

.venv/bin/python docs/explanation/zone_figure.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from otel_ratelimit.core.thresholds import MEGABYTE, MEMORY_CAPACITY_BYTES
from otel_ratelimit.storage.zone.layout import (
    BUCKET_BYTES,
    MAX_PROCESSES,
    PAGE_BYTES,
    SLOT_BYTES,
    WORD_BYTES,
    Layout,
    layout_for,
)

HERE: Final = Path(__file__).parent
WIDTH: Final = 960
MARGIN: Final = 20
STRIP_TOP: Final = 46
STRIP: Final = 36
ROWS_TOP: Final = 104
ROW: Final = 34
GAP: Final = 30
BOX: Final = 48
SLOTS_PER_BUCKET: Final = BUCKET_BYTES // SLOT_BYTES
SHOWN_SLOT: Final = 2
"""Which slot of the bucket is drawn in detail."""
WORDS: Final = {
    "key": "a keyed hash of client and limit",
    "time": "from when it has no effect",
    "value": "what the strategy counts",
    "description": "limit, network, kind of client",
}
"""The words of a slot, in order."""
STYLE: Final = (
    "text{fill:#1f2933;font-size:13px}.name{font-weight:bold}.title{font-size:15px;fill:#52606d}"
    ".what{font-size:12px}.size{font-size:12px;fill:#52606d}.row{fill:#e4eaf0}"
    ".part{fill:#9fb3c8;stroke:#fff}.slots{fill:#2a9d8f}.overflow{fill:#edae49}"
    ".box{fill:#fff;stroke:#7b8794}.shown{fill:#2a9d8f;stroke:#7b8794}.line{stroke:#7b8794}"
)


class Part(NamedTuple):
    """A part of the zone."""

    name: str
    begin: int
    """Offset, bytes."""
    end: int
    what: str


def parts(layout: Layout) -> list[Part]:
    """The parts of a zone, in their order in memory."""
    pages = PAGE_BYTES // SLOT_BYTES
    found = (
        ("head", 0, "what the zone is, its secret, its lock, its figures"),
        ("journal", layout.journal_at, "the change that is being made"),
        ("processes", layout.processes_at, f"the processes that share the zone, {MAX_PROCESSES} at most"),
        ("tables", layout.tables_at, f"{layout.tables:,} limits: name, window, strategy, number of counters"),
        ("networks", layout.networks_at, f"how many counters each of {layout.networks:,} networks has"),
        ("pages", layout.pages_at, f"how many of its {pages} slots each of {layout.pages:,} pages uses"),
        ("slots", layout.buckets_at, f"{layout.buckets * SLOTS_PER_BUCKET:,} slots, each for one counter"),
        (
            "overflow",
            layout.overflow_at,
            f"{layout.overflow_buckets * SLOTS_PER_BUCKET:,} slots, each for one overflow bucket",
        ),
    )
    ends = [begin for _, begin, _ in found[1:]] + [layout.size]
    return [Part(name, begin, end, what) for (name, begin, what), end in zip(found, ends, strict=True)]


def size_of(part: Part) -> str:
    """The size of a part, for people."""
    size = part.end - part.begin
    return f"{size / MEGABYTE:.1f} MB" if size >= MEGABYTE / 10 else f"{size / 1e3:.1f} kB"


def _strip(layout: Layout) -> Iterator[str]:
    """All parts on one line, to scale."""
    scale = (WIDTH - 2 * MARGIN) / layout.size
    for part in parts(layout):
        x, width = MARGIN + part.begin * scale, (part.end - part.begin) * scale
        kind = part.name if part.name in ("slots", "overflow") else "part"
        yield f'<rect class="{kind}" x="{x:.1f}" y="{STRIP_TOP}" width="{width:.1f}" height="{STRIP}"/>'


def _rows(layout: Layout) -> Iterator[str]:
    """A line for each part: its name, its size, what is in it."""
    for number, part in enumerate(parts(layout)):
        top = ROWS_TOP + number * ROW
        middle = top + ROW // 2 + 3
        if number % 2 == 0:
            yield f'<rect class="row" x="{MARGIN}" y="{top}" width="{WIDTH - 2 * MARGIN}" height="{ROW}"/>'
        yield f'<text class="name" x="{MARGIN + 16}" y="{middle}">{part.name}</text>'
        yield f'<text class="size" x="250" y="{middle}" text-anchor="end">{size_of(part)}</text>'
        yield f'<text class="what" x="280" y="{middle}">{part.what}</text>'


def _bucket(top: int) -> Iterator[str]:
    """A bucket with its slots, and one of these with its words."""
    said = f"A bucket: {SLOTS_PER_BUCKET} slots, {BUCKET_BYTES} bytes"
    yield f'<text class="title" x="{MARGIN}" y="{top}">{said}</text>'
    width = (WIDTH - 2 * MARGIN) // SLOTS_PER_BUCKET
    y = top + 12
    for number in range(SLOTS_PER_BUCKET):
        kind = "shown" if number == SHOWN_SLOT else "box"
        x = MARGIN + number * width
        yield f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{BOX // 2}"/>'
    title = y + BOX // 2 + GAP + 14
    left, right = MARGIN + SHOWN_SLOT * width, MARGIN + (SHOWN_SLOT + 1) * width
    below = title + 12
    yield f'<line class="line" x1="{left}" y1="{y + BOX // 2}" x2="{MARGIN}" y2="{below}"/>'
    yield f'<line class="line" x1="{right}" y1="{y + BOX // 2}" x2="{WIDTH - MARGIN}" y2="{below}"/>'
    said = f"A slot: {len(WORDS)} words of {WORD_BYTES} bytes, {SLOT_BYTES} bytes"
    yield f'<text class="title" x="{WIDTH // 2}" y="{title - 4}" text-anchor="middle">{said}</text>'
    word = (WIDTH - 2 * MARGIN) // len(WORDS)
    for number, (name, what) in enumerate(WORDS.items()):
        x, center = MARGIN + number * word, MARGIN + number * word + word // 2
        yield f'<rect class="box" x="{x}" y="{below}" width="{word}" height="{BOX}"/>'
        yield f'<text class="name" x="{center}" y="{below + 20}" text-anchor="middle">{name}</text>'
        yield f'<text class="what" x="{center}" y="{below + 38}" text-anchor="middle">{what}</text>'


def drawing() -> str:
    """The picture; it has a background, so that it is readable on a dark page as well."""
    layout = layout_for(MEMORY_CAPACITY_BYTES)
    rows_end = ROWS_TOP + len(parts(layout)) * ROW
    height = rows_end + 2 * GAP + BOX // 2 + 38 + BOX + MARGIN
    described = "; ".join(f"{part.name}, {size_of(part)}: {part.what}" for part in parts(layout))
    title = f"A zone of {layout.size / MEGABYTE:.0f} MB"
    pieces = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"',
        'role="img" aria-labelledby="title description" font-family="sans-serif">',
        f'<title id="title">{title}: its parts, a bucket, and a slot</title>',
        f'<desc id="description">From the first byte to the last: {described}.</desc>',
        f"<style>{STYLE}</style>",
        f'<rect x="0" y="0" width="{WIDTH}" height="{height}" fill="#f9fafb"/>',
        f'<text class="title" x="{MARGIN}" y="29">{title}; counters have {_share(layout)}</text>',
        *_strip(layout),
        *_rows(layout),
        *_bucket(rows_end + GAP),
    ]
    return "\n".join([*pieces, "</svg>", ""])


def _share(layout: Layout) -> str:
    return f"{100 * layout.buckets * BUCKET_BYTES / layout.size:.0f} %"


if __name__ == "__main__":
    (HERE / "zone.svg").write_text(drawing(), encoding="utf-8")
