"""The shipped configuration of Alertmanager: valid, complete, and as the how-to says."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
import yaml
from alert_rules import ALERTS
from alertmanagers import HOW_TO, SHIPPED

from otel_ratelimit.demo.stack.http_client import ask


@pytest.fixture(scope="module")
def amtool(installed):
    path = installed("amtool", "prometheus-alertmanager")

    def run(*arguments):
        return subprocess.run([path, *map(str, arguments)], check=False, capture_output=True, text=True)

    return run


def test_the_configuration_is_valid(amtool):
    finished = amtool("check-config", SHIPPED)
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("severity=critical", "critical"),
        ("severity=warning", "warning"),
        ("severity=info", "info"),
        ("severity=page", "warning"),
        ("alertname=WithoutSeverity", "warning"),
    ],
)
def test_each_severity_has_its_receiver_and_what_is_unknown_is_not_lost(amtool, labels, receiver):
    finished = amtool("config", "routes", "test", f"--config.file={SHIPPED}", labels)
    assert finished.stdout.split() == [receiver], finished.stderr


def test_rules_have_no_severity_without_a_receiver():
    receivers = {each["name"] for each in yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))["receivers"]}
    assert {rule.labels["severity"] for rule in ALERTS} == receivers


def test_every_alert_that_the_configuration_names_exists():
    written = set(re.findall(r"\bRateLimit[A-Z]\w*", SHIPPED.read_text(encoding="utf-8")))
    assert written
    assert written <= {rule.name for rule in ALERTS}


def test_no_secret_can_be_in_the_configuration():
    receivers = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))["receivers"]
    assert all(set(receiver) == {"name"} for receiver in receivers)


def blocks(language):
    """The pieces of code in the how-to."""
    return re.findall(rf"^```{language}\n(.*?)^```", HOW_TO, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", blocks("yaml"))
def test_receivers_of_the_how_to_are_valid_in_place_of_the_shipped_ones(amtool, tmp_path, block):
    settings = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    [receiver] = yaml.safe_load(block)
    assert set(receiver) > {"name"}
    names = [each["name"] for each in settings["receivers"]]
    settings["receivers"][names.index(receiver["name"])] = receiver
    configuration = tmp_path / "alertmanager.yml"
    configuration.write_text(yaml.safe_dump(settings))
    finished = amtool("check-config", configuration)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_commands_of_the_how_to_do_what_it_says(start, amtool, tmp_path):
    running = start()
    commands = "\n".join(block for block in blocks("sh") if re.search(r"^am ", block, re.MULTILINE))
    finished = subprocess.run(
        ["bash", "-euc", commands.replace(":9093", f":{running.port}")],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "USER": "operator"},
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr

    said = [re.split(r" {2,}", line.strip()) for line in finished.stdout.splitlines()]
    assert [[each[0], each[-1]] for each in said if each[0].startswith("RateLimit")] == [
        ["RateLimitMemoryCritical", "active"],
        ["RateLimitMemoryHigh", "suppressed"],
    ]
    silences = ask(running.port, "/api/v2/silences")
    assert {each["id"] for each in silences} == {each[0] for each in said if "operator" in each}
    assert [each["status"]["state"] for each in silences] == ["expired"] * 2
