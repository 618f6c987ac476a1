"""Finds a free loopback port, or says which process uses the wanted one."""

from __future__ import annotations

import random
import socket
import time
from contextlib import ExitStack

import psutil

from otel_ratelimit.demo.errors import WRONG_USE, DemoError

LOOPBACK = "127.0.0.1"
_LAST_PORT = 65535
_QUIET = range(15_000, 32_000)


def choose_port(wanted: int, patience: float = 0.0) -> int:
    """The port `wanted` if it is free, or becomes free within `patience` seconds; any free port for 0.

    Raises:
        DemoError: another process uses the port.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return _bind(wanted)
        except OSError as error:
            if time.monotonic() > deadline:
                other = wanted + 1 if 0 < wanted < _LAST_PORT else 8001
                raise DemoError(
                    f"port {wanted} cannot be used: {_who_listens(wanted) or error.strerror}",
                    f"choose another with --port {other}, or --port 0 for any free port",
                    exit_status=WRONG_USE,
                ) from None
        time.sleep(0.1)


def quiet_ports(count: int) -> list[int]:
    """Free ports, no two alike, outside the range from which systems choose ports.

    Systems choose ports for port 0 and for outgoing connections from 32768 on (Linux): such a port could be
    taken between its choice and its use.
    """
    with ExitStack() as held:
        chosen: list[int] = []
        while len(chosen) < count:
            probe = held.enter_context(socket.socket())
            candidate = random.randrange(_QUIET.start, _QUIET.stop)
            try:
                probe.bind((LOOPBACK, candidate))
            except OSError:
                continue
            chosen.append(candidate)
    return chosen


def _bind(wanted: int) -> int:
    with socket.socket() as probe:
        # As servers do: remaining connections of an earlier server do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((LOOPBACK, wanted))
        port: int = probe.getsockname()[1]
        return port


def _who_listens(port: int) -> str:
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return ""
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
            return f"{_describe(connection.pid)} listens there"
    return ""


def _describe(pid: int | None) -> str:
    if pid is None:
        return "a process of another user"
    try:
        return f"process {pid} ({psutil.Process(pid).name()})"
    except psutil.NoSuchProcess:
        return f"process {pid}"
