"""Which memory the next RateLimit of a process gets, so that the workers of a server share it.

There are three ways, in this order:

1. The server reserved memory before it forked (`reserve`). It serves the first RateLimit of each process,
   unless an ancestor has used it since the reservation.
2. A worker opens a file that is named after its server. Its siblings find the same file.
3. Any other process makes memory of its own. Children that are forked later inherit it with the RateLimit.

A process counts the RateLimits that it opens. The first one of a worker shares memory with the first one of
each sibling, the second one with the second one, and so on. Those that a worker has inherited keep their
memory and are not counted.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import mmap
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from otel_ratelimit.core.lifecycle import at_exit, at_fork
from otel_ratelimit.storage.zone.mapping import Check, Prepare, anonymous, open_file
from otel_ratelimit.storage.zone.process_tree import (
    ProcessIdentity,
    is_forked_worker,
    lives,
    server_identity,
)
from otel_ratelimit.storage.zone.reservation import Reservation, reserve_memory
from otel_ratelimit.storage.zone.zone_files import named_path, server_path, zone_folder

_logger = logging.getLogger(__name__)


Origin: TypeAlias = Literal["reserved", "server", "named", "own"]
"""`reserved`: by the server before it forked; `server`: a file of the server; `named`: a file that a URI
names; `own`: made by one process, and inherited by those that it forks."""


@dataclass(frozen=True, slots=True)
class ZoneMemory:
    """The memory of a zone. It is unmapped when `memory` is garbage-collected; nobody has to close it.

    A zone of a process alone is gone with that. Files of a server and of a name stay.
    """

    memory: mmap.mmap
    """At least as long as what was asked for; memory that was reserved is longer."""
    origin: Origin
    path: Path | None
    """The file, if it is one."""
    is_new: bool
    """Whether this call prepared it."""
    lock_file: int | None = None
    """A descriptor of a file that the same processes have; None if they have `path`, or none but this one."""


class ServerZones:
    """Memory for the RateLimits of this process.

    Args:
        folder: of the files; looked up when one is needed.
    """

    def __init__(self, folder: Callable[[], Path] = zone_folder) -> None:
        self._folder = folder
        self._reservation: Reservation | None = None
        self._has_reserved = False
        # By process, because Python's hooks do not run at a fork in C (uWSGI).
        self._numbers: dict[int, Iterator[int]] = {}
        self._files: dict[Path, ProcessIdentity] = {}
        at_fork(in_child=self._forget_numbers)
        at_exit(self._remove_files_of_ended_servers)

    def reserve(self) -> None:
        """Reserve memory for workers that this process may fork. Call it early; it never raises.

        In a worker it does nothing: what that reserves, its siblings do not inherit.
        """
        try:
            if not self._has_reserved and not is_forked_worker():
                self._has_reserved = True
                self._reservation = reserve_memory()
        except Exception:
            # The process must run without it.
            _logger.exception("no memory could be reserved for worker processes; they will share a file")

    def release(self) -> None:
        """Give the reservation back, unless a RateLimit of this process has it."""
        reservation, self._reservation = self._reservation, None
        self._has_reserved = False
        if reservation is not None:
            reservation.close()

    def memory_for_next(self, size: int, prepare: Prepare, check: Check) -> ZoneMemory:
        """Memory for the next RateLimit that is opened in this process; see the top of this module.

        Args:
            size: in bytes.
            prepare: writes the head of new memory; one process at a time calls it.
            check: says why memory that another process prepared cannot be used, "" if it can.

        Raises:
            ZoneMemoryError: siblings share a file, and it cannot be made or opened; or there is no memory.
        """
        # Both are atomic, so threads need no lock; one could be held by another thread at a fork in C.
        number = next(self._numbers.setdefault(os.getpid(), itertools.count(1)))
        if number == 1 and (reserved := self._reserved(size, prepare, check)) is not None:
            return reserved
        server = server_identity()
        if server is not None:
            path = server_path(self._folder(), server, number, size)
            opened = open_file(path, size, prepare, check)
            self._files[path] = server
            return ZoneMemory(opened.memory, "server", path, opened.is_new)
        memory = anonymous(size)
        prepare(memory)
        return ZoneMemory(memory, "own", None, is_new=True)

    def _reserved(self, size: int, prepare: Prepare, check: Check) -> ZoneMemory | None:
        """The reservation, for the first RateLimit only; a later one of this process would mix with it."""
        reservation, self._reservation = self._reservation, None
        if reservation is None:
            return None
        used = reservation.use(size, prepare, check)
        return (
            None if used is None else ZoneMemory(used.memory, "reserved", None, used.is_new, used.lock_file)
        )

    def _forget_numbers(self) -> None:
        self._numbers = {}

    def _remove_files_of_ended_servers(self) -> None:
        """Remove what nobody can open any more: a server that was killed forks no worker.

        A server that is being stopped waits for its workers, so it still lives here, as it does when a worker
        is replaced. Then the file stays, and the next start removes it.
        """
        for path, server in self._files.items():
            if not lives(server):
                with contextlib.suppress(OSError):  # a sibling was faster
                    path.unlink()


def named_memory(
    name: str,
    size: int,
    prepare: Prepare,
    check: Check,
    folder: Callable[[], Path] = zone_folder,
) -> ZoneMemory:
    """The memory of this name, which all processes of this user on this host share.

    Args:
        name: from the URI.
        size: in bytes.
        prepare: as for `ServerZones.memory_for_next`.
        check: as above.
        folder: of the files.

    Raises:
        ZoneMemoryError: the file cannot be made or opened, or is not ours.
    """
    path = named_path(folder(), name)
    opened = open_file(path, size, prepare, check)
    return ZoneMemory(opened.memory, "named", path, opened.is_new)


ZONES: Final = ServerZones()
"""That of this process."""
reserve: Final = ZONES.reserve
release: Final = ZONES.release
