"""How a process gets the lock of a zone, and gives it back whatever happens in between.

A signal handler may raise an exception at any moment: also between the call that gets the lock and the next
instruction, or in the middle of a change. So the lock is asked for inside of `try`, and the code says what is
known about it:

    code = NOT_ASKED
    try:
        code = holder.try_lock(holder.handle)
        if code:
            code = holder.wait(code)
        ...
    finally:
        if code:
            holder.give_up(code)
        else:
            holder.unlock(holder.handle)

Nothing is logged while the lock is held, because a log line may take long to write.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from otel_ratelimit.core.clock import Clock
from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.storage.zone.head import RECOVERIES_AT
from otel_ratelimit.storage.zone.journal import Journal
from otel_ratelimit.storage.zone.lock import ZoneLock
from otel_ratelimit.storage.zone.process_tree import read_stat

_logger = logging.getLogger("otel_ratelimit.storage.zone.opened")

NOT_ASKED: Final = -1
"""The code before the lock was asked for."""
STALLED_SECONDS: Final = 1.0
"""How long nobody waits for the lock after it could not be had."""
MAX_BUSY_SECONDS: Final = 1.0
"""How long to wait for a lock whose owners run: on a busy host they are many, or get no processor."""
STALLED: Final = "LockNotReleased"
"""The kind of error when another process keeps the lock."""

_STOPPED: Final = frozenset("Tt")
"""States of a process that a signal or a debugger has stopped (proc(5))."""


class LockHolder:
    """Gets the lock of a zone.

    Args:
        lock: the zone's lock.
        journal: the zone's journal.
        words: the zone as words of 8 bytes.
        identity: the zone's name in the log.
        monotonic: seconds of the machine's own clock.
    """

    def __init__(
        self, lock: ZoneLock, journal: Journal, words: memoryview, identity: str, monotonic: Clock
    ) -> None:
        self.lock = lock
        self.try_lock: Callable[[Any], int] = lock.try_lock
        """(handle): 0 if this thread now has the lock; otherwise the argument of `wait`."""
        self.unlock = lock.unlock
        self.handle = lock.handle
        self._journal = journal
        self._words = words
        self._identity = identity
        self._monotonic = monotonic
        self._stalled_until = 0.0
        self._failure_listeners: list[Callable[[str], object]] = []

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock.

        Raises:
            StorageUnavailableError: it could not be had in time.
        """
        code = NOT_ASKED
        try:
            code = self.try_lock(self.handle)
            if code:
                code = self.wait(code)
            yield
        finally:
            if code:
                self.give_up(code)
            else:
                self.unlock(self.handle)

    def wait(self, code: int) -> int:
        """Get the lock after `try_lock` has answered `code`, which is not 0; returns 0.

        Raises:
            StorageUnavailableError: another process keeps it.
        """
        try:
            while code or self._stalled_until:
                if code == errno.EBUSY:
                    code = self._wait_for_owner()
                if code == errno.EOWNERDEAD:
                    self._recover()
                elif code:
                    self._fail(code)
                elif self._stalled_until:
                    self.unlock(self.handle)
                    self._resume()
                else:
                    break
                code = self.lock.try_lock(self.handle)
        except StorageUnavailableError:
            raise
        except BaseException:
            self.give_up(NOT_ASKED)
            raise
        return 0

    def give_up(self, code: int) -> None:
        """Release the lock after an exception, if this thread has it; `code` is what is known about it."""
        # With EBUSY it is another's. The owner's number cannot tell, because it may belong to a process of
        # another container, in which it has another meaning.
        if code != errno.EBUSY:
            self.lock.give_up(self._journal.finish)

    def on_failure(self, listener: Callable[[str], object]) -> None:
        """Call `listener` with the kind of error whenever the lock could not be had in time."""
        self._failure_listeners.append(listener)

    def retry_after(self) -> float:
        """Seconds until the lock is waited for again; 0.0 if it can be had."""
        return max(0.0, self._stalled_until - self._monotonic())

    def is_healthy(self) -> bool:
        """Whether the lock could be had when it was last asked for."""
        return not self._stalled_until

    def _wait_for_owner(self) -> int:
        """Wait as long as the owner may still release the lock; the answers are those of `try_lock`."""
        if self._monotonic() < self._stalled_until and self._is_owner_stopped():
            raise StorageUnavailableError(STALLED)
        until = self._monotonic() + MAX_BUSY_SECONDS
        while True:
            code = self.lock.wait()
            if code != errno.EBUSY or self._is_owner_stopped() or self._monotonic() >= until:
                return code

    def _is_owner_stopped(self) -> bool:
        owner = self.lock.owner()
        # An owner that has died meanwhile has released the lock.
        return is_stopped(owner) and self.lock.owner() == owner

    def _recover(self) -> None:
        """Put the zone in order after its owner died, and release it."""
        finished = self._journal.finish()
        self._words[RECOVERIES_AT >> 3] += 1
        self.lock.accept()
        self.unlock(self.handle)
        _logger.warning(
            "zone %s: a process died while it counted a request; %s",
            self._identity,
            "its change was finished" if finished else "it had not counted it yet",
        )

    def _fail(self, code: int) -> None:
        first = not self._stalled_until
        self._stalled_until = self._monotonic() + STALLED_SECONDS
        self.try_lock = self._try_after_stall
        if first:
            _logger.error(
                "zone %s: its lock cannot be had (%s); another process may be stopped (SIGSTOP, a debugger)."
                " Requests are answered by on_error until the lock is released",
                self._identity,
                errno.errorcode.get(code, str(code)),
            )
        for listener in self._failure_listeners:
            listener(STALLED)
        raise StorageUnavailableError(STALLED)

    def _try_after_stall(self, handle: Any) -> int:
        """As `try_lock`, which it replaces until the lock has been had again."""
        code = self.lock.try_lock(handle)
        if code == 0:
            self.unlock(handle)
            self._resume()
            code = self.lock.try_lock(handle)
        return code

    def _resume(self) -> None:
        self._stalled_until = 0.0
        self.try_lock = self.lock.try_lock
        _logger.warning("zone %s: the lock was released; counting goes on", self._identity)


def is_stopped(thread: int) -> bool:
    """Whether the owner of a lock cannot go on by itself; True also where that cannot be found out.

    Args:
        thread: the number of the process or thread, 0 if nobody has the lock now.
    """
    if not thread:
        return False
    found = read_stat(thread)
    return found is None or found.state in _STOPPED
