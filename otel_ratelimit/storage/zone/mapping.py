"""Memory that processes share: without a name, which a fork inherits, or as a file, which any process opens.

A file is only used if it is certainly ours: a regular file of this user that nobody else may open, of the
right size, with a head that the caller accepts. It appears under its name when it is complete, because it is
made under another name and then linked. A process that is killed halfway leaves a file that the next one
removes (`zone_files.remove_stale`).

The room is allocated when a file is made. Otherwise a write into a full /dev/shm would kill the process
(SIGBUS).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import mmap
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from otel_ratelimit.core.errors import ZoneMemoryError
from otel_ratelimit.core.thresholds import MEGABYTE
from otel_ratelimit.storage.zone.creation_lock import only_maker
from otel_ratelimit.storage.zone.zone_files import MODE, fault_of, remove_stale, temporary_path

_logger = logging.getLogger(__name__)

Prepare: TypeAlias = Callable[[mmap.mmap], None]
"""Writes the head of new memory. It is zero, or holds part of a head whose writer was killed."""
Check: TypeAlias = Callable[[mmap.mmap], str]
"""Why memory that another process has prepared cannot be used; empty if it can. A clause for a log line."""

_OPEN: Final = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_MAX_ATTEMPTS: Final = 10


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file in memory. It is unmapped when `memory` is garbage-collected; nobody has to close it."""

    memory: mmap.mmap
    is_new: bool
    """Whether this call made it."""


def anonymous(size: int) -> mmap.mmap:
    """Memory that processes forked from now on share with this one. A page costs nothing until it is used.

    Raises:
        ZoneMemoryError: the system refuses it, or has no such memory.
    """
    where = "shared memory"
    if not hasattr(mmap, "MAP_ANONYMOUS"):
        raise ZoneMemoryError(where, "this system has none for forked processes", "use Linux or macOS")
    flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    try:
        return mmap.mmap(-1, size, flags=flags)
    except OSError as error:
        raise _refused(where, size, error) from None


def open_file(path: Path, size: int, prepare: Prepare, check: Check) -> OpenedFile:
    """The memory of a file, which is made if it is missing. All processes that call this get the same file.

    A file of ours with another size, or one that `check` rejects, is replaced, and a warning says so.
    Processes that use the replaced file keep it.

    Args:
        path: a name in a folder that other users may also write to.
        size: in bytes.
        prepare: called for a new file, before other processes see it.
        check: called for a file that was there.

    Raises:
        ZoneMemoryError: the file is not ours, or could not be made.
    """
    with _explained(path, size):
        if (memory := _existing(path, size, check).memory) is not None:
            return OpenedFile(memory, is_new=False)
        with only_maker(path.parent):
            remove_stale(path.parent)
            return _opened_or_made(path, size, prepare, check)


def examine_file(path: Path, size: int, check: Check) -> tuple[str, str]:
    """The state of the file, and why `open_file` would replace it, empty if it would not. Nothing is changed.

    Raises:
        ZoneMemoryError: the file is not ours, or could not be made.
    """
    with _explained(path, size):
        found = _existing(path, size, check)
        if found.memory is not None:
            return "is there", ""
        temporary = temporary_path(path.parent)
        descriptor = os.open(temporary, _OPEN | os.O_CREAT | os.O_EXCL, MODE)
        try:
            _allocate(descriptor, size)
            return "can be made", found.rejected
        finally:
            os.close(descriptor)
            temporary.unlink(missing_ok=True)


def _opened_or_made(path: Path, size: int, prepare: Prepare, check: Check) -> OpenedFile:
    for _ in range(_MAX_ATTEMPTS):
        found = _existing(path, size, check)
        if found.memory is not None:
            return OpenedFile(found.memory, is_new=False)
        memory = _make(path, size, prepare, replaces=bool(found.rejected))
        if found.rejected:
            _logger.warning("%s cannot be used: %s; a new one was made", path, found.rejected)
        if memory is not None:
            return OpenedFile(memory, is_new=True)
    raise ZoneMemoryError(str(path), "other processes make and remove it all the time", "use another name")


@dataclass(frozen=True, slots=True)
class _Existing:
    """Memory under a name that can be used, or a file of ours that cannot, or nothing."""

    memory: mmap.mmap | None = None
    rejected: str = ""


def _existing(path: Path, size: int, check: Check) -> _Existing:
    try:
        # Without O_NONBLOCK, a pipe under this name could make the process wait.
        descriptor = os.open(path, _OPEN | os.O_NONBLOCK)
    except FileNotFoundError:
        return _Existing()
    except OSError:
        _refuse_others(path, path.lstat())
        raise
    try:
        found = os.fstat(descriptor)
        _refuse_others(path, found)
        if found.st_size != size:
            return _Existing(rejected=f"it has {found.st_size} bytes, and {size} are needed")
        memory = mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)
    rejected = check(memory)
    return _Existing(rejected=rejected) if rejected else _Existing(memory)


def _refuse_others(path: Path, found: os.stat_result) -> None:
    if fault := fault_of(found):
        raise ZoneMemoryError(str(path), fault, "remove it, or use another name")


def _make(path: Path, size: int, prepare: Prepare, *, replaces: bool) -> mmap.mmap | None:
    """Make the file, complete from the first moment; None if another process was faster."""
    temporary = temporary_path(path.parent)
    descriptor = os.open(temporary, _OPEN | os.O_CREAT | os.O_EXCL, MODE)
    try:
        _allocate(descriptor, size)
        memory = mmap.mmap(descriptor, size)
        prepare(memory)
        if replaces:
            temporary.rename(path)
        else:
            path.hardlink_to(temporary)
    except FileExistsError:
        return None
    else:
        return memory
    finally:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)


def _allocate(descriptor: int, size: int) -> None:
    """Let the file have this size, and the room for it."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    while (written := os.fstat(descriptor).st_size) < size:  # macOS
        os.write(descriptor, bytes(min(MEGABYTE, size - written)))


@contextlib.contextmanager
def _explained(path: Path, size: int) -> Iterator[None]:
    """Turn what the system says into an error that says what to do."""
    try:
        yield
    except ImportError:  # of `fcntl`
        raise ZoneMemoryError(str(path), "this system cannot lock files", "use Linux or macOS") from None
    except OSError as error:
        folder = path.parent
        if error.errno == errno.ENOMEM:
            raise _refused(str(path), size, error) from None
        if error.errno in _NO_ROOM:
            what = f"{size / MEGABYTE:.1f} MB are needed, and {_room(folder) / MEGABYTE:.1f} MB are free"
            instead = f"choose a smaller capacity, or make {folder} larger (docker run --shm-size)"
        else:
            what = f"it could not be made or opened ({error.strerror or error})"
            instead = (
                f"user {os.geteuid()} must be able to write to {folder}, on a file system with hard links"
            )
        raise ZoneMemoryError(str(path), what, instead) from None


def _refused(where: str, size: int, error: OSError) -> ZoneMemoryError:
    what = f"the system refuses {size / MEGABYTE:.1f} MB of address space ({error.strerror})"
    return ZoneMemoryError(where, what, "choose a smaller capacity, or raise the limit (ulimit -v)")


def _room(folder: Path) -> int:
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize
