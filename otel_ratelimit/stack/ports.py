"""Which loopback ports the stack's programs serve on."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields

from otel_ratelimit.demo.errors import DemoError
from otel_ratelimit.demo.ports import LOOPBACK, choose_port


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
    with ExitStack() as held:
        return Ports(**{field.name: _held(held) for field in fields(Ports)})


def _held(held: ExitStack) -> int:
    # Kept until all are chosen, lest one be given twice.
    probe = held.enter_context(socket.socket())
    probe.bind((LOOPBACK, 0))
    port: int = probe.getsockname()[1]
    return port


def _free_or_any(usual: int) -> int:
    try:
        return choose_port(usual)
    except DemoError:
        return choose_port(0)
