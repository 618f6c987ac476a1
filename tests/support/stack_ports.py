"""Ports for the demo's stack that no other process uses."""

from __future__ import annotations

from dataclasses import fields

from otel_ratelimit.demo.ports import quiet_ports
from otel_ratelimit.demo.stack.ports import Ports


def any_ports() -> Ports:
    """Free ports, no two alike."""
    return Ports(*quiet_ports(len(fields(Ports))))
