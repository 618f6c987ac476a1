"""Prometheus with the rules of `collector/prometheus/`, and a client for its API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from otel_ratelimit.demo.ports import LOOPBACK
from otel_ratelimit.demo.stack.collector import configuration_folder
from otel_ratelimit.demo.stack.http_client import ask, get
from otel_ratelimit.demo.stack.installed_programs import find_program
from otel_ratelimit.demo.stack.running_program import Program
from otel_ratelimit.postgres.embedded.supervised_process import Launch

EXPORTER_PORT: Final = 8889
TELEMETRY_PORT: Final = 8888
ALERTMANAGER_PORT: Final = 9093
_MILLISECONDS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION: Final = re.compile(r"(?<![\w.])(?<!window: )(\d+)([smhd])\b")
"""A duration in PromQL; not the `5m` in a name such as `job:requests:rate5m`, or the label `window: 1h`."""


@dataclass(frozen=True, slots=True)
class Watching:
    """The targets that Prometheus scrapes, and how often."""

    port: int
    """The port of Prometheus itself."""
    exporter_port: int
    """The port of the collector's metrics of applications."""
    telemetry_port: int
    """The port of the collector's own metrics."""
    alertmanager_port: int
    interval: str = "5s"
    """Between scrapes, and between evaluations of the rules."""
    hurry: int = 1
    """The times of the rules are divided by it, so that a test does not wait as long as an operator would."""


def prometheus(watching: Watching, folder: Path, env: Mapping[str, str]) -> Program:
    """How to start Prometheus in `folder`.

    Raises:
        StackError: it is not installed.
    """
    source = configuration_folder() / "prometheus"
    rules = folder / "rules"
    rules.mkdir(exist_ok=True)
    for path in sorted((source / "rules").glob("*.yml")):
        (rules / path.name).write_text(
            hurried(path.read_text(encoding="utf-8"), watching.hurry), encoding="utf-8"
        )
    configuration = folder / "prometheus.yml"
    text = (source / "prometheus.yml").read_text(encoding="utf-8")
    configuration.write_text(configured(text, watching), encoding="utf-8")
    command = [
        find_program("prometheus"),
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={LOOPBACK}:{watching.port}",
        f"--web.external-url=http://{LOOPBACK}:{watching.port}",
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
    ]
    return Program(
        name="Prometheus",
        launch=Launch(command=command, log=folder / "prometheus.log", env=env, cwd=folder),
        ready_url=f"http://{LOOPBACK}:{watching.port}/-/ready",
    )


def configured(text: str, watching: Watching) -> str:
    """`prometheus.yml` with these addresses and intervals."""
    here = {
        EXPORTER_PORT: watching.exporter_port,
        TELEMETRY_PORT: watching.telemetry_port,
        ALERTMANAGER_PORT: watching.alertmanager_port,
    }
    usual = "|".join(map(str, here))
    text = re.sub(rf"[\w.-]+:({usual})\b", lambda found: f"{LOOPBACK}:{here[int(found[1])]}", text)
    return re.sub(r"\b(scrape|evaluation)_interval: \S+", rf"\1_interval: {watching.interval}", text)


def hurried(rules: str, times: int) -> str:
    """`rules` with every window, offset and `for` divided by `times`."""
    if times == 1:
        return rules

    def shorter(found: re.Match[str]) -> str:
        return f"{int(found[1]) * _MILLISECONDS[found[2]] // times}ms"

    return _DURATION.sub(shorter, rules)


class PrometheusApi:
    """Questions to a running Prometheus."""

    def __init__(self, port: int) -> None:
        self._port = port

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector that `expression` gives: `metric` and `value` of each series."""
        answer = ask(self._port, "/api/v1/query", {"query": expression})
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def metric_names(self) -> set[str]:
        """The names of all metrics."""
        return set(ask(self._port, "/api/v1/label/__name__/values")["data"])

    def alerts_page(self) -> str:
        """The path of the page with the alert rules: Debian's Prometheus has only the classic pages."""
        try:
            status, _ = get(self._port, "/classic/alerts")
        except OSError:  # it has ended; `check` says so
            return "/alerts"
        return "/classic/alerts" if status == HTTPStatus.OK else "/alerts"

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that are pending or firing."""
        found: list[dict[str, Any]] = ask(self._port, "/api/v1/alerts")["data"]["alerts"]
        return found
