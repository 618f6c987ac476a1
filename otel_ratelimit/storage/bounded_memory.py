"""The bounded counter store: all windows of a request in one step, within a fixed amount of memory.

How it works, from the outside in:

* A counter belongs to a table (one per `Window.prefix`, see `tables`) and is found by an integer made of the
  client's key (see `keys`). Its value is one small immutable object (see `windows`).
* One lock guards everything and is held for microseconds: for one request, or for one bounded step
  of the sweeper.
* A ledger (see `accounting`) knows at any moment what all of this weighs. When there is no room for
  a new key, what has expired is reclaimed on the spot, a bounded piece at a time. If that does
  not help, the key is counted in an overflow bucket that it shares with others of its network. A live
  counter is never forgotten: else an attacker could flood his own record out.
* No network may hold more than there is room left, so that one alone cannot fill the store.
* The sweeper (see `sweeper`) removes what has expired, a piece at a time.
"""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from otel_ratelimit.core.clock import Clock, unix_time
from otel_ratelimit.core.counter_store import StorageSnapshot, Taken
from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.core.lifecycle import at_fork
from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.storage.accounting import Ledger
from otel_ratelimit.storage.keys import (
    CLIENT_KEYS,
    KIND_NAMES,
    KINDS,
    OTHER_KIND_NAME,
    KeyForm,
    Keys,
    network_of,
)
from otel_ratelimit.storage.overflow import Overflow
from otel_ratelimit.storage.sharded_table import Books, Table
from otel_ratelimit.storage.windows import RULES, UNIT_BYTES, Value, units_held

SCHEME: Final = "bounded-memory"
_RECLAIM_EVERY_SECONDS: Final = 1.0
"""A full store is searched for expired counters once in this time at most, a shard per new key."""
_FORK_WAIT_SECONDS: Final = 1.0

_new: Final = tuple.__new__
"""Builds a NamedTuple in half the time of calling its class."""


Seat: TypeAlias = tuple[Table | Overflow, dict[Any, Value], Any, Value | None, float]
"""Where one window of one request is counted: holder, its cells, the key in them, the value there, and
how long to wait until the cost fits (0.0 when it fits)."""


class Ask(NamedTuple):
    """What one counter is asked for."""

    amount: int
    seconds: int
    cost: int
    now: float


class _Plan(NamedTuple):
    """What a request would do, before it does it."""

    seats: list[tuple[Window, Seat]]
    allowed: bool
    """Whether every enforced window has room."""
    shadows: bool
    """Whether every shadow window has."""
    crowded: list[str]
    """Prefixes of the windows that are counted in an overflow bucket."""


class BoundedCounters:
    """`events.CounterStore` in this process's memory, never above `capacity_bytes`.

    Windows of one call that have the same prefix are one counter, which is drained once.

    Args:
        capacity_bytes: what the counters may take, all included.
        clock: for calls that bring no time of their own.
    """

    def __init__(self, capacity_bytes: int, clock: Clock = unix_time) -> None:
        self.clock = clock
        self.ledger = Ledger(capacity_bytes)
        self.keys = Keys(secrets.token_bytes(32))
        self.lock = threading.Lock()
        self.overflows = 0
        self.on_use: Callable[[], object] | None = None
        """Called by the next request, and only by that; see `call_on_use`."""
        self._call_on_use: Callable[[], object] | None = None
        self.by_prefix: dict[str, Table] = {}
        """Tables by name."""
        self._books = Books(self.ledger, [0] * KINDS)
        self._overflow_listeners: list[Callable[[str], object]] = []
        self._reclaiming: Iterator[tuple[Table, int]] = iter(())
        self._reclaim_after = float("-inf")
        at_fork(before=self.before_fork, in_parent=self.after_fork, in_child=self.after_fork_in_child)

    @property
    def name(self) -> str:
        """The URI's scheme."""
        return SCHEME

    # --- CounterStore ---

    def take(self, windows: Sequence[Window], client: str, cost: int, now: float) -> Taken:
        """Count `cost` for `client` in all windows or in none; see `events.CounterStore`."""
        if cost < 0:
            raise ValueError(f"cost is {cost}; it must be 0 or more")
        if self.on_use is not None:
            self.used()
        key = self.keys.of_client(client)
        states = []
        with self.lock:
            plan = self._plan(windows, key, client, cost, now)
            if plan.crowded and self.reclaim(now):
                plan = self._plan(windows, key, client, cost, now)
            seats, allowed, shadows, crowded = plan
            drained = allowed and cost > 0
            for window, (holder, cells, at, value, wait) in seats:
                if drained and (shadows or not window.shadow):
                    new = holder.add(value, window.seconds, cost, now)
                    if value is None or holder.elastic:
                        holder.put(at, new, client)
                    else:
                        cells[at] = new
                    states.append(holder.state(new, window.amount, window.seconds, now, wait))
                else:
                    states.append(holder.state(value, window.amount, window.seconds, now, wait))
        if crowded:
            self.overflowed(crowded)
        return _new(Taken, (allowed, tuple(states)))

    def peek(self, windows: Sequence[Window], client: str, cost: int, now: float) -> Taken:
        """What `take` would answer now; see `events.CounterStore`."""
        key = self.keys.of_client(client)
        with self.lock:
            plan = self._plan(windows, key, client, cost, now)
            states = tuple(
                holder.state(value, window.amount, window.seconds, now, wait)
                for window, (holder, _, _, value, wait) in plan.seats
            )
        return Taken(plan.allowed, states)

    def clear(self, windows: Sequence[Window], client: str) -> int:
        """Forget `client`'s counters in `windows`. Overflow buckets stay: they are others' too."""
        key = self.keys.of_client(client)
        with self.lock:
            tables = {window.prefix: self.by_prefix.get(window.prefix) for window in windows}
            return sum(table.remove(key) for table in tables.values() if table is not None)

    # --- one counter; the lock must be held ---

    def table(self, name: str, strategy: Strategy, seconds: int, form: KeyForm = CLIENT_KEYS) -> Table:
        """The table of that name, opened if need be.

        Raises:
            StorageUnavailableError: the store is so full that not even an empty table has room.
        """
        table = self.by_prefix.get(name)
        if table is None:
            if not self.ledger.may_open():
                raise StorageUnavailableError("full")
            table = Table(name, RULES[strategy], form, seconds, self._books)
            self.by_prefix[name] = table
        return table

    def seat(self, table: Table, key: int | str, text: str, ask: Ask, pending: int = 0) -> Seat:
        """Where to count what is asked; `pending` bytes are spoken for by seats not yet taken.

        `text` is what `key` was made of.
        """
        amount, seconds, cost, now = ask
        cells = table.shards[table.form.spot(key, table.mask)]
        value = cells.get(key)
        growth = cost * UNIT_BYTES if table.elastic else 0
        ledger = self.ledger
        if value is None:
            room = ledger.key_mark - ledger.used + ledger.apart - pending - table.growth - growth
            # Else no network can hold more than there is room.
            if room < ledger.used and ledger.crowded(network := network_of(text) or table.network(key), room):
                overflow = table.overflow
                bucket = overflow.bucket(network, table.form.limit(text))
                value = overflow.cells.get(bucket)
                wait = overflow.wait(value, amount, seconds, cost, now)
                return overflow, overflow.cells, bucket, value, wait
        elif growth:
            room = ledger.growth_mark - ledger.used + ledger.apart - pending - growth
            if room < ledger.used and ledger.crowded(table.network_of(key), room):
                amount = min(amount, units_held(value))
        return table, cells, key, value, table.wait(value, amount, seconds, cost, now)

    def admit(self, table: Table, key: int | str, text: str, ask: Ask) -> Seat:
        """As `seat`, after making room if there is none."""
        seat = self.seat(table, key, text, ask)
        if seat[0] is not table and self.reclaim(ask.now):
            seat = self.seat(table, key, text, ask)
        return seat

    def _plan(self, windows: Sequence[Window], key: int, client: str, cost: int, now: float) -> _Plan:
        seats: list[tuple[Window, Seat]] = []
        crowded: list[str] = []
        allowed = shadows = True
        pending = 0
        tables = self.by_prefix
        for window in windows:
            table = tables.get(window.prefix)
            if table is None:
                table = self.table(window.prefix, window.strategy, window.seconds)
            cells = table.shards[key & table.mask]
            value = cells.get(key)
            if value is None or table.elastic:
                ask = Ask(window.amount, window.seconds, cost, now)
                seat = self.seat(table, key, client, ask, pending)
                if seat[0] is table:
                    pending += table.growth + cost * UNIT_BYTES
                else:
                    crowded.append(window.prefix)
            else:  # as `seat` would, without the call
                wait = table.wait(value, window.amount, window.seconds, cost, now)
                seat = (table, cells, key, value, wait)
            seats.append((window, seat))
            if seat[4]:
                if window.shadow:
                    shadows = False
                else:
                    allowed = False
        return _new(_Plan, (seats, allowed, shadows, crowded))

    # --- upkeep ---

    def call_on_use(self, start: Callable[[], object]) -> None:
        """Call `start` at the next request of this process, and at the first of each forked child."""
        self.on_use = self._call_on_use = start

    def used(self) -> None:
        """Tell whoever asked that the store is in use."""
        on_use, self.on_use = self.on_use, None
        if on_use is not None:
            on_use()

    def overflowed(self, names: Sequence[str]) -> None:
        """Note that a hit was counted in the overflow bucket of each of these limits."""
        with self.lock:
            self.overflows += len(names)
        for name in names:
            for listener in self._overflow_listeners:
                listener(name)

    def on_overflow(self, listener: Callable[[str], object]) -> None:
        """Call `listener` with the prefix (or limit) whenever a hit goes to an overflow bucket.

        It is called on the request's thread, outside the lock, and must be quick.
        """
        self._overflow_listeners.append(listener)

    def tables(self) -> list[Table]:
        """All tables there are now."""
        with self.lock:
            return list(self.by_prefix.values())

    def reclaim(self, now: float) -> int:
        """Look for expired counters in one shard more; the lock must be held.

        A flood of new keys against a full store costs a look at each shard once a second, no more.
        """
        step = next(self._reclaiming, None)
        if step is None:
            if not abs(now - self._reclaim_after) >= _RECLAIM_EVERY_SECONDS:
                return 0
            self._reclaim_after = now
            self._reclaiming = iter([(t, i) for t in self.by_prefix.values() for i in t.depths])
            step = next(self._reclaiming, None)
        return step[0].sweep(step[1], now).removed if step else 0

    def tidy(self, table: Table, now: float, overdue: Callable[[], bool]) -> bool:
        """Give back what `table` takes for nothing, or close it if nothing is counted there.

        A policy that was replaced leaves such tables. False if it was `overdue` before the end. The lock
        must be held.
        """
        if self.by_prefix.get(table.name) is not table:
            return True
        if not table.overflow.sweep(table.seconds, now, overdue):
            return False
        table.shrink()
        if table.unused:
            table.close()
            del self.by_prefix[table.name]
        return True

    def reset(self) -> int:
        """Forget everything; returns how many counters that were."""
        with self.lock:
            removed = sum(table.keys for table in self.by_prefix.values())
            old = dict(self.by_prefix)
            self.by_prefix.clear()
            self._books.kinds[:] = [0] * KINDS
            self._reclaiming = iter(())
            self.ledger.clear()
        del old  # outside the lock: freeing much takes a while
        return removed

    def snapshot(self) -> StorageSnapshot:
        """What the store holds now."""
        by_endpoint: Counter[str] = Counter()
        tables = self.tables()
        for table in tables:
            by_endpoint[table.endpoint] += table.keys
        kinds = {KIND_NAMES.get(kind, OTHER_KIND_NAME): 0 for kind in range(KINDS)}
        for kind, keys in enumerate(self._books.kinds):
            kinds[KIND_NAMES.get(kind, OTHER_KIND_NAME)] += keys
        return StorageSnapshot(
            name=SCHEME,
            size_bytes=self.ledger.used,
            capacity_bytes=self.ledger.capacity,
            keys=sum(table.keys for table in tables),
            overflows=self.overflows,
            by_endpoint={endpoint: keys for endpoint, keys in by_endpoint.items() if keys},
            by_client_kind={kind: keys for kind, keys in kinds.items() if keys},
        )

    # --- fork ---

    def before_fork(self) -> None:
        """Have no other thread in the middle of a change when the process is copied."""
        self.lock.acquire(timeout=_FORK_WAIT_SECONDS)

    def after_fork(self) -> None:
        """Go on as before."""
        if self.lock.locked():
            self.lock.release()

    def after_fork_in_child(self) -> None:
        """Go on, with the upkeep started anew when there is use of it."""
        self.after_fork()
        self.on_use = self._call_on_use
