"""`bounded-memory://`: the bounded counter store as a storage of the `limits` library.

Importing this module registers the scheme, so that Flask-Limiter and `limits` find it by its URI:

    limits.storage.storage_from_string("bounded-memory://?capacity=50MB&cleanup_interval=60")

One store has two interfaces. This class has the methods that the strategies of `limits` call.
`BoundedMemoryStorage.counters` is the `CounterStore` that decides a request for all its windows in one step.
It is a separate object because both interfaces have a method `clear`, with different arguments.

The methods return what those of `limits.storage.MemoryStorage` return, without its races. An `amount` of 0
counts nothing and opens no counter. A negative `amount` returns units of a fixed window, never below 0, and
counts nothing with the other strategies.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import unwrap
from typing import Final
from urllib.parse import parse_qsl, urlparse

from limits.errors import StorageError
from limits.storage import MovingWindowSupport, SlidingWindowCounterSupport, Storage

from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.core.clock import Clock, unix_time
from otel_ratelimit.core.counter_store import CleanupReport, StorageSnapshot
from otel_ratelimit.core.errors import Problem, SettingsError, StorageUnavailableError
from otel_ratelimit.core.route_plan import Strategy
from otel_ratelimit.core.thresholds import CLEANUP_INTERVAL_SECONDS, MEMORY_CAPACITY_BYTES
from otel_ratelimit.storage.bounded_memory import SCHEME, BoundedMemoryStore, CounterRequest
from otel_ratelimit.storage.counter_keys import MAX_PLAIN_TEXT, TEXT_KEYS, TEXT_SHARD_SHIFT, limit_of
from otel_ratelimit.storage.memory_budget import parse_capacity, parse_interval
from otel_ratelimit.storage.overflow import OverflowBuckets
from otel_ratelimit.storage.sharded_table import ShardedTable
from otel_ratelimit.storage.strategies import Value, moving_counts, sliding_counts
from otel_ratelimit.storage.sweeper import Sweeper

LIMITS_ENDPOINT: Final = "(flask-limiter)"
"""The endpoint under which counters are reported that came through the interface of `limits`."""

# Names in the form of a `Window.prefix`, with an empty namespace, which no policy has. Fixed windows of all
# lengths share a table, because `get` has no argument for the length; the other strategies have one table for
# each length.
_NAMES: Final = {strategy: f"|{LIMITS_ENDPOINT}||{strategy}|" for strategy in Strategy}
_FIXED: Final = _NAMES[Strategy.FIXED_WINDOW]
_MOVING: Final = _NAMES[Strategy.MOVING_WINDOW]
_SLIDING: Final = _NAMES[Strategy.SLIDING_WINDOW_COUNTER]

_ONE: Final = 1j
"""One hit, to be added to the value of a fixed window; see `strategies`."""


class BoundedMemoryStorage(Storage, MovingWindowSupport, SlidingWindowCounterSupport):
    """Counters in this process's memory, within a fixed capacity.

    Args:
        uri: `bounded-memory://`, with options as its query.
        wrap_exceptions: raise `limits.errors.StorageError` instead of our own errors.
        capacity: the most that the counters may take: bytes, or text such as `50MB`.
        cleanup_interval: seconds between two removals of expired counters.
        clock: Unix time, for the methods of `limits`, which pass none.
        worker: runs the cleanup; if not given, the store starts its own worker at the first hit.

    Raises:
        SettingsError: an option is unknown or not valid.
    """

    STORAGE_SCHEME = [SCHEME]  # noqa: RUF012 - the base class declares it so

    def __init__(
        self,
        uri: str | None = None,
        wrap_exceptions: bool = False,
        *,
        capacity: str | float | None = None,
        cleanup_interval: str | float | None = None,
        clock: Clock = unix_time,
        worker: BackgroundWorker | None = None,
        **unknown: float | str | bool,
    ) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        given = _options(uri, unknown)
        capacity = given.get("capacity", MEMORY_CAPACITY_BYTES) if capacity is None else capacity
        if cleanup_interval is None:
            cleanup_interval = given.get("cleanup_interval", CLEANUP_INTERVAL_SECONDS)
        where = f"storage {SCHEME}: "
        self.counters = BoundedMemoryStore(parse_capacity(capacity, f"{where}capacity"), clock)
        """The same store as a `CounterStore`."""
        self._lock = self.counters.lock
        self._clock = clock
        self._tables = self.counters.by_prefix
        self._of_text = self.counters.keys.of_text
        self.sweeper = Sweeper(
            self.counters, parse_interval(cleanup_interval, f"{where}cleanup_interval"), worker
        )

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        """The exceptions that this storage may raise."""
        return StorageUnavailableError

    # --- what the store holds ---

    @property
    def storage(self) -> str:
        """A short description, which Flask-Limiter's `config` command prints for any storage."""
        snapshot = self.counters.snapshot()
        return f"{snapshot.keys} counters, {snapshot.size_bytes} B"

    def snapshot(self) -> StorageSnapshot:
        """A snapshot of the store's size and counters."""
        return self.counters.snapshot()

    def on_cleanup(self, listener: Callable[[CleanupReport], object]) -> None:
        """Call `listener` after each cleanup, on the background thread."""
        self.sweeper.on_cleanup(listener)

    def on_overflow(self, listener: Callable[[str], object]) -> None:
        """Call `listener` for each hit on an overflow bucket; see `BoundedMemoryStore.on_overflow`."""
        self.counters.on_overflow(listener)

    # --- all strategies ---

    def check(self) -> bool:
        """Whether the store can be used, which is always true."""
        return True

    def reset(self) -> int | None:
        """Remove all counters, also those of the policy; returns how many there were."""
        return self.counters.reset()

    def clear(self, key: str) -> None:
        """Remove the fixed and moving windows of `key`."""
        at = self._of_text(key)
        with self._lock:
            for name, table in self._tables.items():
                if name == _FIXED or name.startswith(_MOVING):
                    table.remove(at)

    # --- fixed window ---

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add `amount` to the counter `key`, which lives for `expiry` seconds from its first hit."""
        at = key if len(key) <= MAX_PLAIN_TEXT and key.isascii() else self._of_text(key)
        with self._lock:
            now = self._clock()
            table = self._tables.get(_FIXED)
            if table is not None:
                cells = table.shards[hash(at) >> TEXT_SHARD_SHIFT & table.mask]
                value = cells.get(at)
                if value is not None and value.real > now and amount == 1:
                    cells[at] = value = value + _ONE
                    return int(value.imag)
            used, overflowing = self._incr(key, at, expiry, amount, now)
        self._after_hit(overflowing)
        return used

    def get(self, key: str) -> int:
        """The value of the counter `key`."""
        value = self._fixed(key)
        return int(value.imag) if value is not None else 0

    def get_expiry(self, key: str) -> float:
        """When the window of `key` ends, as Unix time; now, if nothing is counted."""
        value = self._fixed(key)
        return value.real if value is not None else self._clock()

    def _incr(self, key: str, at: str, expiry: int, amount: int, now: float) -> tuple[int, list[str]]:
        table = self._table(_FIXED, Strategy.FIXED_WINDOW, expiry)
        holder, _, place, value, _ = self.counters.admit(table, at, key, CounterRequest(0, expiry, 0, now))
        used = holder.state(value, 0, expiry, now, 0.0).used if value is not None else 0
        added = max(amount, -used)
        if added:
            holder.put(place, holder.add(value, expiry, added, now))
        return used + added, [limit_of(key)] if isinstance(holder, OverflowBuckets) else []

    def _fixed(self, key: str) -> complex | None:
        """The live value that counts for `key`: its own, or its limit's overflow bucket in a full store."""
        at = self._of_text(key)
        with self._lock:
            now = self._clock()
            table = self._tables.get(_FIXED)
            if table is None:
                return None
            value: complex | None = table.get(at)
            if value is None:
                value = self.counters.slot(table, at, key, CounterRequest(0, 0, 0, now))[3]
        return value if value is not None and value.real > now else None

    # --- moving window ---

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Take `amount` units of `key` unless that makes more than `limit` in `expiry` seconds."""
        return self._acquire(Strategy.MOVING_WINDOW, key, limit, expiry, amount)

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the oldest unit in the window was taken, and how many units there are."""
        holder, value, now = self._look(Strategy.MOVING_WINDOW, key, limit, expiry)
        if isinstance(holder, OverflowBuckets):
            return now, holder.state(value, limit, expiry, now, 0.0).used
        oldest, used = moving_counts(value, now)
        return (oldest - expiry, used) if used else (now, 0)

    # --- sliding-window counter ---

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Take `amount` units of `key` unless the weighted count gets above `limit`."""
        return self._acquire(Strategy.SLIDING_WINDOW_COUNTER, key, limit, expiry, amount)

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Previous count and for how long it weighs, current count and for how long it lives."""
        _, value, now = self._look(Strategy.SLIDING_WINDOW_COUNTER, key, 0, expiry)
        return sliding_counts(value, expiry, now)

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Remove the sliding window of `key`."""
        at = self._of_text(key)
        with self._lock:
            table = self._tables.get(f"{_SLIDING}{expiry}")
            if table is not None:
                table.remove(at)

    # --- shared ---

    def _table(self, name: str, strategy: Strategy, expiry: int) -> ShardedTable:
        try:
            table = self.counters.table(name, strategy, expiry, TEXT_KEYS)
        except StorageUnavailableError as error:
            if self.wrap_exceptions:
                raise StorageError(error) from error
            raise
        table.seconds = max(table.seconds, expiry)
        return table

    def _after_hit(self, overflowing: list[str]) -> None:
        """Report a hit that was not on a live counter."""
        counters = self.counters
        if counters.on_use is not None:
            counters.report_use()
        if overflowing:
            counters.count_overflows(overflowing)

    def _acquire(self, strategy: Strategy, key: str, limit: int, expiry: int, amount: int) -> bool:
        cost = max(amount, 0)
        at = self._of_text(key)
        with self._lock:
            now = self._clock()
            table = self._table(f"{_NAMES[strategy]}{expiry}", strategy, expiry)
            request = CounterRequest(limit, expiry, cost, now)
            holder, _, place, value, wait = self.counters.admit(table, at, key, request)
            if cost and not wait:
                holder.put(place, holder.add(value, expiry, cost, now))
        if value is None or isinstance(holder, OverflowBuckets):
            self._after_hit([limit_of(key)] if isinstance(holder, OverflowBuckets) else [])
        return not wait

    def _look(
        self, strategy: Strategy, key: str, limit: int, expiry: int
    ) -> tuple[ShardedTable | OverflowBuckets, Value | None, float]:
        counters = self.counters
        at = self._of_text(key)
        with self._lock:
            now = self._clock()
            table = self._table(f"{_NAMES[strategy]}{expiry}", strategy, expiry)
            holder, _, _, value, _ = counters.slot(table, at, key, CounterRequest(limit, expiry, 0, now))
        return holder, value, now


def _options(uri: str | None, unknown: dict[str, float | str | bool]) -> dict[str, str]:
    """The options in the query of `uri`, all of them known."""
    parsed = urlparse(uri or "")
    given = dict(parse_qsl(parsed.query, keep_blank_values=True))
    known = ("capacity", "cleanup_interval")
    problems = [
        Problem(f"storage {SCHEME}", f"unknown option {name!r}", f"known are {' and '.join(known)}")
        for name in [*given, *unknown]
        if name not in known
    ]
    if parsed.netloc or parsed.path.strip("/"):
        problems.append(
            Problem(
                f"storage {SCHEME}", f"{uri!r} names a host or a path", f"write {SCHEME}://?capacity=50MB"
            )
        )
    if problems:
        raise SettingsError(problems)
    return given


# The base class wraps every method to translate errors. That takes a seventh of the time of `incr`, the
# method that is called most; `_table` translates the only error that `incr` can meet.
BoundedMemoryStorage.incr = unwrap(BoundedMemoryStorage.incr)  # type: ignore[method-assign]
