"""The files for systemd, cron and Kubernetes run commands that exist, with options that exist."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from otel_ratelimit.cli import main

FILES = Path(__file__).parents[2] / "docs" / "how-to" / "nightly-report"
SYSTEMD = ("otel-ratelimit-report.service", "otel-ratelimit-report.timer", "otel-ratelimit-scheduler.service")


def unit(name):
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.optionxform = str
    parsed.read_string((FILES / name).read_text())
    return parsed


def cron_job():
    [pod] = yaml.safe_load_all((FILES / "cronjob.yaml").read_text())
    return pod["spec"]


def cron_line():
    [line] = [line for line in (FILES / "crontab").read_text().splitlines() if re.match(r"\d", line)]
    return line


COMMANDS = {
    "systemd": unit("otel-ratelimit-report.service")["Service"]["ExecStart"],
    "scheduler": unit("otel-ratelimit-scheduler.service")["Service"]["ExecStart"],
    "cron": cron_line().split(" && ")[-1],
    "kubernetes": shlex.join(
        cron_job()["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["command"]
    ),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_what_is_run_is_a_command_of_ours_started_by_opentelemetry(command):
    starter, program, *arguments = shlex.split(command)
    assert (Path(starter).name, Path(program).name) == ("opentelemetry-instrument", "otel-ratelimit")
    found, context = main, click.Context(main)
    while isinstance(found, click.Group):
        _, found, arguments = found.resolve_command(context, arguments)
    # Takes every option, or raises.
    found.make_context("test", list(arguments))


def test_what_is_run_every_night_makes_up_for_missed_days():
    assert all(
        command.endswith("report run --backfill") for name, command in COMMANDS.items() if name != "scheduler"
    )


def test_all_run_at_the_time_that_the_policy_has_unless_set():
    assert cron_line().startswith("15 0 * * * ")
    assert cron_job()["schedule"] == "15 0 * * *"
    assert unit("otel-ratelimit-report.timer")["Timer"]["OnCalendar"] == "*-*-* 00:15:00 Europe/Berlin"
    assert cron_job()["timeZone"] == "Europe/Berlin"


def test_nothing_runs_beside_itself_and_what_was_missed_is_made_up_for():
    assert cron_job()["concurrencyPolicy"] == "Forbid"
    assert unit("otel-ratelimit-report.timer")["Timer"]["Persistent"] == "yes"


def test_the_how_to_names_every_file():
    page = (FILES.parent / "nightly-report.md").read_text()
    assert {file.name for file in FILES.iterdir()} == set(re.findall(r"\(nightly-report/([^)]+)\)", page))
