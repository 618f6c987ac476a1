"""The collector that `make collector` builds, on its real configurations (see collector/README.md)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

from otel_ratelimit.demo.ports import LOOPBACK, quiet_ports
from otel_ratelimit.demo.stack.errors import StackError
from otel_ratelimit.demo.stack.running_program import Program
from otel_ratelimit.postgres.embedded.supervised_process import Launch

PROGRAM: Final = "otelcol-ratelimit"
OVERRIDE: Final = "OTELCOL_PROGRAM"
"""Variable with the path of a collector that was built elsewhere."""
FEATURE_GATES: Final = ("--feature-gates=ottl.set.allowNil",)
"""Explained in privacy.yaml."""
CONFIGURATIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "node": ("privacy", "base", "node"),
    "agent": ("privacy", "base", "agent"),
    "gateway": ("privacy", "base", "node", "gateway"),
}
"""The files of each role, in the order in which they are given."""
_HASH_DIGITS: Final = 16
_GRACE_SECONDS: Final = 20.0
"""Time for writing what is in memory to the queue on disk."""


def configuration_folder() -> Path:
    """Where `builder.yaml` and the configurations are.

    Raises:
        StackError: this installation has none.
    """
    package = Path(__file__).parents[2]
    for folder in (package / "_shipped" / "collector", package.parent / "collector"):
        if (folder / "builder.yaml").is_file():
            return folder
    raise StackError("the folder collector/ is not part of this installation", "install otel-ratelimit again")


def built_program(environ: Mapping[str, str], folder: Path) -> Path:
    """The collector for the manifest in `folder`; collector/build.sh computes the same path.

    Raises:
        StackError: it has not been built.
    """
    named = environ.get(OVERRIDE)
    if named:
        program = Path(named)
        if not os.access(program, os.X_OK):
            raise StackError(f"{OVERRIDE} names {program}, which is not a program", "correct or unset it")
        return program
    digest = hashlib.sha256((folder / "builder.yaml").read_bytes()).hexdigest()[:_HASH_DIGITS]
    cache = Path(environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", "~")).expanduser() / ".cache")
    program = cache / "otel-ratelimit" / "collector" / digest / PROGRAM
    if not os.access(program, os.X_OK):
        raise StackError(
            f"the collector has not been built: {program} does not exist", "make collector (needs Go)"
        )
    return program


@dataclass(frozen=True, slots=True)
class CollectorAddresses:
    """The ports on which it listens, on loopback."""

    otlp_grpc: int
    otlp_http: int
    prometheus: int
    """Metrics of the applications and of their spans."""
    telemetry: int
    """Metrics of the collector itself."""
    health: int

    @classmethod
    def free(cls) -> CollectorAddresses:
        """Free ports."""
        return cls(*quiet_ports(len(fields(cls))))

    @property
    def endpoint(self) -> str:
        """For `OTEL_EXPORTER_OTLP_ENDPOINT` with `http/protobuf`."""
        return f"http://{LOOPBACK}:{self.otlp_http}"

    def environment(self) -> dict[str, str]:
        """The variables that the configurations read."""
        return {
            "OTELCOL_OTLP_GRPC": f"{LOOPBACK}:{self.otlp_grpc}",
            "OTELCOL_OTLP_HTTP": f"{LOOPBACK}:{self.otlp_http}",
            "OTELCOL_PROMETHEUS": f"{LOOPBACK}:{self.prometheus}",
            "OTELCOL_TELEMETRY_HOST": LOOPBACK,
            "OTELCOL_TELEMETRY_PORT": str(self.telemetry),
            "OTELCOL_HEALTH": f"{LOOPBACK}:{self.health}",
        }


@dataclass(frozen=True, slots=True)
class Collector:
    """One collector: its configuration, where it listens and where it sends."""

    addresses: CollectorAddresses
    scratch: Path
    """The folder of its queue and its log; both are kept when it ends."""
    traces_endpoint: str | None
    """Base URL of an OTLP/HTTP receiver for traces; None without a trace backend."""
    role: str = "node"
    """A key of `CONFIGURATIONS`."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Further `OTELCOL_*` variables."""
    more_files: Sequence[Path] = ()
    """Configurations on top, such as tls.yaml."""

    @property
    def log(self) -> Path:
        """The file with its output."""
        return self.scratch / "collector.log"

    @property
    def storage(self) -> Path:
        """Its queue on disk."""
        return self.scratch / "queue"

    def program(self, environ: Mapping[str, str]) -> Program:
        """How to start it.

        Args:
            environ: of this process; its `OTELCOL_*` variables are not passed on.

        Raises:
            StackError: the collector has not been built.
        """
        folder = configuration_folder()
        return Program(
            name="the collector",
            launch=Launch(
                command=[str(built_program(environ, folder)), *self.arguments(folder)],
                log=self.log,
                env={**_without_settings(environ), **self.environment()},
                cwd=self.scratch,
                grace=_GRACE_SECONDS,
            ),
            ready_url=f"http://{LOOPBACK}:{self.addresses.health}/",
        )

    def arguments(self, folder: Path) -> list[str]:
        """Its command line after the program's name."""
        files = (folder / f"{name}.yaml" for name in CONFIGURATIONS[self.role])
        return [*FEATURE_GATES, *(f"--config={file}" for file in (*files, *self.more_files))]

    def environment(self) -> dict[str, str]:
        """Its `OTELCOL_*` variables."""
        traces = {"OTELCOL_TRACES_EXPORTER": "nop"}
        if self.traces_endpoint is not None:
            traces = {
                "OTELCOL_TRACES_EXPORTER": "otlp_http",
                "OTELCOL_TRACES_ENDPOINT": self.traces_endpoint,
            }
        return {
            **self.addresses.environment(),
            **traces,
            "OTELCOL_STORAGE": str(self.storage),
            **self.settings,
        }


def _without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not name.startswith(("OTELCOL_", "OTEL_"))}
