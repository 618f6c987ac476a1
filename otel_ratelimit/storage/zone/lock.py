"""The lock between the processes that share a zone.

On Linux this is a mutex of the threads library in the zone itself, "process-shared" and "robust": if its
owner dies, the next process gets it and is told so. Where the threads library has no robust mutexes (macOS),
it is a lock on a file, which the system releases when its owner dies, together with a lock between the
threads of this process.

A process that is stopped (SIGSTOP) while it holds the lock would make all others wait. So nobody waits
longer than `MAX_WAIT_SECONDS`.

`try_lock` and `unlock` are called for every request, so they are plain functions of C where that is possible.
They keep Python's own lock (the GIL), because they take less time than it would take to release it; only
waiting releases it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from mmap import mmap
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from otel_ratelimit.core.lifecycle import at_fork

MAX_WAIT_SECONDS: Final = 0.04
LOCK_BYTES: Final = 128
"""Room for a mutex on any platform (40 bytes on x86-64 with glibc, 48 on aarch64)."""

LockKind: TypeAlias = Literal["mutex", "file"]

_SHARED: Final = 1  # PTHREAD_PROCESS_SHARED
_ROBUST: Final = 1  # PTHREAD_MUTEX_ROBUST
_ATTRIBUTE_BYTES: Final = 64
_POLL_SECONDS: Final = 0.0005
_FUTEX_TID_MASK: Final = 0x3FFFFFFF
_MUSL_OWNER_AT: Final = 4
_FLOCK: Final = "hhqqi4x"
"""`struct flock` of Linux with 64 bits: kind, what the start counts from, start, length, process."""


def is_supported() -> bool:
    """Whether the threads library has robust mutexes."""
    if os.name != "posix":
        return False
    library = ctypes.CDLL(None)
    return hasattr(library, "pthread_mutexattr_setrobust") and hasattr(library, "pthread_mutex_timedlock")


def default_lock_kind() -> LockKind:
    """The kind of lock for this platform."""
    return "mutex" if is_supported() else "file"


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class RobustMutex:
    """A mutex at `offset` in `memory`.

    Args:
        memory: the zone, which must stay open as long as this object lives.
        offset: a multiple of 64.
    """

    kind: LockKind = "mutex"
    try_lock: Callable[[Any], int]
    """(handle): 0 if this process now has the lock; EBUSY if another has it; EOWNERDEAD if this process
    has it now and the last owner died."""
    unlock: Callable[[Any], int]
    """(handle): releases the lock."""
    handle: Any
    """The argument of both."""

    def __init__(self, memory: mmap, offset: int) -> None:
        self._buffer = (ctypes.c_char * LOCK_BYTES).from_buffer(memory, offset)
        self.handle = ctypes.byref(self._buffer)  # of all forms of an address, it is passed in the least time
        python, system = ctypes.PyDLL(None), ctypes.CDLL(None)
        self.try_lock = python.pthread_mutex_trylock
        self.unlock = python.pthread_mutex_unlock
        self._consistent = python.pthread_mutex_consistent
        self._wait, self._clock = _timed_lock(system)
        self._owner_at = 0 if platform.libc_ver()[0] == "glibc" else _MUSL_OWNER_AT

    def prepare(self) -> None:
        """Make the mutex, in a zone that no other process has yet."""
        library = ctypes.CDLL(None)
        attributes = (ctypes.c_char * _ATTRIBUTE_BYTES)()
        steps = (
            library.pthread_mutexattr_init(attributes),
            library.pthread_mutexattr_setpshared(attributes, _SHARED),
            library.pthread_mutexattr_setrobust(attributes, _ROBUST),
            library.pthread_mutex_init(self.handle, attributes),
        )
        failed = next((code for code in steps if code), 0)
        if failed:
            raise OSError(failed, f"a mutex between processes cannot be made: {os.strerror(failed)}")

    def wait(self) -> int:
        """Wait for the lock, for `MAX_WAIT_SECONDS` at most; the answers are those of `try_lock`."""
        until = time.clock_gettime_ns(self._clock) + int(MAX_WAIT_SECONDS * 1e9)
        moment = _TimeSpec(until // 1_000_000_000, until % 1_000_000_000)
        code: int = self._wait(self.handle, ctypes.byref(moment))
        return errno.EBUSY if code == errno.ETIMEDOUT else code

    def owner(self) -> int:
        """The number of the thread that has the lock; 0 if none has it."""
        # The kernel finds the owner of a robust mutex by this word, so it will stay (futex(2)).
        return ctypes.c_uint32.from_buffer(self._buffer, self._owner_at).value & _FUTEX_TID_MASK

    def accept(self) -> None:
        """After EOWNERDEAD: the zone is in order again."""
        self._consistent(self.handle)

    def give_up(self, finish: Callable[[], object]) -> None:
        """Release the lock if this thread has it, after `finish` has put the zone in order."""
        if self.owner() == threading.get_native_id():
            finish()
            self.accept()
            self.unlock(self.handle)


def _timed_lock(library: ctypes.CDLL) -> tuple[Callable[..., int], int]:
    """(a function of a mutex and a moment that waits until then, the clock that it goes by)."""
    try:
        by_clock = library.pthread_mutex_clocklock
    except AttributeError:  # musl, and glibc before 2.30
        return library.pthread_mutex_timedlock, time.CLOCK_REALTIME
    monotonic = time.CLOCK_MONOTONIC
    return lambda handle, moment: int(by_clock(handle, monotonic, moment)), monotonic


class FileLock:
    """A lock on a file: the zone's own, or an unlinked one that forked processes inherit.

    The locks are those of `fcntl` and belong to a process. So a forked child does not hold them, and the file
    must not be opened a second time in the same process, because closing that would release the lock.

    Args:
        path: the file; None makes one without a name, for this process and those that it forks.
        dirty: whether a change was left half made; asked when the lock has been taken.
        descriptor: of a file that is open already; this object closes it.
    """

    kind: LockKind = "file"

    def __init__(self, path: Path | None, dirty: Callable[[], bool], descriptor: int | None = None) -> None:
        import fcntl  # missing on Windows, where there are no zones

        self._fcntl = fcntl
        if descriptor is not None:
            self._file = descriptor
        elif path is None:
            self._file, name = tempfile.mkstemp(prefix="otel-ratelimit-lock-")
            Path(name).unlink()
        else:
            self._file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._dirty = dirty
        self.handle: Any = None
        self._threads = threading.RLock()
        at_fork(in_child=self._renew)

    def prepare(self) -> None:
        """Do nothing: the file is enough."""

    def try_lock(self, _handle: Any) -> int:
        """See `RobustMutex.try_lock`."""
        return self._try_file() if self._threads.acquire(blocking=False) else errno.EBUSY

    def _try_file(self) -> int:
        """As `try_lock`, when this thread has the lock between threads; it keeps that unless it fails."""
        # If this thread has the lock already, an exception has kept it from releasing it. Then it goes on.
        try:
            self._fcntl.lockf(self._file, self._fcntl.LOCK_EX | self._fcntl.LOCK_NB)
        except OSError:
            self._release_threads()
            return errno.EBUSY
        return errno.EOWNERDEAD if self._dirty() else 0

    def unlock(self, _handle: Any) -> int:
        """See `RobustMutex.unlock`."""
        if not self._threads.acquire(blocking=False):
            return errno.EPERM  # another thread has the lock
        self._fcntl.lockf(self._file, self._fcntl.LOCK_UN)
        self._release_threads()
        return 0

    def wait(self) -> int:
        """See `RobustMutex.wait`."""
        until = time.monotonic() + MAX_WAIT_SECONDS
        code = errno.EBUSY
        while code == errno.EBUSY and (left := until - time.monotonic()) > 0.0:
            # Waiting for other threads must not need the interpreter, which they keep busy.
            if self._threads.acquire(timeout=left):
                code = self._try_file()
                if code == errno.EBUSY:
                    time.sleep(_POLL_SECONDS)
        return code

    def owner(self) -> int:
        """See `RobustMutex.owner`; the number is that of the process, 0 also for a thread of this one.

        Where the system's `struct flock` is not known, the answer is -1, which is no process.
        """
        if sys.platform != "linux":
            return -1
        asked = struct.pack(_FLOCK, self._fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, self._fcntl.fcntl(self._file, self._fcntl.F_GETLK, asked))
        return 0 if kind == self._fcntl.F_UNLCK else int(pid)

    def accept(self) -> None:
        """See `RobustMutex.accept`."""

    def give_up(self, _finish: Callable[[], object]) -> None:
        """See `RobustMutex.give_up`; the next `try_lock` sees whether something is to be finished."""
        self.unlock(None)

    def _release_threads(self) -> None:
        """Release the lock between threads, however often this thread has taken it."""
        with contextlib.suppress(RuntimeError):
            while True:
                self._threads.release()

    def _renew(self) -> None:
        self._threads = threading.RLock()

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.close(self._file)


ZoneLock: TypeAlias = RobustMutex | FileLock
