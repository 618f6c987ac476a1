"""The rules of `collector/prometheus/rules` and the cases beside this file, as data.

An alert has three cases at least: one in which it fires, one in which it is pending, one in which it stays
silent. The alerts that a case expects show which of them it is, not its name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser as promql
import yaml
from promql_facts import selectors

ROOT = Path(__file__).parents[2]
RULES = ROOT / "collector/prometheus/rules"
CASES = Path(__file__).parent
RUNBOOKS = ROOT / "docs/runbooks"


@dataclass(frozen=True)
class Rule:
    """An alert or a recording rule.

    Attributes:
        given: as it stands in its file.
        group: the group's name.
    """

    given: Mapping[str, Any] = field(repr=False)
    group: str

    @property
    def is_alert(self) -> bool:
        return "alert" in self.given

    @property
    def name(self) -> str:
        return self.given["alert" if self.is_alert else "record"]

    @property
    def expr(self) -> str:
        return self.given["expr"]

    @property
    def waits(self) -> str:
        """The alert's `for`."""
        return self.given["for"]

    @property
    def labels(self) -> Mapping[str, str]:
        return self.given.get("labels", {})

    @property
    def annotations(self) -> Mapping[str, str]:
        return self.given["annotations"]

    @property
    def id(self) -> str:
        """Several rules may share a name; their labels tell them apart."""
        own = [value for label, value in self.labels.items() if label not in {"severity", "subject"}]
        return " ".join([self.name, *own])


def _rules(file: str) -> tuple[Rule, ...]:
    groups = yaml.safe_load((RULES / file).read_text(encoding="utf-8"))["groups"]
    return tuple(Rule(rule, group["name"]) for group in groups for rule in group["rules"])


RECORDINGS = _rules("recording.yml")
ALERTS = _rules("alerts.yml")


def recordings_for(rule: Rule) -> list[Rule]:
    """The recording rules that the rule needs, in order."""
    wanted = {selector.name for selector in selectors(promql.parse(rule.expr))}
    direct = [each for each in RECORDINGS if each.name in wanted and each is not rule]
    needed = {each.name for parent in direct for each in recordings_for(parent)} | {r.name for r in direct}
    return [each for each in RECORDINGS if each.name in needed]


class Proof(StrEnum):
    """The state of an alert that a case shows."""

    FIRES = "fires"
    PENDING = "is pending"
    SILENT = "stays silent"


@dataclass(frozen=True)
class Case:
    """One test of promtool."""

    given: Mapping[str, Any] = field(repr=False)
    file: str
    evaluation_interval: str

    @property
    def name(self) -> str:
        return self.given["name"]

    def only_of(self, rules: Collection[Rule]) -> Case:
        """The case without its expectations of other alerts."""
        names = {rule.name for rule in rules}
        kept = [each for each in self.given.get("alert_rule_test", []) if each["alertname"] in names]
        return replace(self, given={**self.given, "alert_rule_test": kept})

    def proves(self, rule: Rule) -> set[Proof]:
        return set(self._proofs(rule))

    def _proofs(self, rule: Rule) -> Iterator[Proof]:
        window = rule.labels.get("window", "")
        for each in self.given.get("alert_rule_test", []):
            if each["alertname"] == rule.name and any(
                alert["exp_labels"].get("window", "") == window for alert in each["exp_alerts"]
            ):
                yield Proof.FIRES
        for each in self.given.get("promql_expr_test", []):
            asked = dict(re.findall(r'(\w+)="([^"]*)"', each["expr"]))
            if asked.get("alertname") != rule.name or asked.get("window", window) != window:
                continue
            if not each["exp_samples"]:
                yield Proof.SILENT
            for sample in each["exp_samples"]:
                found = dict(re.findall(r'(\w+)="([^"]*)"', sample["labels"]))
                if (found["alertstate"], found.get("window", "")) == ("pending", window):
                    yield Proof.PENDING


def case_files() -> list[Path]:
    return sorted(CASES.glob("*.yml"))


@cache
def cases() -> tuple[Case, ...]:
    found: list[Case] = []
    for path in case_files():
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        found += [Case(given, path.name, document["evaluation_interval"]) for given in document["tests"]]
    return tuple(found)
