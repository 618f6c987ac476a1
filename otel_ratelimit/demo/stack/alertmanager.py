"""Alertmanager with the configuration in `collector/alertmanager/`, and its alerts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from otel_ratelimit.demo.ports import LOOPBACK
from otel_ratelimit.demo.stack.collector import configuration_folder
from otel_ratelimit.demo.stack.http_client import ask
from otel_ratelimit.demo.stack.installed_programs import find_program
from otel_ratelimit.demo.stack.running_program import Program
from otel_ratelimit.postgres.embedded.supervised_process import Launch


@dataclass(frozen=True, slots=True)
class HeldAlert:
    """An alert that Alertmanager has received and that is not resolved."""

    name: str
    severity: str
    summary: str
    labels: Mapping[str, str]
    state: str
    """`active`, `suppressed` (muted, or inhibited by another) or `unprocessed`."""


def alertmanager(port: int, folder: Path, env: Mapping[str, str]) -> Program:
    """How to start Alertmanager in `folder`.

    Raises:
        StackError: it is not installed.
    """
    command = [
        find_program("prometheus-alertmanager"),
        f"--config.file={configuration_folder() / 'alertmanager' / 'alertmanager.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={LOOPBACK}:{port}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
    return Program(
        name="Alertmanager",
        launch=Launch(command=command, log=folder / "alertmanager.log", env=env, cwd=folder),
        ready_url=f"http://{LOOPBACK}:{port}/-/ready",
    )


def held_alerts(port: int) -> list[HeldAlert]:
    """The alerts that Alertmanager has now.

    Raises:
        StackError: it does not answer.
    """
    return [
        HeldAlert(
            name=alert["labels"].get("alertname", ""),
            severity=alert["labels"].get("severity", ""),
            summary=alert["annotations"].get("summary", ""),
            labels=alert["labels"],
            state=alert["status"]["state"],
        )
        for alert in ask(port, "/api/v2/alerts", {"active": "true"})
    ]
