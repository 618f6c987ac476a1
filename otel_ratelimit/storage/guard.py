"""A store that may fail, made safe for requests: one kind of error, and no waiting for what is away.

After a failure the store is left alone for a while (a circuit breaker): requests in that time fail at
once, without I/O. Then one of them tries it again, and the others go on failing at once until it answers.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from otel_ratelimit.clock import monotonic_time
from otel_ratelimit.errors import StorageUnavailableError
from otel_ratelimit.events import CounterStore, Taken, Window
from otel_ratelimit.thresholds import STORAGE_RETRY_SECONDS

_log = logging.getLogger(__name__)

T = TypeVar("T")

_KINDS: Final = (
    ("timeout", "timeout"),
    ("readonly", "readonly"),
    ("authentication", "authentication"),
    ("auth", "authentication"),
    ("connection", "connection"),
    ("busyloading", "loading"),
    ("outofmemory", "out_of_memory"),
    ("cluster", "cluster"),
    ("oserror", "connection"),
    ("socket", "connection"),
    ("unexpectedclose", "connection"),
)


def error_type_of(error: BaseException) -> str:
    """One of a few words for an error, safe as a metric attribute."""
    for kind in type(error).__mro__:
        name = kind.__name__.lower()
        for part, word in _KINDS:
            if part in name:
                return word
    return "other"


class GuardedStore:
    """A `CounterStore` over another; all it raises is StorageUnavailableError.

    Args:
        store: the store that may fail.
        on_error: told the kind of each failure of the store itself, not of the requests failed meanwhile.
        retry_seconds: how long a failed store is left alone.
        monotonic: seconds.
    """

    def __init__(
        self,
        store: CounterStore,
        on_error: Callable[[str], object] = lambda _kind: None,
        retry_seconds: float = STORAGE_RETRY_SECONDS,
        monotonic: Callable[[], float] = monotonic_time,
    ) -> None:
        self._store = store
        self._on_error = on_error
        self._retry_seconds = retry_seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._failed: str = ""
        self._try_again_at = 0.0
        _renew_lock_after_fork(self)

    @property
    def name(self) -> str:
        """The store's own."""
        return self._store.name

    @property
    def healthy(self) -> bool:
        """Whether it answered when last asked."""
        return not self._failed

    def take(self, windows: Sequence[Window], client: str, cost: int, now: float) -> Taken:
        """As the store's; raises StorageUnavailableError only."""
        return self._call(lambda: self._store.take(windows, client, cost, now))

    def peek(self, windows: Sequence[Window], client: str, cost: int, now: float) -> Taken:
        """As the store's; raises StorageUnavailableError only."""
        return self._call(lambda: self._store.peek(windows, client, cost, now))

    def clear(self, windows: Sequence[Window], client: str) -> int:
        """As the store's; raises StorageUnavailableError only."""
        return self._call(lambda: self._store.clear(windows, client))

    def retry_after(self) -> float:
        """Seconds until the store is tried again; 0.0 when it works."""
        return max(0.0, self._try_again_at - self._monotonic()) if self._failed else 0.0

    def renew_lock(self) -> None:
        """In a forked child, where another thread's lock would stay held."""
        self._lock = threading.Lock()

    def _call(self, ask: Callable[[], T]) -> T:
        failed = self._failed  # once: another thread may note the recovery meanwhile
        if failed and not self._may_try():
            raise StorageUnavailableError(failed)
        try:
            answer = ask()
        except Exception as error:
            kind = error_type_of(error)
            self._note_failure(kind, error)
            raise StorageUnavailableError(kind) from error
        if self._failed:
            self._note_recovery()
        return answer

    def _may_try(self) -> bool:
        """True for one request when the time has come; the next has to wait anew."""
        with self._lock:
            now = self._monotonic()
            if now < self._try_again_at:
                return False
            self._try_again_at = now + self._retry_seconds
            return True

    def _note_failure(self, kind: str, error: Exception) -> None:
        with self._lock:
            first = not self._failed
            self._failed = kind
            self._try_again_at = self._monotonic() + self._retry_seconds
        if first:
            _log.error("counter store %s failed (%s): %s", self.name, kind, error)
        self._on_error(kind)

    def _note_recovery(self) -> None:
        with self._lock:
            recovered, self._failed = bool(self._failed), ""
        if recovered:
            _log.warning("counter store %s answers again", self.name)


def _renew_lock_after_fork(store: GuardedStore) -> None:
    reference = weakref.ref(store)

    def renew() -> None:
        alive = reference()
        if alive is not None:
            alive.renew_lock()

    os.register_at_fork(after_in_child=renew)
