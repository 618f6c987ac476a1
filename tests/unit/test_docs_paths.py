"""Every file, module and name of ours that a page mentions exists; and pages have short lines."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "otel_ratelimit"
PAGES = [*ROOT.glob("*.md"), ROOT / "collector" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MAX_CHARACTERS = 120
FOLDERS = "otel_ratelimit|tests|docs|loadtest|collector|dashboards|migrations"
WRITTEN = {".py", ".sql", ".yml", ".yaml", ".json", ".toml", ".jinja", ".lua"}
GONE = {"migrations/env.py"}
"""Files of earlier versions, which the changelog names."""

PLACEHOLDER = re.compile(r"NAME|NNNN")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@cache
def ours():
    """The files of the repository, without what was made beside them."""
    left_out = {".venv", ".git", ".cache", "__pycache__", "node_modules"}
    return [
        path
        for top in (*FOLDERS.split("|"), ".ci")
        for path in (ROOT / top).rglob("*")
        if path.is_file() and not left_out & set(path.parts)
    ]


@cache
def sources():
    """All that is written in files that are no pages: names of metrics, tables and loggers stand there."""
    texts = [path.read_text(encoding="utf-8") for path in ours() if path.suffix in WRITTEN]
    return "\n".join(texts)


@cache
def defined(path):
    """The names that a module defines or imports, at the top."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {each.asname or each.name for each in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)  # in `__all__`, where a name is loaded late
    return names


def is_importable(dotted):
    """Whether it is a module of ours, or a name in one."""
    _, *parts = dotted.split(".")
    folder = PACKAGE
    while parts and (folder / parts[0] / "__init__.py").is_file():
        folder /= parts.pop(0)
    module = folder / "__init__.py"
    if parts and (folder / f"{parts[0]}.py").is_file():
        module = folder / f"{parts.pop(0)}.py"
    return not parts or parts[0] in defined(module)


def exists(name, page):
    """Whether a path is one of the repository's, of the package's, or of the page's folder."""
    places = (ROOT, PACKAGE, page.parent, *(page.parents[1:2] if page.parent != ROOT else ()))
    return any(any(place.glob(name)) if "*" in name else (place / name).exists() for place in places)


@every_page
def test_every_path_exists(page):
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(rf"(?<![\w./<-])((?:{FOLDERS})/[\w*][\w./*-]*\w)", text))
    named |= set(re.findall(r"`((?:[\w-]+/)+[\w-]+\.(?:py|sql|lua|md))`", text))
    named = {name for name in named - GONE if not PLACEHOLDER.search(name)}
    assert not sorted(name for name in named if not exists(name, page))


@every_page
def test_every_test_file_that_is_named_exists(page):
    files = {path.name for path in ours()}
    named = set(re.findall(r"`(test_\w+\.py)`", page.read_text(encoding="utf-8")))
    assert page.name == "test-your-limits.md" or not sorted(named - files)


@every_page
def test_every_dotted_name_is_a_module_a_name_in_one_or_a_name_that_our_files_use(page):
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![\w./])otel_ratelimit(?:\.[a-z]\w*)+", text))
    assert not sorted(
        name
        for name in named
        if not is_importable(name) and not re.search(rf"(?<![\w.]){re.escape(name)}\b", sources())
    )


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        yield re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


@every_page
def test_every_anchor_of_a_link_is_a_heading(page):
    lost = []
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
        other = (page.parent / target).resolve() if target else page
        if other.suffix == ".md" and anchor not in set(anchors(other)):
            lost.append(f"{target}#{anchor}")
    assert not lost


@every_page
def test_no_line_is_longer_than_it_may_be(page):
    long = [
        f"{page.relative_to(ROOT)}:{number}: {len(line)} characters"
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > MAX_CHARACTERS
    ]
    assert not long, "\n".join(long)


def test_a_name_that_is_nowhere_would_be_noticed():
    assert is_importable("otel_ratelimit.queries.hash_query")
    assert is_importable("otel_ratelimit.core.settings.PREFIX")
    assert not is_importable("otel_ratelimit.core.no_such_module")
    assert not is_importable("otel_ratelimit.no_such_room.no_such_module")
    assert not exists("otel_ratelimit/core/no_such_module.py", ROOT / "README.md")
    assert exists("core/settings.py", ROOT / "docs" / "explanation" / "architecture.md")
