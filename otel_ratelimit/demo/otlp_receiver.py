"""A small OTLP/HTTP receiver on the loopback interface (opentelemetry.io/docs/specs/otlp)."""

from __future__ import annotations

import gzip
import threading
import zlib
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # stubs come apart
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_ratelimit.demo.ports import LOOPBACK
from otel_ratelimit.demo.received_telemetry import Telemetry

PROTOBUF: Final = "application/x-protobuf"
_MAX_BYTES: Final = 32 * 1024 * 1024


class Receiver:
    """Serves from construction until `close`; exports go to `telemetry`."""

    def __init__(self, telemetry: Telemetry) -> None:
        class Handler(_Handler):
            sink = telemetry

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="otlp-receiver", daemon=True
        )
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """For `OTEL_EXPORTER_OTLP_ENDPOINT`."""
        return f"http://{LOOPBACK}:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    sink: Telemetry

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MAX_BYTES:
            self.close_connection = True
            self._answer(HTTPStatus.LENGTH_REQUIRED)
            return
        try:
            self._answer(self._take(self.rfile.read(int(length))))
        except (DecodeError, OSError, EOFError, zlib.error):
            self._answer(HTTPStatus.BAD_REQUEST)

    def _take(self, body: bytes) -> HTTPStatus:
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/v1/metrics":
            self.sink.add_metrics(ExportMetricsServiceRequest.FromString(body))
        elif self.path == "/v1/traces":
            self.sink.add_spans(ExportTraceServiceRequest.FromString(body))
        else:
            return HTTPStatus.NOT_FOUND
        return HTTPStatus.OK

    def _answer(self, status: HTTPStatus) -> None:
        # An empty message of the response type has no bytes.
        self.send_response(status)
        self.send_header("Content-Type", PROTOBUF)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Print nothing to the terminal."""
