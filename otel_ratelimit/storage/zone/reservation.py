"""Memory that a server makes before it forks, so that its workers inherit it without a name or a file.

When OpenTelemetry's loader imports us in the server, nothing is known about the zone yet, not even its size.
So a large piece of address space is reserved. It costs nothing until it is used. The first worker that needs
a zone prepares it, and the others find it prepared.

Two processes must not prepare it at the same time, and one that is killed must not keep the lock. So the
lock is `fcntl.lockf` on an empty file without a name, whose descriptor the workers inherit as well. A server
that becomes a daemon may close that descriptor. Then none of its workers can use the reservation.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Final

from otel_ratelimit.core.clock import monotonic_time
from otel_ratelimit.core.deadline import seconds_left
from otel_ratelimit.core.errors import ZoneMemoryError
from otel_ratelimit.storage.zone.mapping import Check, Prepare, anonymous

_logger = logging.getLogger(__name__)

RESERVED_BYTES: Final = 256 * 2**20
LEAST_RESERVED_BYTES: Final = 2**20
SHARE_OF_LIMIT: Final = 1 / 8
"""The part of a limit of address space (`ulimit -v`) that a reservation may use."""
MAX_SECONDS: Final = 2.0
"""How long a worker waits for the one that prepares the memory, which may be stopped."""
_PAUSE_SECONDS: Final = 0.002
_IS_PREPARED: Final = 1


@dataclass(frozen=True, slots=True)
class ReservedMemory:
    """A reservation in use. `memory` may be longer than what was asked for."""

    memory: mmap.mmap
    is_new: bool
    """Whether this process prepared it."""
    lock_file: int
    """A descriptor of a file that all processes with the memory have, for a lock; its user closes it."""


class Reservation:
    """One piece of memory for all processes that inherit it.

    Raises:
        ZoneMemoryError: the system refuses the memory.
        OSError: the file of the lock could not be made.
    """

    def __init__(self, size: int) -> None:
        self._memory = anonymous(size)
        self._state = anonymous(mmap.PAGESIZE)
        self._descriptor = _file_without_name()
        self._file = os.fstat(self._descriptor)

    def use(self, size: int, prepare: Prepare, check: Check) -> ReservedMemory | None:
        """The memory, prepared; None if it is too small, prepared for something else, or cannot be locked.

        Args:
            size: bytes that are needed.
            prepare: called in the first process.
            check: called in the others.
        """
        if size > len(self._memory) or not self._lock():
            return None
        try:
            if self._state[0] == _IS_PREPARED:
                return self._checked(check)
            prepare(self._memory)
            self._state[0] = _IS_PREPARED
            return ReservedMemory(self._memory, is_new=True, lock_file=os.dup(self._descriptor))
        finally:
            self.close()

    def close(self) -> None:
        """Close the file of the lock, which unlocks it. The memory stays while something refers to it."""
        if self._is_open():
            os.close(self._descriptor)
        self._descriptor = -1

    def _checked(self, check: Check) -> ReservedMemory | None:
        if not (rejected := check(self._memory)):
            return ReservedMemory(self._memory, is_new=False, lock_file=os.dup(self._descriptor))
        # Usual after a reload with another capacity or version.
        _logger.info("memory that the server reserved cannot be used: %s; the workers share a file", rejected)
        return None

    def _lock(self) -> bool:
        try:
            import fcntl
        except ImportError:  # as on Windows, where no memory can be reserved either
            return False

        ends = monotonic_time() + seconds_left(MAX_SECONDS)
        while self._is_open():
            with contextlib.suppress(OSError):
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            if monotonic_time() >= ends:
                break
            time.sleep(_PAUSE_SECONDS)
        return False

    def _is_open(self) -> bool:
        """Whether the descriptor is still that of our file: others may have closed it and used its number."""
        try:
            return os.path.samestat(self._file, os.fstat(self._descriptor))
        except OSError:
            return False


def reserve_memory() -> Reservation | None:
    """As much as the system allows, up to 256 MB; None if it allows less than one."""
    size = min(RESERVED_BYTES, _share_of_limit())
    while size >= LEAST_RESERVED_BYTES:
        with contextlib.suppress(ZoneMemoryError, OSError):
            return Reservation(size)
        size //= 2
    return None


def _share_of_limit() -> int:
    if not hasattr(mmap, "MAP_ANONYMOUS"):
        return 0
    import resource  # missing on Windows

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return RESERVED_BYTES
    return int(limit * SHARE_OF_LIMIT) // mmap.PAGESIZE * mmap.PAGESIZE


def _file_without_name() -> int:
    if sys.platform == "linux":
        return os.memfd_create("otel-ratelimit-lock", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
