"""Alertmanager with the shipped configuration, `amtool`, and a webhook."""

from __future__ import annotations

import http.client
import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from alertmanagers import SHIPPED

from otel_ratelimit.demo.gunicorn_server import clean_environment
from otel_ratelimit.demo.ports import LOOPBACK, quiet_ports
from otel_ratelimit.demo.stack.alertmanager import alertmanager
from otel_ratelimit.demo.stack.http_client import ask
from otel_ratelimit.demo.stack.running_program import RunningProgram


class Running:
    """An Alertmanager."""

    def __init__(self, folder, configuration):
        [self.port] = quiet_ports(1)
        program = alertmanager(self.port, folder, clean_environment(os.environ))
        command = [
            f"--config.file={configuration}" if argument.startswith("--config.file=") else argument
            for argument in program.launch.command
        ]
        assert f"--config.file={configuration}" in command
        self.program = RunningProgram(replace(program, launch=replace(program.launch, command=command)))

    def tell(self, *alerts, ended=False):
        """Report alerts that fire, or that have ended, as Prometheus does."""
        now = datetime.now(UTC)
        # Not earlier: what has fired for longer than group_wait is told at once.
        began, ends = (each.isoformat() for each in (now, now if ended else now + timedelta(minutes=10)))
        body = [{"labels": labels, "startsAt": began, "endsAt": ends} for labels in alerts]
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=10)
        try:
            connection.request(
                "POST", "/api/v2/alerts", json.dumps(body), {"Content-Type": "application/json"}
            )
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
        finally:
            connection.close()

    def held(self, labels):
        """The alert as Alertmanager has it, or None."""
        found = [alert for alert in ask(self.port, "/api/v2/alerts") if alert["labels"] == labels]
        return found[0] if found else None

    def state(self, labels):
        held = self.held(labels)
        return held and held["status"]["state"]


@pytest.fixture
def start(installed, tmp_path):
    """`start(configuration)`: an Alertmanager."""
    installed("prometheus-alertmanager", "prometheus-alertmanager")
    programs = []

    def run(configuration=SHIPPED):
        running = Running(tmp_path, configuration)
        programs.append(running.program)
        running.program.wait_until_ready()
        return running

    yield run
    for program in programs:
        program.stop()
