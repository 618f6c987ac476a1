"""The folder of one run, and the removal of folders that killed runs have left.

A run holds a lock on its folder for as long as it lives. The kernel releases the lock however the process
ends, so a folder without a lock was left behind; no process id is needed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from otel_ratelimit.demo.errors import WRONG_USE, DemoError
from otel_ratelimit.postgres.embedded.stale_server import stop_stale_server

PREFIX = "otel-ratelimit-demo-"
_LOCK = "lock"
_TOO_YOUNG_SECONDS = 30.0
"""A younger folder without a lock file may belong to a run that is just starting."""


@contextmanager
def workspace(parent: Path) -> Iterator[Path]:
    """A new folder in `parent`, removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    try:
        with locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process.

    Raises:
        DemoError: another process holds it.
    """
    with (folder / _LOCK).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(
                f"{folder} is in use by another running demo",
                "stop that demo first, or choose another folder with --keep-data",
                exit_status=WRONG_USE,
            ) from None
        yield


def clear_leftovers(parent: Path) -> list[str]:
    """Stop and remove what killed runs left in `parent`; one sentence for each."""
    return [
        f"removed what an earlier demo that was killed had left: {folder}"
        for folder in sorted(parent.glob(f"{PREFIX}*"))
        if _clear(folder)
    ]


def _clear(folder: Path) -> bool:
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
            return False
        if not (folder / _LOCK).exists() and time.time() - folder.stat().st_mtime < _TOO_YOUNG_SECONDS:
            return False
        with locked(folder):
            stop_stale_server(folder / "data")
            shutil.rmtree(folder, ignore_errors=True)
    except (DemoError, OSError):
        return False
    return True
