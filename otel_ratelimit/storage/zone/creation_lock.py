"""One process of a user at a time makes files in a folder.

Four workers that start together would otherwise allocate four files to keep one, and a small /dev/shm has
room for one. The lock is `flock` on an empty file. The kernel releases it when its holder is killed. The
holder removes the file before it releases the lock, so that nothing is left behind. A process that gets a
lock on a removed file tries again with the next one. That also holds while a forked child has the descriptor.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from otel_ratelimit.core.clock import monotonic_time
from otel_ratelimit.core.deadline import seconds_left
from otel_ratelimit.core.errors import ZoneMemoryError
from otel_ratelimit.storage.zone.zone_files import fault_of, lock_path

MAX_SECONDS: Final = 5.0
"""How long a process waits for the one that makes a file, which may be stopped."""
_PAUSE_SECONDS: Final = 0.005


@contextlib.contextmanager
def only_maker(folder: Path, seconds: float = MAX_SECONDS) -> Iterator[None]:
    """No other process of this user is in such a block for this folder.

    Raises:
        ZoneMemoryError: another process did not finish in time, or the file is not one of ours.
        OSError: the file could not be opened or locked.
    """
    path = lock_path(folder)
    ends = monotonic_time() + seconds_left(seconds)
    while (descriptor := _open_locked(path)) is None:
        if monotonic_time() >= ends:
            instead = "end that process if it is stopped"
            raise ZoneMemoryError(str(path), "another process has locked it for too long", instead)
        time.sleep(_PAUSE_SECONDS)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _open_locked(path: Path) -> int | None:
    """A descriptor of the file, which is locked; None if another process has it or has just removed it."""
    import fcntl  # missing on Windows

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    is_ours = False
    try:
        found = os.fstat(descriptor)
        if fault := fault_of(found):
            raise ZoneMemoryError(str(path), fault, "remove it")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = os.path.samestat(found, path.lstat())
    except (BlockingIOError, FileNotFoundError):
        pass
    finally:
        if not is_ours:
            os.close(descriptor)
    return descriptor if is_ours else None
