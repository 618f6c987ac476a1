"""Which loopback ports the stack's programs serve on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from otel_ratelimit.demo.errors import DemoError
from otel_ratelimit.demo.ports import choose_port, quiet_ports


@dataclass(frozen=True, slots=True)
class Ports:
    """Each with the number that its users know it by."""

    application: int = 8000
    otlp_grpc: int = 4317
    otlp: int = 4318
    exporter: int = 8889
    telemetry: int = 8888
    health: int = 13133
    prometheus: int = 9090
    alertmanager: int = 9093


def usual_ports() -> Ports:
    """Those that everybody knows, and in place of each that is taken any that is free."""
    return Ports(**{name: _free_or_any(port) for name, port in asdict(Ports()).items()})


def any_ports() -> Ports:
    """Free ones, no two alike."""
    return Ports(*quiet_ports(len(fields(Ports))))


def _free_or_any(usual: int) -> int:
    try:
        return choose_port(usual)
    except DemoError:
        [port] = quiet_ports(1)
        return port
