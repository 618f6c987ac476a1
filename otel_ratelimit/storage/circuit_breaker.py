"""A circuit breaker around a counter store that may fail, so that requests do not wait for it.

Closed: the store is asked. A failure that concerns all requests opens the breaker.
Open: requests fail at once, without I/O, for `STORAGE_RETRY_SECONDS`.
Half-open: after that, one request tries the store on a new connection, while all others still fail at once.
If the store answers, the breaker closes; otherwise it stays open for another `STORAGE_RETRY_SECONDS`.

The connection is new because the host name may lead to another server by now. The old server may still run as
a replica, and would reject every request.

An error that concerns one request only (`server_errors`) fails that request and no other: the server
answered, so the next request need not wait for it.
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
from otel_ratelimit.storage.server_errors import (
    StoreFailure,
    advice_on,
    failure_of,
    is_of_client,
    without_echo,
)

_logger = logging.getLogger(__name__)

T = TypeVar("T")

STORAGE_RETRY_SECONDS: Final = 1.0
"""How long a failed store is left alone before one request tries it again."""
_LOG_AGAIN_SECONDS: Final = 60.0
"""Time between two log lines about errors of one type that concern single requests only."""
_NOTHING_SECRET: Final = Redactor()


class CircuitBreaker:
    """A `CounterStore` around another; the only error that it raises is StorageUnavailableError.

    Args:
        store: the store that may fail.
        on_error: called with the type of each error of the store, but not for requests that fail while the
            breaker is open.
        retry_seconds: how long the breaker stays open before the store is tried again.
        monotonic: a clock in seconds.
        redact: removes from an error's text what must not be logged.
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
        self._open_because = ""
        self._try_again_at = 0.0
        self._logged: dict[str, float] = {}
        at_fork(in_child=self.renew_lock)

    @property
    def name(self) -> str:
        """The name of the store behind the breaker."""
        return self._store.name

    @property
    def healthy(self) -> bool:
        """Whether the store answered the last request that reached it."""
        return not self._open_because

    def take(self, windows: Sequence[Window], client: str, cost: int, now: float) -> Taken:
        """The store's answer; raises StorageUnavailableError only."""
        return self._call(lambda: self._store.take(windows, client, cost, now))

    def peek(self, windows: Sequence[Window], client: str, cost: int, now: float) -> Taken:
        """The store's answer; raises StorageUnavailableError only."""
        return self._call(lambda: self._store.peek(windows, client, cost, now))

    def clear(self, windows: Sequence[Window], client: str) -> int:
        """The store's answer; raises StorageUnavailableError only."""
        return self._call(lambda: self._store.clear(windows, client))

    def retry_after(self) -> float:
        """Seconds until the store is tried again; 0.0 when it works."""
        return max(0.0, self._try_again_at - self._monotonic()) if self._open_because else 0.0

    def drop_connections(self) -> None:
        """Close idle connections, so that the next attempt looks up the host name and connects again."""
        drop = getattr(self._store, "drop_connections", None)
        if drop is None:
            return
        try:
            drop()
        except Exception as error:  # noqa: BLE001 - a client's fault must not fail the request
            said = self._redacted(error)
            _logger.warning("connections to counter store %s could not be closed: %s", self.name, said)

    def renew_lock(self) -> None:
        """Replace the lock in a forked child, where a lock that another thread held would stay locked."""
        self._lock = threading.Lock()

    def _call(self, ask: Callable[[], T]) -> T:
        reason = self._open_because  # read once, because another thread may close the breaker meanwhile
        if reason and not self._may_try():
            raise StorageUnavailableError(reason)
        try:
            answer = ask()
        except Exception as error:
            unavailable = self.record_failure(error)
            if self._redacted(error) != str(error):
                # The server repeated a secret, and error reports show an exception's cause.
                raise unavailable from None
            raise unavailable from error
        if self._open_because:
            self._close()
        return answer

    def _may_try(self) -> bool:
        """True for one request each time the pause is over; the pause then starts again."""
        with self._lock:
            now = self._monotonic()
            if now < self._try_again_at:
                return False
            self._try_again_at = now + self._retry_seconds
            return True

    def record_failure(self, error: Exception) -> StorageUnavailableError:
        """Log and count an error of the store, and return what to raise in its place."""
        failure = failure_of(error)
        if failure.concerns_all:
            self._open(failure, error)
        else:
            self._note_single(failure, error)
        self._on_error(failure.error_type)
        return StorageUnavailableError(failure.error_type)

    def record_client_failure(self, error: Exception) -> StorageUnavailableError:
        """As `record_failure`, for an error that the application's own code may have raised instead."""
        if is_of_client(error):
            return self.record_failure(error)
        return StorageUnavailableError(type(error).__name__)

    def _open(self, failure: StoreFailure, error: Exception) -> None:
        with self._lock:
            first = not self._open_because
            self._open_because = failure.error_type
            self._try_again_at = self._monotonic() + self._retry_seconds
        if first:
            self._log_error("failed", failure, error)
        self.drop_connections()

    def _note_single(self, failure: StoreFailure, error: Exception) -> None:
        """Handle an error of one request; if it is the server's reply, the server works."""
        if failure.answered and self._open_because:
            self._close()
        now = self._monotonic()
        with self._lock:
            if now < self._logged.get(failure.error_type, now):
                return
            self._logged[failure.error_type] = now + _LOG_AGAIN_SECONDS
        self._log_error("could not count a request", failure, error)

    def _log_error(self, what: str, failure: StoreFailure, error: Exception) -> None:
        advice = advice_on(failure.error_type)
        text = self._redacted(error)
        said = f"{text}; {advice}" if advice else text
        _logger.error("counter store %s %s (%s): %s", self.name, what, failure.error_type, said)

    def _redacted(self, error: Exception) -> str:
        return self._redact(without_echo(str(error)))

    def _close(self) -> None:
        with self._lock:
            recovered, self._open_because = bool(self._open_because), ""
        if recovered:
            _logger.warning("counter store %s answers again", self.name)
