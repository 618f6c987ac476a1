"""`shared-memory://`: counters in a zone as a storage of the `limits` library.

Importing this module registers the scheme, so that Flask-Limiter and `limits` find it by its URI:

    limits.storage.storage_from_string("shared-memory://shop?capacity=100MB&cleanup_interval=60")

Without a name, the processes that were forked from one server share the zone (`server`). With a name, all
processes of one user on this host share it.

One store has two interfaces; see `otel_ratelimit.storage.limits_adapter`, whose methods have the same
meaning. Moving windows are not there: a list of times has no fixed size.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from mmap import mmap
from typing import Final

from limits.storage import SlidingWindowCounterSupport, Storage

from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.core.clock import Clock, unix_time
from otel_ratelimit.core.counter_store import CleanupReport, CleanupTotals, StorageSnapshot
from otel_ratelimit.core.errors import Problem, StorageUnavailableError
from otel_ratelimit.core.lifecycle import while_alive
from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.core.thresholds import CLEANUP_INTERVAL_SECONDS, MEMORY_CAPACITY_BYTES
from otel_ratelimit.storage.limits_adapter import LIMITS_ENDPOINT
from otel_ratelimit.storage.store_strategies import unsupported
from otel_ratelimit.storage.strategies import sliding_counts
from otel_ratelimit.storage.zone import head
from otel_ratelimit.storage.zone.figures import ZoneState, cleanups_of
from otel_ratelimit.storage.zone.lock import LockKind, default_lock_kind
from otel_ratelimit.storage.zone.opened import Zone, prepare
from otel_ratelimit.storage.zone.process_row import ProcessRow
from otel_ratelimit.storage.zone.server import ZONES, ZoneMemory, named_memory
from otel_ratelimit.storage.zone.store import ZoneStore
from otel_ratelimit.storage.zone.sweeper import ZoneSweeper
from otel_ratelimit.storage.zone.texts import TextCounters
from otel_ratelimit.storage.zone.uri import SCHEME, parse_uri
from otel_ratelimit.storage.zone.values import FORMS

_SCHEMES: Final = [SCHEME]
_MAX_AMOUNT: Final = 1 << 62
"""The amount of a limit that is counted and never refused."""


class SharedMemoryStorage(Storage, SlidingWindowCounterSupport):
    """Counters in memory that processes share.

    Args:
        uri: `shared-memory://`, with options as its query.
        wrap_exceptions: raise `limits.errors.StorageError` instead of our own errors.
        capacity: size of the zone: bytes, or text such as `50MB`; that of the URI wins.
        cleanup_interval: seconds between two removals of expired counters; that of the URI wins.
        clock: Unix time, for the methods of `limits`, which pass none.
        worker: runs the cleanup; if not given, the store starts its own worker at the first hit.

    Raises:
        SettingsError: the name or an option is not valid; with every problem.
        ZoneMemoryError: the memory cannot be had.
    """

    STORAGE_SCHEME = _SCHEMES

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
        given = parse_uri(uri or f"{SCHEME}://", unknown)
        beside = parse_uri(f"{SCHEME}://", {"capacity": capacity, "cleanup_interval": cleanup_interval})
        size = given.capacity or beside.capacity or MEMORY_CAPACITY_BYTES
        self.memory = _memory_for(given.name, size, given.lock or default_lock_kind(), clock)
        """Where the zone is."""
        self.counters = ZoneStore(_open(self.memory, size, given.lock or default_lock_kind()), clock)
        """The same store as a `CounterStore`."""
        interval = given.cleanup_interval or beside.cleanup_interval or CLEANUP_INTERVAL_SECONDS
        self.sweeper = ZoneSweeper(self.counters, interval, worker)
        self.process_row = ProcessRow(self.counters.zone, clock)
        """That of this process in the zone's table."""
        self.counters.call_on_use(while_alive(self.process_row.begin))
        self._texts = TextCounters(self.counters)
        self._clock = clock
        self._maker = os.getpid()

    @property
    def client_secret(self) -> bytes:
        """The secret of hashed clients that all processes of the zone share."""
        return hashlib.blake2s(b"clients", key=self.counters.zone.secret).digest()

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        """The exceptions that this storage may raise."""
        return StorageUnavailableError

    def is_alone(self) -> bool:
        """Whether this process made the zone for itself, so that workers beside it have others."""
        return self.memory.origin == "own" and self._maker == os.getpid()

    def unable(self, strategies: Iterable[Strategy]) -> list[Problem]:
        """The `strategies` that a zone does not support, as problems of its URI."""
        return unsupported(SCHEME, list(FORMS), strategies)

    # --- what the store holds ---

    @property
    def storage(self) -> str:
        """A short description, which Flask-Limiter's `config` command prints for any storage."""
        snapshot = self.counters.snapshot()
        return f"{snapshot.keys} counters, {snapshot.size_bytes} B"

    def snapshot(self) -> StorageSnapshot:
        """A snapshot of the store's size and counters."""
        return self.counters.snapshot()

    def snapshot_to_report(self) -> StorageSnapshot | None:
        """The same, for gauges; None if another process of the zone reports these."""
        return self.counters.snapshot() if self.process_row.reports_gauges() else None

    def cleanups(self) -> CleanupTotals:
        """All cleanups of the zone, whichever process made them."""
        return cleanups_of(self.counters.zone)

    def state(self) -> ZoneState:
        """Which zone it is, and who shares it."""
        zone = self.counters.zone
        return ZoneState(
            identity=zone.identity,
            origin=self.memory.origin,
            path=self.memory.path,
            made_at=zone.figure(head.CREATED_AT) / 1e6,
            recoveries=zone.figure(head.RECOVERIES_AT),
            sharing=self.process_row.sharing(),
        )

    def on_cleanup(self, listener: Callable[[CleanupReport], object]) -> None:
        """Call `listener` after each cleanup of this process, on the background thread."""
        self.sweeper.on_cleanup(listener)

    def on_overflow(self, listener: Callable[[str], object]) -> None:
        """Call `listener` for each hit on an overflow bucket; see `ZoneStore.on_overflow`."""
        self.counters.on_overflow(listener)

    # --- all strategies ---

    def check(self) -> bool:
        """Whether the lock of the zone can be had."""
        try:
            with self.counters.zone.locked():
                return True
        except StorageUnavailableError:
            return False

    def reset(self) -> int | None:
        """Remove all counters, also those of the policy; returns how many there were."""
        return self.counters.reset()

    def clear(self, key: str) -> None:
        """Remove the fixed windows of `key`."""
        self._texts.clear(_ANY_FIXED, key, self._clock())

    # --- fixed window ---

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add `amount` to the counter `key`, which lives for `expiry` seconds from its first hit."""
        window = _window(Strategy.FIXED_WINDOW, _MAX_AMOUNT, expiry)
        if amount < 0:
            return self._texts.give_back(window, key, -amount, self._clock())
        return self._texts.add(window, key, amount, self._clock())

    def get(self, key: str) -> int:
        """The value of the counter `key`."""
        found = self._texts.read(_ANY_FIXED, key, self._clock())
        return 0 if found is None else found[1]

    def get_expiry(self, key: str) -> float:
        """When the window of `key` ends, as Unix time; now, if nothing is counted."""
        now = self._clock()
        found = self._texts.read(_ANY_FIXED, key, now)
        return now if found is None else found[0]

    # --- sliding-window counter ---

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Take `amount` units of `key` unless the weighted count gets above `limit`."""
        window = _window(Strategy.SLIDING_WINDOW_COUNTER, limit, expiry)
        return self._texts.take(window, key, max(amount, 0), self._clock()).allowed

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Previous count and for how long it weighs, current count and for how long it lives."""
        now = self._clock()
        slot = self._texts.look(_window(Strategy.SLIDING_WINDOW_COUNTER, 0, expiry), key, now)
        value = (
            None
            if slot.time <= now
            else FORMS[Strategy.SLIDING_WINDOW_COUNTER].load(slot.time, slot.word, expiry)
        )
        return sliding_counts(value, expiry, now)

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Remove the sliding window of `key`."""
        self._texts.clear(_window(Strategy.SLIDING_WINDOW_COUNTER, 0, expiry), key, self._clock())


def _open(memory: ZoneMemory, size: int, lock: LockKind) -> Zone:
    if lock == "mutex" and memory.lock_file is not None:
        os.close(memory.lock_file)
        return Zone(memory.memory, size, lock, memory.path)
    return Zone(memory.memory, size, lock, memory.path, memory.lock_file)


def _memory_for(name: str, size: int, lock: LockKind, clock: Clock) -> ZoneMemory:
    make = partial(_prepare, size=size, lock=lock, clock=clock)
    check = partial(head.unusable, size=size, lock=lock)
    return named_memory(name, size, make, check) if name else ZONES.memory_for_next(size, make, check)


def _prepare(memory: mmap, *, size: int, lock: LockKind, clock: Clock) -> None:
    prepare(memory, size, lock, clock())


@lru_cache(maxsize=1024)
def _window(strategy: Strategy, amount: int, seconds: int) -> Window:
    """A limit of `limits` as a window; fixed windows of all lengths share a table, as `get` names none."""
    length = "" if strategy == Strategy.FIXED_WINDOW else seconds
    return Window(f"|{LIMITS_ENDPOINT}||{strategy}|{length}", amount, seconds, strategy, False, "", "")


_ANY_FIXED: Final = _window(Strategy.FIXED_WINDOW, _MAX_AMOUNT, 1)
"""A window of the table in which all fixed windows are."""
