"""The rules of the house (CONTRIBUTING.md) that a program can check."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "otel_ratelimit"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = PROJECT["tool"]["importlinter"]["contracts"]
MAX_ENTRIES, MAX_LAYERS, MAX_LINES, MAX_NOQA = 14, 8, 400, 40
FOLDERS = ("otel_ratelimit", "dashboards/source", "loadtest", "tests", "migrations", "docs", "collector")
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
NOQA = re.compile(r"#\s*noqa\b(?P<rest>.*)")
REASON = re.compile(r": [A-Z]+[0-9]+(, [A-Z]+[0-9]+)* - \S.*")


def entries() -> set[str]:
    """Names that can be imported from the top level of the package."""
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    return packages | {path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__"}


def layers() -> list[list[str]]:
    [contract] = [each for each in CONTRACTS if each.get("containers") == ["otel_ratelimit"]]
    assert contract["type"] == "layers"
    assert contract["exhaustive"] is True
    return [[room.strip() for room in layer.split("|")] for layer in contract["layers"]]


def test_the_top_level_is_seen_at_a_glance():
    assert len(entries()) <= MAX_ENTRIES


def test_every_room_has_its_place_in_a_few_layers():
    assert len(layers()) <= MAX_LAYERS
    assert sorted(room for layer in layers() for room in layer) == sorted(entries())


def test_what_a_contract_lets_pass_are_the_public_functions_alone():
    passed = {line for contract in CONTRACTS for line in contract.get("ignore_imports", ())}
    rooms = ("analytics", "queries", "reports")
    assert passed == {f"otel_ratelimit.{room} -> otel_ratelimit.runtime.functions.{room}" for room in rooms}


def test_a_module_is_short_enough_to_be_read():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {str(path.relative_to(ROOT)): n for path, n in lines.items() if n > MAX_LINES} == {}


def test_a_rule_is_switched_off_seldom_and_for_a_reason():
    found = [
        (f"{path.relative_to(ROOT)}:{number}", match["rest"])
        for path in MODULES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (match := NOQA.search(line)) and path != Path(__file__)
    ]
    assert [place for place, rest in found if not REASON.fullmatch(rest)] == []
    assert len(found) <= MAX_NOQA


@pytest.mark.parametrize(
    ("subject", "is_right"),
    [
        ("storage: keep a live counter when the store is full", True),
        ("web/api: say which parameter is wrong", True),
        ("ci: " + "x" * 68, True),
        ("ci: " + "x" * 69, False),
        ("Keep a live counter when the store is full", False),
        ("storage:keep a live counter", False),
        ("Merge branch 'storage'", True),
    ],
)
def test_the_subject_of_a_commit_is_checked(tmp_path, subject, is_right):
    message = tmp_path / "COMMIT_EDITMSG"
    message.write_text(f"\n{subject}\n\nWhy.\n# a comment of git\n")
    done = subprocess.run(
        [ROOT / ".ci" / "commit-subject", message], capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) is is_right
    assert is_right or subject in done.stderr


def test_the_hooks_run_what_make_lint_runs():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = {hook["id"]: hook for repository in config["repos"] for hook in repository["hooks"]}
    assert hooks["lint"]["entry"] == "make lint"
    assert hooks["commit-subject"]["entry"] == ".ci/commit-subject"
    assert (ROOT / ".ci" / "commit-subject").stat().st_mode & 0o111


def test_the_workflow_calls_what_is_called_here():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["ci"]["steps"][-1] == {"run": "bash .ci/run"}


PACKAGES = sorted(path for path in PACKAGE.rglob("__init__.py") if "_shipped" not in path.parts)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_a_package_lists_no_file_that_has_gone(package):
    text = ast.get_docstring(ast.parse(package.read_text(encoding="utf-8"))) or ""
    rows = re.findall(r"^([a-z_0-9]+(?:(?:, |/)[a-z_0-9]+)*) {2,}\S", text, re.MULTILINE)
    listed = {name for row in rows for name in re.split(", |/", row)}
    there = {path.stem for path in package.parent.glob("*.py")} | {
        path.parent.name for path in package.parent.glob("*/*")
    }
    assert listed - there == set()
