"""Waiting that works under gevent and eventlet, whenever they patch the standard library.

A primitive that was made before the patch blocks the whole process, because all its greenlets share one
thread: a C-level queue or lock waits in the kernel while the greenlet that would release it cannot run. So a
wait uses a file descriptor (both patch `select`), a lock is made with what `threading` holds when it is used,
and a forked child inherits neither.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import sys
import threading
from collections.abc import Callable
from typing import Any

from otel_ratelimit.core.deadline import seconds_left


def ready(descriptor: int, seconds: float, *, to_write: bool = False) -> bool:
    """Whether `descriptor` can be read from (or written to) within `seconds`."""
    # eventlet removes `poll`. Elsewhere it is better, because `select` cannot wait for descriptors above
    # 1023.
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT if to_write else select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    readers, writers = ([], [descriptor]) if to_write else ([descriptor], [])
    return any(select.select(readers, writers, [], seconds))


def in_greenlet() -> bool:
    """Whether this runs in a greenlet of gevent or eventlet, which lives on in a forked child."""
    greenlet = sys.modules.get("greenlet")
    return greenlet is not None and greenlet.getcurrent().parent is not None


class Bell:
    """Wakes the one thread that waits for it. A signal handler and any thread may ring it."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._is_rung = self._is_closed = False
        self._process = os.getpid()

    def ring(self) -> None:
        """Wake the waiting thread, or let the next wait end at once."""
        # At most one byte: eventlet would wait for room in a full pipe.
        if not self._is_rung and not self._is_closed:
            self._is_rung = True
            with contextlib.suppress(OSError):
                os.write(self._writer, b"\0")

    def wait(self, seconds: float) -> None:
        """Wait until it is rung, for at most `seconds`."""
        # A greenlet that comes back in a forked child would take the parent's byte.
        if ready(self._reader, seconds) and self._process == os.getpid():
            with contextlib.suppress(BlockingIOError):
                os.read(self._reader, 64)
        self._is_rung = False

    def close(self) -> None:
        """Close the descriptors; a forked child may do so without harm to its parent."""
        if not self._is_closed:
            self._is_closed = True
            os.close(self._reader)
            os.close(self._writer)

    def __del__(self) -> None:
        self.close()


class LateLock:
    """A lock of the kind that `threading` makes at the time of use; for sections that wait for something.

    In a forked child it is free, also after a fork in C.
    """

    def __init__(self) -> None:
        self._locks: dict[tuple[int, Callable[[], Any]], Any] = {}
        self._held: Any = None

    def acquire(self, timeout: float = -1) -> bool:
        """As `threading.Lock.acquire`."""
        lock = self._lock()
        if not lock.acquire(timeout=timeout):
            return False
        self._held = lock
        return True

    def acquire_in_time(self) -> bool:
        """Wait for it until the deadline of `core.deadline`; whether this thread holds it now."""
        left = seconds_left()
        return self.acquire() if left == math.inf else self.acquire(timeout=left)

    def release(self) -> None:
        """As `threading.Lock.release`."""
        self._held.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_error: object) -> None:
        self.release()

    def _lock(self) -> Any:
        key = (os.getpid(), threading.Lock)
        lock = self._locks.get(key)
        # `setdefault` is atomic: two threads get the same lock.
        return self._locks.setdefault(key, threading.Lock()) if lock is None else lock
