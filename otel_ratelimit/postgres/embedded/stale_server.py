"""Stops a PostgreSQL server that still runs on its data after the process that started it was killed."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psutil


def stop_stale_server(data: Path, timeout: float = 10.0) -> int | None:
    """Stop a PostgreSQL that still runs on `data`; its process id if there was one.

    The caller must hold the lock of `data`.
    """
    process = _postgres_on(data)
    if process is None:
        return None
    try:
        process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + timeout
        # A zombie has ended; in a container there may be no process that reaps it.
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                process.kill()
                break
            time.sleep(0.02)
    except psutil.NoSuchProcess:
        pass  # it has just ended
    return process.pid


def _postgres_on(data: Path) -> psutil.Process | None:
    try:
        process = psutil.Process(int((data / "postmaster.pid").read_text(encoding="ascii").split()[0]))
        return process if str(data) in process.cmdline() else None
    except (OSError, ValueError, IndexError, psutil.NoSuchProcess, psutil.AccessDenied):
        return None
