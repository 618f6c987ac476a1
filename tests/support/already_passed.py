"""Tests that have passed in an earlier run of the same code are not run again: `.ci/run` uses it.

pytest --passed-to FILE     writes the ids of the tests that have passed
pytest --but-not-in FILE    leaves those out
"""

from __future__ import annotations

from pathlib import Path

import pytest


def add_options(parser: pytest.Parser) -> None:
    parser.addoption("--passed-to", type=Path, metavar="FILE", help="write the ids of tests that have passed")
    parser.addoption("--but-not-in", type=Path, metavar="FILE", help="leave out the tests with these ids")


def register(config: pytest.Config) -> None:
    file = config.getoption("passed_to")
    # A process of xdist has a `workerinput`; only the one that hears of all tests writes.
    if file is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Passed(file.absolute()))


def leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    file = config.getoption("but_not_in")
    if file is None:
        return
    passed = set(file.read_text(encoding="utf-8").splitlines())
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in passed])
    items[:] = [item for item in items if item.nodeid not in passed]


class _Passed:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._passed: dict[str, bool] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or not report.passed:
            self._passed[report.nodeid] = report.passed and self._passed.get(report.nodeid, True)

    def pytest_sessionfinish(self) -> None:
        passed = (test for test, has_passed in self._passed.items() if has_passed)
        self._file.write_text("".join(f"{test}\n" for test in passed if "\n" not in test), encoding="utf-8")
