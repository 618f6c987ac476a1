"""A store that may fail, made safe for requests: one kind of error, and no waiting for what is away.

After a failure that concerns everybody the store is left alone for a while (a circuit breaker): requests in
that time fail at once, without I/O. Then one of them tries it again, on a new connection, and the others
go on failing at once until it answers. A new connection, because a name may lead to another server by now:
the old one may live on as a replica, and would refuse for ever.

An error that concerns one request (`server_errors`) fails that request and no other: the server answered,
so asking it again costs nobody a wait.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from otel_ratelimit.core.clock import monotonic_time
from otel_ratelimit.core.counter_store import CounterStore, Taken
from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.core.lifecycle import at_fork
from otel_ratelimit.core.route_plan import Window
from otel_ratelimit.core.secret import Redactor
from otel_ratelimit.core.thresholds import STORAGE_RETRY_SECONDS
from otel_ratelimit.storage.server_errors import (
    StoreFailure,
    advice_on,
    failure_of,
    is_of_client,
    without_echo,
)

_log = logging.getLogger(__name__)

T = TypeVar("T")

_LOG_AGAIN_SECONDS: Final = 60.0
"""Between two log lines about errors of single requests of one type."""
_NOTHING_SECRET: Final = Redactor()


class GuardedStore:
    """A `CounterStore` over another; all it raises is StorageUnavailableError.

    Args:
        store: the store that may fail.
        on_error: told the kind of each failure of the store itself, not of the requests failed meanwhile.
        retry_seconds: how long a failed store is left alone.
        monotonic: seconds.
        redact: takes out of an error's text what must not be logged.
    """

    def __init__(
        self,
        store: CounterStore,
        on_error: Callable[[str], object] = lambda _kind: None,
        retry_seconds: float = STORAGE_RETRY_SECONDS,
        monotonic: Callable[[], float] = monotonic_time,
        redact: Callable[[str], str] = _NOTHING_SECRET,
    ) -> None:
        self._store = store
        self._on_error = on_error
        self._retry_seconds = retry_seconds
        self._monotonic = monotonic
        self._redact = redact
        self._lock = threading.Lock()
        self._failed: str = ""
        self._try_again_at = 0.0
        self._logged: dict[str, float] = {}
        at_fork(in_child=self.renew_lock)

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
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the store's
            # A server may repeat what it was sent, and whoever reports the error shows its cause as well.
            raise self.failed(error) from (error if self._worded(error) == str(error) else None)
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

    def failed(self, error: Exception) -> StorageUnavailableError:
        """Note an error of the store, whoever asked it; answers what to raise instead."""
        failure = failure_of(error)
        if failure.concerns_all:
            self._note_failure(failure, error)
        else:
            self._note_single(failure, error)
        self._on_error(failure.error_type)
        return StorageUnavailableError(failure.error_type)

    def failed_elsewhere(self, error: Exception) -> StorageUnavailableError:
        """As `failed`, for an error where code of the application ran too: only a client's is the store's."""
        return self.failed(error) if is_of_client(error) else StorageUnavailableError(type(error).__name__)

    def _note_failure(self, failure: StoreFailure, error: Exception) -> None:
        with self._lock:
            first = not self._failed
            self._failed = failure.error_type
            self._try_again_at = self._monotonic() + self._retry_seconds
        if first:
            self._log_error("failed", failure, error)
        self._drop_connections()

    def _note_single(self, failure: StoreFailure, error: Exception) -> None:
        """An error of one request; the server that replied with it is there."""
        if failure.answered and self._failed:
            self._note_recovery()
        now = self._monotonic()
        with self._lock:
            if now < self._logged.get(failure.error_type, now):
                return
            self._logged[failure.error_type] = now + _LOG_AGAIN_SECONDS
        self._log_error("could not count a request", failure, error)

    def _log_error(self, what: str, failure: StoreFailure, error: Exception) -> None:
        advice = advice_on(failure.error_type)
        worded = self._worded(error)
        said = f"{worded}; {advice}" if advice else worded
        _log.error("counter store %s %s (%s): %s", self.name, what, failure.error_type, said)

    def _drop_connections(self) -> None:
        """Close idle connections, so that the next attempt looks the server up and connects again."""
        drop = getattr(self._store, "drop_connections", None)
        if drop is None:
            return
        try:
            drop()
        except Exception as error:  # noqa: BLE001 - the request has its answer, and the next attempt comes anyway
            said = self._worded(error)
            _log.warning("connections to counter store %s could not be closed: %s", self.name, said)

    def _worded(self, error: Exception) -> str:
        return self._redact(without_echo(str(error)))

    def _note_recovery(self) -> None:
        with self._lock:
            recovered, self._failed = bool(self._failed), ""
        if recovered:
            _log.warning("counter store %s answers again", self.name)
