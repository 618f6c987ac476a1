"""A test without its component is skipped and says how to get it, or fails in CI; `make test` has none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from variants import quick_first

TESTS = Path(__file__).parents[1]
SENTENCES = {
    "integration/test_cache_engines.py": "redis-server is missing; to get it: apt-get install redis-server",
    "integration/test_shared_stores.py": "redis-server is missing; to get it: apt-get install redis-server",
    "integration/test_collector_reader.py": "psql is missing; to get it: apt-get install postgresql-client",
    "acceptance/test_stack.py": "the collector is missing; to get it: make collector (needs Go)",
    "acceptance/alertmanager/test_alertmanager.py": "to get it: apt-get install prometheus-alertmanager",
}
"""Component of a test in each file that needs more than pip installs."""


@pytest.fixture
def on_bare_machine(tmp_path):
    """`on_bare_machine(*arguments, **variables)`: pytest, where no program of Debian's is found."""

    def run(*arguments, **variables):
        unset = {"CI", "OTELCOL_PROGRAM", "PYTEST_ADDOPTS"} | {n for n in os.environ if "XDIST" in n}
        environ = {name: value for name, value in os.environ.items() if name not in unset}
        environ |= {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), **variables}
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", "full", *arguments]
        done = subprocess.run(
            command, env=environ, cwd=TESTS.parent, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout

    return run


@pytest.mark.full
def test_it_is_skipped_and_says_how_to_get_it(on_bare_machine):
    status, printed = on_bare_machine(*(str(TESTS / file) for file in SENTENCES))
    assert status == 0, printed
    for sentence in SENTENCES.values():
        assert sentence in printed


@pytest.mark.full
def test_in_ci_it_fails_with_the_same_sentence(on_bare_machine):
    file = "integration/test_cache_engines.py"
    status, printed = on_bare_machine(str(TESTS / file), CI="true")
    assert status == 1
    assert SENTENCES[file] in printed


@pytest.mark.parametrize("ci", quick_first(["true", ""]))
def test_the_quick_tests_have_none_of_them(on_bare_machine, ci):
    status, printed = on_bare_machine("--quick", *(str(TESTS / file) for file in SENTENCES), CI=ci)
    assert status == pytest.ExitCode.NO_TESTS_COLLECTED, printed
    assert "deselected" in printed.splitlines()[-1]
