"""The page and the picture of the zone have the parts, sizes and figures of the code."""

from __future__ import annotations

import re
import runpy
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest

from otel_ratelimit.storage.zone.layout import Layout, layout_for
from otel_ratelimit.storage.zone.overflow import SHARED
from otel_ratelimit.storage.zone.values import FORMS

EXPLANATION = Path(__file__).parents[2] / "docs" / "explanation"
PAGE = (EXPLANATION / "shared-memory.md").read_text(encoding="utf-8")
PICTURE = (EXPLANATION / "zone.svg").read_text(encoding="utf-8")
SCRIPT = runpy.run_path(str(EXPLANATION / "zone_figure.py"))
LAYOUT = layout_for(50_000_000)
REMEDY = "draw it again: .venv/bin/python docs/explanation/zone_figure.py"


def texts(kind):
    return re.findall(rf'<text class="{kind}"[^>]*>([^<]+)</text>', PICTURE)


def test_the_picture_is_what_its_script_draws():
    assert SCRIPT["drawing"]() == PICTURE, REMEDY


def test_the_picture_has_every_part_of_the_layout_in_order():
    offsets = {field.name.removesuffix("_at") for field in fields(Layout) if field.name.endswith("_at")}
    renamed = {"buckets": "slots"}
    parts = SCRIPT["parts"](LAYOUT)
    assert {part.name for part in parts} == {"head"} | {renamed.get(name, name) for name in offsets}
    assert texts("name")[: len(parts)] == [part.name for part in parts]
    assert [part.begin for part in parts] == sorted(part.begin for part in parts)
    assert all(one.end == other.begin for one, other in pairwise(parts))
    assert (parts[0].begin, parts[-1].end) == (0, LAYOUT.size)


def test_the_picture_is_described_for_screen_readers():
    assert 'role="img" aria-labelledby="title description"' in PICTURE
    description = re.search(r'<desc id="description">(.+)</desc>', PICTURE)[1]
    for part in SCRIPT["parts"](LAYOUT):
        assert f"{part.name}, {SCRIPT['size_of'](part)}: {part.what}" in description


@pytest.mark.parametrize(("start", "length"), [("x", "width"), ("y", "height")])
def test_nothing_is_drawn_outside_of_the_picture(start, length):
    width, height = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', PICTURE).groups())
    edge = width if start == "x" else height
    found = re.findall(rf'<rect [^>]*\b{start}="([\d.]+)"[^>]*\b{length}="([\d.]+)"', PICTURE)
    assert len(found) > 20
    for begin, size in found:
        assert 0 <= float(begin) <= float(begin) + float(size) <= edge + 0.2


def test_a_line_of_text_fits_its_place():
    parts = len(SCRIPT["parts"](LAYOUT))
    for number, line in enumerate(texts("what")):
        assert 7 * len(line) < (660 if number < parts else 230), line


def test_the_page_has_the_figures_of_the_code():
    assert f"{layout_for(50_000_000).key_mark / 1e6:.2f} million counters in 50 MB" in PAGE
    assert f"{round(layout_for(1_000_000).key_mark, -2):,} in 1 MB" in PAGE
    assert f"{SHARED} buckets for each limit" in PAGE
    for strategy in FORMS:
        assert f"| `{strategy}` |" in PAGE
