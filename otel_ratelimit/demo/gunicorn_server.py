"""The application under gunicorn, started as OpenTelemetry users start theirs.

There is one worker by default: it has the counters of `bounded-memory://` for itself, so N workers would
allow every client N times the limit. Several workers share their counters through Redis or Valkey.
"""

from __future__ import annotations

import http.client
import os
import secrets
import sysconfig
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from otel_ratelimit.core.version import __version__
from otel_ratelimit.demo.errors import DemoError
from otel_ratelimit.demo.ports import LOOPBACK
from otel_ratelimit.postgres.embedded.supervised_process import Launch, SupervisedProcess

FOLDER: Final = Path(__file__).parent
POLICY: Final = FOLDER / "ratelimit.toml"
APPLICATION: Final = "jobs_app.app:app"
SERVICE: Final = "job-board"
RESOURCE: Final = f"deployment.environment.name=demo,service.version={__version__}"
THREADS: Final = 8
START_TIMEOUT_SECONDS: Final = 60.0
EXPORT_INTERVAL_MS: Final = 1000
SPANS_KEPT: Final = 0.2
"""Share of traces that are sampled: enough to show some."""

_NOT_PASSED_ON: Final = (
    "OTEL_",
    "PG",
    "FLASK_",
    "GUNICORN_",
    "WEB_CONCURRENCY",
    "DATABASE_URL",
    "SECRET_KEY",
)


@dataclass(frozen=True, slots=True)
class Serving:
    """How to run the server."""

    port: int
    workers: int
    database_url: str
    otlp_endpoint: str
    scratch: Path
    api_token: str = field(repr=False)
    """May read `/api/rate-limit/*`."""
    spans_kept: float = SPANS_KEPT
    """Share of traces sampled in the application."""
    export_timeout_seconds: int = 2
    """How long an export is tried again."""
    trusted_proxies: str = ""
    """Set if clients cannot have loopback addresses of their own (macOS)."""


def command(serving: Serving) -> list[str]:
    """The command; the parts that matter to users come first."""
    return [
        "opentelemetry-instrument",
        "gunicorn",
        APPLICATION,
        f"--bind={LOOPBACK}:{serving.port}",
        f"--workers={serving.workers}",
        f"--threads={THREADS}",
        "--worker-class=gthread",
        "--keep-alive=30",
        "--graceful-timeout=5",
    ]


def plugin_environment(serving: Serving) -> dict[str, str]:
    """The variables that limit and observe the application."""
    return {
        "OTEL_RATELIMIT_POLICY": str(POLICY),
        "OTEL_RATELIMIT_DATABASE_URL": serving.database_url,
        "OTEL_RATELIMIT_API_TOKEN": serving.api_token,
        "OTEL_SERVICE_NAME": SERVICE,
        "OTEL_RESOURCE_ATTRIBUTES": RESOURCE,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": serving.otlp_endpoint,
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "cumulative",
        "OTEL_METRIC_EXPORT_INTERVAL": str(EXPORT_INTERVAL_MS),
        "OTEL_EXPORTER_OTLP_TIMEOUT": str(serving.export_timeout_seconds),
        "OTEL_BSP_SCHEDULE_DELAY": "1000",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": str(serving.spans_kept),
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_SEMCONV_STABILITY_OPT_IN": "http",
        **({"OTEL_RATELIMIT_TRUSTED_PROXIES": serving.trusted_proxies} if serving.trusted_proxies else {}),
    }


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without the variables that would change the demo."""
    kept = {name: value for name, value in environ.items() if not name.startswith(_NOT_PASSED_ON)}
    scripts = sysconfig.get_path("scripts")
    return {
        **kept,
        "PATH": os.pathsep.join([scripts, kept.get("PATH", os.defpath)]),
        "NO_PROXY": LOOPBACK,
        "no_proxy": LOOPBACK,
    }


class Server:
    """The running application."""

    def __init__(self, serving: Serving, environ: Mapping[str, str]) -> None:
        self._serving = serving
        self._process = SupervisedProcess(
            Launch(
                command=command(serving),
                log=serving.scratch / "gunicorn.log",
                env={
                    **clean_environment(environ),
                    **plugin_environment(serving),
                    "DATABASE_URL": serving.database_url,
                    "SECRET_KEY": secrets.token_hex(),
                    # gunicorn 25.1 and later puts its control socket there.
                    "XDG_RUNTIME_DIR": str(serving.scratch),
                },
                cwd=FOLDER,
                grace=8.0,
            )
        )

    def wait_until_ready(self) -> int:
        """Wait until `/health` answers 200; returns how many requests were answered until then.

        Raises:
            DemoError: the server ended, or does not answer.
        """
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        answered, status = 0, 0
        while time.monotonic() < deadline:
            self.check()
            try:
                status = self._get("/health")
            except OSError:
                self._process.wait(0.05)
                continue
            answered += 1
            if status == http.client.OK:
                return answered
            self._process.wait(0.2)
        raise DemoError(
            f"the application does not become ready (/health answers {status or 'nothing'});"
            f" its last lines:\n{self._process.last_lines()}",
            "the lines above say why",
        )

    def check(self) -> None:
        """Check that it is still running.

        Raises:
            DemoError: it has ended; with its last lines.
        """
        status = self._process.exit_status
        if status is not None:
            raise DemoError(
                f"gunicorn ended with status {status}; its last lines:\n{self._process.last_lines()}",
                "the lines above say why; `otel-ratelimit policy check` checks the policy",
            )

    def stop(self) -> None:
        """Stop it; it sends its last telemetry first."""
        self._process.stop()

    def _get(self, path: str) -> int:
        connection = http.client.HTTPConnection(LOOPBACK, self._serving.port, timeout=5.0)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()
