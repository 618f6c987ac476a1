"""Markdown is readable as text: no line is too long, and every link leads to a file and a heading."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_LINE_LENGTH = 120
_LISTED = subprocess.run(
    ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
).stdout
PAGES = [ROOT / name for name in _LISTED.split("\0") if name and (ROOT / name).is_file()]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

FENCE = re.compile(r"^( *)(`{3,}|~{3,}).*?\n\1\2 *$", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
INLINE_LINK = re.compile(r"\]\(\s*<?([^\s)>]+)")
DEFINED_LINK = re.compile(r"^ {0,3}\[[^\]]+\]:\s+<?([^\s>]+)", re.MULTILINE)
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
ANOTHER_SITE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def prose(text: str) -> str:
    """The text without its blocks of code."""
    return FENCE.sub("", text)


def links(text: str) -> list[str]:
    """Targets of links, written in place or defined elsewhere on the page."""
    plain = INLINE_CODE.sub("", prose(text))
    return INLINE_LINK.findall(plain) + DEFINED_LINK.findall(plain)


def undefined(text: str) -> set[str]:
    """Names that stand in brackets like `[Name][]` or `[text][Name]` and that the page does not define."""
    plain = INLINE_CODE.sub("", prose(text))
    used = {name or label for label, name in re.findall(r"\[([^\]\[]+)\]\[([^\]\[]*)\]", plain)}
    defined = set(re.findall(r"^ {0,3}\[([^\]]+)\]:", plain, flags=re.MULTILINE))
    return used - defined


@cache
def anchors(page: Path) -> frozenset[str]:
    """GitHub's anchors of the headings: lower case, no punctuation, hyphens; a number where one repeats."""
    found: list[str] = []
    counts: dict[str, int] = {}
    for heading in HEADING.findall(prose(page.read_text(encoding="utf-8"))):
        shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        number = counts.get(slug, 0)
        counts[slug] = number + 1
        found.append(f"{slug}-{number}" if number else slug)
    return frozenset(found)


def test_there_are_pages():
    assert ROOT / "README.md" in PAGES
    assert len(PAGES) > 50


@every_page
def test_no_line_is_too_long(page):
    lines = enumerate(page.read_text(encoding="utf-8").splitlines(), start=1)
    too_long = [f"line {number}: {len(line)}" for number, line in lines if len(line) > MAX_LINE_LENGTH]
    assert too_long == []


@every_page
def test_every_link_leads_to_a_file_and_a_heading(page):
    text = page.read_text(encoding="utf-8")
    assert undefined(text) == set()
    for link in links(text):
        if ANOTHER_SITE.match(link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_what_is_no_link_is_not_taken_for_one(tmp_path):
    text = "A [link](a.md#b), `not [one](c.md)`, and [another].\n\n[another]: d.md\n\n```sh\n[x](e.md)\n```\n"
    assert links(text) == ["a.md#b", "d.md"]
    assert undefined("[a][b] and [c][]\n\n[c]: x.md\n") == {"b"}
    page = tmp_path / "page.md"
    page.write_text("# The `[[routes]]` table\n\n## A-b, c?\n\n## A-b, c?\n", encoding="utf-8")
    assert anchors(page) == {"the-routes-table", "a-b-c", "a-b-c-1"}
