"""The page and the picture of the architecture have the layers that are checked."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXPLANATION = ROOT / "docs" / "explanation"
PAGE = (EXPLANATION / "architecture.md").read_text(encoding="utf-8")
PICTURE = (EXPLANATION / "layers.svg").read_text(encoding="utf-8")
REMEDY = "draw it again: python docs/explanation/layers_figure.py"


def contract():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    [layers] = [each for each in contracts if each.get("containers") == ["otel_ratelimit"]]
    return [[room.strip() for room in layer.split("|")] for layer in layers["layers"]]


def test_the_page_has_every_layer_in_order_and_every_room_once():
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| .+ \|$", PAGE, flags=re.MULTILINE)
    expected = [(str(number), room) for number, rooms in enumerate(contract(), 1) for room in rooms]
    assert rows == expected


def test_every_room_is_a_package_or_a_module():
    package = ROOT / "otel_ratelimit"
    for layer in contract():
        for room in layer:
            assert (package / room / "__init__.py").is_file() or (package / f"{room}.py").is_file(), room


def test_the_picture_is_what_its_script_draws():
    drawing = runpy.run_path(str(EXPLANATION / "layers_figure.py"))["drawing"]
    assert drawing() == PICTURE, REMEDY


def test_the_picture_has_every_room_of_the_contract_in_order():
    drawn = re.findall(r'<text class="name"[^>]*>(\w+)</text>', PICTURE)
    assert drawn == [room for layer in contract() for room in layer]


def test_the_picture_is_described_for_screen_readers():
    assert 'role="img" aria-labelledby="title description"' in PICTURE
    description = re.search(r'<desc id="description">(.+)</desc>', PICTURE)[1]
    for number, rooms in enumerate(contract(), 1):
        assert f"layer {number}: {', '.join(rooms)}" in description


@pytest.mark.parametrize("side", ["width", "height"])
def test_nothing_is_drawn_outside_of_the_picture(side):
    width, height = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', PICTURE).groups())
    edge, start = (width, "x") if side == "width" else (height, "y")
    for x, length in re.findall(rf'<rect [^>]*\b{start}="(\d+)"[^>]*\b{side}="(\d+)"', PICTURE):
        assert 0 <= int(x) <= int(x) + int(length) <= edge
    for place in re.findall(rf'\b{start}[12]?="(-?\d+)"', PICTURE):
        assert 0 <= int(place) <= edge


def test_a_line_of_text_fits_its_box():
    boxes = [int(width) for width in re.findall(r'<rect class="box"[^>]*width="(\d+)"', PICTURE)]
    lines = re.findall(r'<text class="what"[^>]*>([^<]+)</text>', PICTURE)
    assert len(boxes) == len(lines)
    for width, line in zip(boxes, lines, strict=True):
        assert 7 * len(line) < width, f"{line!r} may be wider than its box"
