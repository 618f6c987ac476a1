"""Whether a process has ended."""

from __future__ import annotations

import psutil


def runs(pid: int) -> bool:
    """False as well for a zombie: it has ended, and waits for a parent that may never take note of it."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
