"""The collector that `make collector` built, started on its real configurations, and a trace backend.

backend           an OTLP/HTTP receiver that keeps what came, and can be away
start_collector   `start_collector(role="node", **settings)` starts one
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_ratelimit.demo.ports import LOOPBACK, quiet_ports
from otel_ratelimit.demo.stack.collector import (
    Collector,
    CollectorAddresses,
)
from otel_ratelimit.demo.stack.running_program import RunningProgram

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


def wait_for(what: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The result of `what`, as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.02)
    return found


@pytest.fixture(name="wait_for")
def _wait_for():
    return wait_for


class Backend:
    """Keeps every body that it has taken."""

    def __init__(self) -> None:
        [self.port] = quiet_ports(1)
        self.bodies: list[tuple[str, bytes]] = []
        """Bodies of requests, each with its path."""
        self.status = 200
        """The status of its answers."""
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def take(self, path: str, body: bytes) -> None:
        with self._lock:
            self.bodies.append((path, body))

    def requests(self) -> list[ExportTraceServiceRequest]:
        with self._lock:
            bodies = list(self.bodies)
        return [ExportTraceServiceRequest.FromString(body) for path, body in bodies if path == "/v1/traces"]

    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests()
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def start(self) -> None:
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                backend.take(self.path, body)
                self.send_response(backend.status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server((LOOPBACK, self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Connections are refused from now on; may be called twice."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@pytest.fixture
def backend() -> Iterator[Backend]:
    backend = Backend()
    backend.start()
    yield backend
    backend.stop()


class Running:
    """A collector, and its process."""

    def __init__(self, collector: Collector) -> None:
        self.collector = collector
        self.addresses = collector.addresses
        self._process: RunningProgram | None = None

    def start(self) -> None:
        self._process = RunningProgram(self.collector.program(os.environ))
        self._process.wait_until_ready()

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()

    def post(self, path: str, body: bytes, **headers: str) -> int:
        connection = http.client.HTTPConnection(LOOPBACK, self.addresses.otlp_http, timeout=10)
        with contextlib.closing(connection):
            connection.request("POST", path, body, {"Content-Type": "application/x-protobuf", **headers})
            return connection.getresponse().status

    def scrape(self, accept: str = OPEN_METRICS) -> str:
        """The metrics of the applications, as Prometheus scrapes them."""
        return _get(self.addresses.prometheus, accept)

    def own_metrics(self) -> str:
        return _get(self.addresses.telemetry, "text/plain")

    def said(self) -> str:
        return self.collector.log.read_text(encoding="utf-8")

    def on_disk(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.collector.storage.rglob("*") if path.is_file())


def _get(port: int, accept: str) -> str:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics", headers={"Accept": accept})
        answer = connection.getresponse()
        body = answer.read().decode()
        assert answer.status == 200, body
        return body


@pytest.fixture
def start_collector(collector_program, tmp_path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(
        role: str = "node", *, traces: str | None = None, more_files: Sequence[Path] = (), **settings: str
    ) -> Running:
        scratch = tmp_path / f"collector-{len(started)}"
        scratch.mkdir()
        running = Running(Collector(CollectorAddresses.free(), scratch, traces, role, settings, more_files))
        started.append(running)
        running.start()
        return running

    yield start
    for running in started:
        running.stop()
