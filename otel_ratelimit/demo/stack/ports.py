"""The loopback ports of the stack's programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from otel_ratelimit.demo.errors import DemoError
from otel_ratelimit.demo.ports import choose_port, quiet_ports


@dataclass(frozen=True, slots=True)
class Ports:
    """The port of each program; the default is the one that its users know."""

    application: int = 8000
    otlp_grpc: int = 4317
    otlp: int = 4318
    exporter: int = 8889
    telemetry: int = 8888
    health: int = 13133
    prometheus: int = 9090
    alertmanager: int = 9093


def usual_ports() -> Ports:
    """The default ports; a free one in place of each that is taken."""
    return Ports(**{name: _free_or_any(port) for name, port in asdict(Ports()).items()})


def _free_or_any(usual: int) -> int:
    try:
        return choose_port(usual)
    except DemoError:
        [port] = quiet_ports(1)
        return port
