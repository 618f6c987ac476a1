"""The alert rules as promtool sees them: valid, tested, and each part of each rule needed by a test."""

from __future__ import annotations

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from alert_rules import ALERTS, RECORDINGS, ROOT, RULES, case_files, cases, recordings_for
from rule_mutants import mutants

CONFIGURATION = ROOT / "collector/prometheus/prometheus.yml"
DEPENDENTS = {
    recording.id: [alert for alert in ALERTS if recording in recordings_for(alert)]
    for recording in RECORDINGS
}
"""Alerts that a recording rule is for."""


@pytest.fixture(scope="module")
def promtool(installed):
    path = installed("promtool", "prometheus")

    def run(*arguments: object, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
        command = [path, *map(str, arguments)]
        return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)

    return run


def said(finished):
    return f"{finished.stdout}\n{finished.stderr}"


def test_rules_are_valid(promtool):
    finished = promtool("check", "rules", "--lint=all", "--lint-fatal", *sorted(RULES.glob("*.yml")))
    assert finished.returncode == 0, said(finished)


def test_the_configuration_of_prometheus_is_valid_and_finds_the_rules(promtool):
    finished = promtool("check", "config", "--lint=all", "--lint-fatal", CONFIGURATION)
    assert finished.returncode == 0, said(finished)
    assert all(path.name in said(finished) for path in RULES.glob("*.yml"))


@pytest.mark.parametrize("path", case_files(), ids=lambda path: path.stem)
def test_cases_hold(promtool, path, tmp_path):
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    named = {
        each["alertname"] for test in document["tests"] for each in test.get("alert_rule_test", ())
    } | set(re.findall(r'alertname="(\w+)"', path.read_text(encoding="utf-8")))
    # promtool evaluates every rule it is given, and looks at those that a case names.
    needed = [*RECORDINGS, *(alert for alert in ALERTS if alert.name in named)]
    groups = [{"name": "all", "rules": [dict(rule.given) for rule in needed]}]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": groups}))
    (tmp_path / "cases.yml").write_text(yaml.safe_dump({**document, "rule_files": ["rules.yml"]}))
    finished = promtool("test", "rules", tmp_path / "cases.yml")
    assert finished.returncode == 0, said(finished)


@pytest.fixture
def holds(promtool, tmp_path):
    """`holds(name, rules, cases)`: whether promtool finds what the cases expect, of these rules only."""

    def check(name: str, rules, chosen) -> bool:
        rules_file, cases_file = tmp_path / f"{name}.rules.yml", tmp_path / f"{name}.cases.yml"
        groups = [{"name": "all", "rules": [dict(rule.given) for rule in rules]}]
        rules_file.write_text(yaml.safe_dump({"groups": groups}))
        # File by file, the quickest first: mostly one of its cases fails already.
        for file in sorted({case.file for case in chosen}, key=lambda file: (file != "sums.yml", file)):
            of_file = [case for case in chosen if case.file == file]
            document = {
                "rule_files": [rules_file.name],
                "evaluation_interval": of_file[0].evaluation_interval,
                "tests": [case.given for case in of_file],
            }
            cases_file.write_text(yaml.safe_dump(document))
            if promtool("test", "rules", cases_file, folder=tmp_path).returncode:
                return False
        return True

    return check


def survivors(holds, rule, context, chosen):
    """Changes of `rule` that no case notices; `context(changed)` gives all rules to be loaded."""
    assert holds("unchanged", context(rule), chosen)
    changed = list(mutants(rule))
    assert changed
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        unnoticed = pool.map(
            lambda numbered: holds(f"changed-{numbered[0]}", context(numbered[1][1]), chosen),
            enumerate(changed),
        )
        return [what for (what, _), survived in zip(changed, unnoticed, strict=True) if survived]


@pytest.mark.mutants
@pytest.mark.timeout(600)
@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule.id)
def test_nothing_in_an_alert_can_change_without_a_case_that_fails(holds, rule):
    others = [each for each in ALERTS if each.name == rule.name and each is not rule]
    needed = [each for each in RECORDINGS if any(each in recordings_for(alert) for alert in [rule, *others])]
    chosen = [case.only_of([rule]) for case in cases() if case.proves(rule)]
    assert survivors(holds, rule, lambda changed: [*needed, *others, changed], chosen) == []


@pytest.mark.mutants
@pytest.mark.timeout(600)
@pytest.mark.parametrize("rule", RECORDINGS, ids=lambda rule: rule.id)
def test_nothing_in_a_recording_rule_can_change_without_a_case_that_fails(holds, rule):
    alerts = DEPENDENTS[rule.id]
    chosen = [
        case.only_of(alerts)
        for case in cases()
        if case.file == "sums.yml" or any(case.proves(alert) for alert in alerts)
    ]
    context = [*RECORDINGS, *alerts]
    at = context.index(rule)
    assert survivors(holds, rule, lambda changed: [*context[:at], changed, *context[at + 1 :]], chosen) == []
