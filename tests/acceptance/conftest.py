"""Real servers for acceptance tests: gunicorn, or another, below `opentelemetry-instrument`."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from components import MissingError

from otel_ratelimit.demo.otlp_receiver import Receiver
from otel_ratelimit.demo.ports import quiet_ports
from otel_ratelimit.demo.received_telemetry import Telemetry
from otel_ratelimit.demo.stack.collector import built_program, configuration_folder
from otel_ratelimit.demo.stack.errors import StackError

APP = """
import flask

app = flask.Flask(__name__)

@app.get("/thing")
def thing():
    return "ok"

@app.get("/health")
def health():
    return "ok"
"""


@pytest.fixture
def telemetry():
    return Telemetry()


@pytest.fixture
def receiver(telemetry):
    receiver = Receiver(telemetry)
    yield receiver
    receiver.close()


@pytest.fixture(scope="session")
def collector_program() -> Path:
    """The program that `make collector` built."""
    try:
        return built_program(os.environ, configuration_folder())
    except StackError as error:
        raise MissingError("the collector", "make collector (needs Go)") from error


BINARIES = Path(sys.executable).parent
AUTO = (str(BINARIES / "opentelemetry-instrument"),)
GUNICORN = (str(BINARIES / "gunicorn"), "--bind", "127.0.0.1:{port}")


class Server:
    """One server. `log` is what it and its workers have printed so far.

    `{port}` in its command is replaced by one that is free.
    """

    def __init__(self, folder: Path, command: list[str], environ: dict[str, str | None]) -> None:
        [self.port] = quiet_ports(1)
        self._log = folder / "server.log"
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "GUNICORN", "WEB_"))}
        given = {"OTEL_LOGS_EXPORTER": "none", "PYTHONUNBUFFERED": "1", **environ}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [part.replace("{port}", str(self.port)) for part in command],
                cwd=folder,
                env={**inherited, **{name: value for name, value in given.items() if value is not None}},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_until(self, done, what: str, seconds: float = 40.0) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what} did not happen in {seconds} s; the log says:\n{self.log}")
            time.sleep(0.02)

    def wait_until_ready(self) -> None:
        def answers():
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log}")
            with contextlib.suppress(OSError):
                return self.get("/health")[0] == 200
            return False

        self.wait_until(answers, "an answer")

    def get(self, path: str, method: str = "GET"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def stop(self) -> None:
        """Stop like an operator, with SIGTERM, so that telemetry is flushed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                raise

    def kill(self) -> None:
        """Where it would stop late, and that is not what is tested."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def serve(tmp_path, receiver):
    """Call it with gunicorn's arguments, a policy and environment; it gives a running `Server`.

    `command` takes the place of gunicorn, `below` that of `opentelemetry-instrument`.
    """
    servers = []

    def start(*arguments, policy="", app=APP, environ=None, ready=True, command=None, below=AUTO):
        (tmp_path / "app.py").write_text(textwrap.dedent(app))
        if policy:
            (tmp_path / "ratelimit.toml").write_text(textwrap.dedent(policy))
        server = Server(
            tmp_path,
            [*below, *(command or (*GUNICORN, *arguments, "app:app"))],
            {
                "OTEL_SERVICE_NAME": "acceptance",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
                # The SDK's exporting thread may hold a lock in a fork: docs/how-to/servers.md.
                "OTEL_METRIC_EXPORT_INTERVAL": "60000" if "--preload" in arguments else "500",
                **(environ or {}),
            },
        )
        servers.append(server)
        if ready:
            server.wait_until_ready()
        return server

    yield start
    for server in servers:
        server.stop()
