"""The collector of `collector/`, as one node has it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from otel_ratelimit.demo.ports import LOOPBACK
from otel_ratelimit.stack.errors import StackError
from otel_ratelimit.stack.program import Program
from otel_ratelimit.stack.shipped import shipped

NAME: Final = "otelcol-ratelimit"
_HASH_CHARACTERS: Final = 16


@dataclass(frozen=True, slots=True)
class Collecting:
    """Where the collector serves, and where traces go."""

    otlp_port: int
    exporter_port: int
    telemetry_port: int
    health_port: int
    traces_endpoint: str


def find_collector(environ: Mapping[str, str]) -> Path:
    """The binary that `make collector` builds of the manifest as it is now.

    Raises:
        StackError: it has not been built.
    """
    manifest = (shipped("collector") / "builder.yaml").read_bytes()
    cache = environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - as the shell has it
    folder = (
        Path(cache) / "otel-ratelimit" / "collector" / hashlib.sha256(manifest).hexdigest()[:_HASH_CHARACTERS]
    )
    if not (folder / NAME).is_file():
        raise StackError(f"the collector has not been built: there is no {folder / NAME}", "make collector")
    return folder / NAME


def collector(collecting: Collecting, folder: Path, env: Mapping[str, str]) -> Program:
    """The collector, to be started in `folder`.

    Raises:
        StackError: it has not been built.
    """
    source = shipped("collector")
    here = {
        "OTELCOL_OTLP_GRPC": f"{LOOPBACK}:0",
        "OTELCOL_OTLP_HTTP": f"{LOOPBACK}:{collecting.otlp_port}",
        "OTELCOL_PROMETHEUS": f"{LOOPBACK}:{collecting.exporter_port}",
        "OTELCOL_TELEMETRY_PORT": str(collecting.telemetry_port),
        "OTELCOL_HEALTH": f"{LOOPBACK}:{collecting.health_port}",
        "OTELCOL_TRACES_EXPORTER": "otlp_http",
        "OTELCOL_TRACES_ENDPOINT": collecting.traces_endpoint,
        "OTELCOL_STORAGE": str(folder / "queue"),
        "OTELCOL_SPAN_METRICS_INTERVAL": "2s",
        "GOMEMLIMIT": "350MiB",
    }
    return Program(
        name="collector",
        command=[
            str(find_collector(env)),
            # privacy.yaml takes links off spans, which OTTL does not allow otherwise.
            "--feature-gates=ottl.set.allowNil",
            f"--config={source / 'privacy.yaml'}",
            f"--config={source / 'node.yaml'}",
        ],
        port=collecting.health_port,
        ready_path="/",
        folder=folder,
        env={**env, **here},
    )
