"""Every file, module and name of ours that a page mentions exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "otel_ratelimit"
PAGES = [*ROOT.glob("*.md"), ROOT / "collector" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = "otel_ratelimit|tests|docs|loadtest|collector|dashboards|migrations"
WRITTEN = {".py", ".sql", ".yml", ".yaml", ".json", ".toml", ".jinja", ".lua"}
GONE = {"migrations/env.py"}
"""Files of earlier versions, which the changelog names."""

PLACEHOLDER = re.compile(r"NAME|NNNN")

FORMER = {f"otel_ratelimit.{name}" for name in ("errors", "instrumentor", "policy.watch", "stack", "wiring")}
"""Names of earlier versions, which the changelog gives beside the new ones."""
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@cache
def ours():
    """The files of the repository, without generated ones."""
    left_out = {".venv", ".git", ".cache", "__pycache__", "node_modules"}
    return [
        path
        for top in (*FOLDERS.split("|"), ".ci")
        for path in (ROOT / top).rglob("*")
        if path.is_file() and not left_out & set(path.parts)
    ]


@cache
def sources():
    """The text of all files that are not pages: it has the names of metrics, tables and loggers."""
    return "\n".join(path.read_text(encoding="utf-8") for path in ours() if path.suffix in WRITTEN)


@cache
def defined(path):
    """The names that a module defines or imports, and its strings."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {each.asname or each.name for each in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)  # in `__all__` and `__getattr__`, if a name is loaded late
    return names


def is_importable(dotted):
    """Whether this is one of our modules, or a name in one."""
    _, *parts = dotted.split(".")
    folder = PACKAGE
    while parts and (folder / parts[0] / "__init__.py").is_file():
        folder /= parts.pop(0)
    module = folder / "__init__.py"
    if parts and (folder / f"{parts[0]}.py").is_file():
        module = folder / f"{parts.pop(0)}.py"
    return not parts or parts[0] in defined(module)


def exists(name, page):
    """Whether a path is in the repository, in the package, or in the folder of the page."""
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
    named = set(re.findall(r"(?<![\w./])otel_ratelimit(?:\.[a-z]\w*)+", text)) - FORMER
    assert not sorted(
        name
        for name in named
        if not is_importable(name) and not re.search(rf"(?<![\w.]){re.escape(name)}\b", sources())
    )


def test_a_name_that_is_nowhere_would_be_noticed():
    assert is_importable("otel_ratelimit.queries.hash_query")
    assert is_importable("otel_ratelimit.core.settings.PREFIX")
    assert not is_importable("otel_ratelimit.core.no_such_module")
    assert not is_importable("otel_ratelimit.no_such_room.no_such_module")
    assert not exists("otel_ratelimit/core/no_such_module.py", ROOT / "README.md")
    assert exists("core/settings.py", ROOT / "docs" / "explanation" / "architecture.md")
