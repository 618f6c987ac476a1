"""Which loopback port to serve on, and who is in the way."""

from __future__ import annotations

import socket
import time

import psutil

from otel_ratelimit.demo.errors import WRONG_USE, DemoError

LOOPBACK = "127.0.0.1"
_LAST_PORT = 65535


def choose_port(wanted: int, patience: float = 0.0) -> int:
    """`wanted` if it is free, or becomes so within `patience` seconds; any free one for 0.

    Raises:
        DemoError: something else listens there.
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
                    f"choose another with --port {other}, or --port 0 for any that is free",
                    exit_status=WRONG_USE,
                ) from None
        time.sleep(0.1)


def _bind(wanted: int) -> int:
    with socket.socket() as probe:
        # As servers do: connections of an earlier server that still linger are no hindrance.
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
