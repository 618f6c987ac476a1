"""Real servers for acceptance tests: gunicorn, or another, below `opentelemetry-instrument`."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path

import pytest
from components import MissingError
from http_servers import Server

from otel_ratelimit.demo.otlp_receiver import Receiver
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
