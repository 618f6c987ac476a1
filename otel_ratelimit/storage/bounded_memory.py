"""The bounded counter store: all windows of a request in one step, within a fixed amount of memory.

How it works, from the outside in:

* A counter belongs to a table: one for each `Window.prefix`, split into shards (`sharded_table`). Its key is
  an integer made of the client's key (`counter_keys`); its value is one small immutable object
  (`strategies`).
* One lock protects everything. It is held for microseconds: for one request, or for one bounded step of the
  sweeper.
* A budget (`memory_budget`) knows at any moment how many bytes all of this takes. When a new key does not
  fit, expired counters are removed at once, one shard at a time. If that does not help, the key is counted in
  an overflow bucket (`overflow`), which it shares with other keys of its network. A live counter is never
  removed: otherwise attackers could flood the store until their own counters are gone.
* No network may hold more than there is room left, so that no network can fill the store alone.
* The sweeper (`sweeper`) removes expired counters every minute, a small step at a time.
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
from otel_ratelimit.storage.counter_keys import (
    CLIENT_KEYS,
    KIND_NAMES,
    KINDS,
    OTHER_KIND_NAME,
    CounterKeys,
    KeyForm,
    network_of,
)
from otel_ratelimit.storage.memory_budget import MemoryBudget
from otel_ratelimit.storage.network_share import must_overflow
from otel_ratelimit.storage.overflow import OverflowBuckets
from otel_ratelimit.storage.sharded_table import Accounts, ShardedTable
from otel_ratelimit.storage.strategies import RULES, UNIT_BYTES, Value, units_held

SCHEME: Final = "bounded-memory"
_RECLAIM_EVERY_SECONDS: Final = 1.0
"""A full store is searched for expired counters at most once in this time, one shard for each new key."""
_FORK_WAIT_SECONDS: Final = 1.0

_new: Final = tuple.__new__
"""Builds a NamedTuple in half the time of calling its class."""


Slot: TypeAlias = tuple[ShardedTable | OverflowBuckets, dict[Any, Value], Any, Value | None, float]
"""Where one window of one request is counted: the holder, its cells, the key in them, the value found there,
and how long to wait until the cost fits (0.0 when it fits now)."""


class CounterRequest(NamedTuple):
    """The request to one counter."""

    amount: int
    seconds: int
    cost: int
    now: float


class _Plan(NamedTuple):
    """The slots and the decision of a request, before anything is changed."""

    slots: list[tuple[Window, Slot]]
    allowed: bool
    """Whether every enforced window has room."""
    shadows: bool
    """Whether every shadow window has room."""
    overflowing: list[str]
    """Prefixes of the windows that are counted in an overflow bucket."""


class BoundedMemoryStore:
    """A `CounterStore` in this process's memory that never takes more than `capacity_bytes`.

    Windows of one call that have the same prefix share one counter, which is drained once.

    Args:
        capacity_bytes: the most that the counters may take, with everything that they need.
        clock: Unix time in seconds, for calls that pass none.
    """

    def __init__(self, capacity_bytes: int, clock: Clock = unix_time) -> None:
        self.clock = clock
        self.budget = MemoryBudget(capacity_bytes)
        self.keys = CounterKeys(secrets.token_bytes(32))
        self.lock = threading.Lock()
        self.overflows = 0
        self.on_use: Callable[[], object] | None = None
        """The next request calls it, and no later one; see `call_on_use`."""
        self._call_on_use: Callable[[], object] | None = None
        self.by_prefix: dict[str, ShardedTable] = {}
        """Tables by name."""
        self._accounts = Accounts(self.budget, [0] * KINDS)
        self._overflow_listeners: list[Callable[[str], object]] = []
        self._reclaiming: Iterator[tuple[ShardedTable, int]] = iter(())
        self._reclaim_after = float("-inf")
        at_fork(before=self.before_fork, in_parent=self.after_fork, in_child=self.after_fork_in_child)

    @property
    def name(self) -> str:
        """The URI's scheme."""
        return SCHEME

    # --- CounterStore ---

    def take(self, windows: Sequence[Window], client: str, cost: int, now: float) -> Taken:
        """Count `cost` for `client` in all windows or in none; see `CounterStore.take`."""
        if cost < 0:
            raise ValueError(f"cost is {cost}; it must be 0 or more")
        if self.on_use is not None:
            self.report_use()
        key = self.keys.of_client(client)
        states = []
        with self.lock:
            plan = self._plan(windows, key, client, cost, now)
            if plan.overflowing and self.reclaim(now):
                plan = self._plan(windows, key, client, cost, now)
            slots, allowed, shadows, overflowing = plan
            drained = allowed and cost > 0
            for window, (holder, cells, at, value, wait) in slots:
                if drained and (shadows or not window.shadow):
                    new = holder.add(value, window.seconds, cost, now)
                    if value is None or holder.elastic:
                        holder.put(at, new, client)
                    else:
                        cells[at] = new
                    states.append(holder.state(new, window.amount, window.seconds, now, wait))
                else:
                    states.append(holder.state(value, window.amount, window.seconds, now, wait))
        if overflowing:
            self.count_overflows(overflowing)
        return _new(Taken, (allowed, tuple(states)))

    def peek(self, windows: Sequence[Window], client: str, cost: int, now: float) -> Taken:
        """The answer that `take` would give now; see `CounterStore.peek`."""
        key = self.keys.of_client(client)
        with self.lock:
            plan = self._plan(windows, key, client, cost, now)
            states = tuple(
                holder.state(value, window.amount, window.seconds, now, wait)
                for window, (holder, _, _, value, wait) in plan.slots
            )
        return Taken(plan.allowed, states)

    def clear(self, windows: Sequence[Window], client: str) -> int:
        """Remove `client`'s counters in `windows`. Overflow buckets stay, since other clients share them."""
        key = self.keys.of_client(client)
        with self.lock:
            tables = {window.prefix: self.by_prefix.get(window.prefix) for window in windows}
            return sum(table.remove(key) for table in tables.values() if table is not None)

    # --- one counter; the lock must be held ---

    def table(self, name: str, strategy: Strategy, seconds: int, form: KeyForm = CLIENT_KEYS) -> ShardedTable:
        """The table of that name, opened if it is new.

        Raises:
            StorageUnavailableError: the store is so full that not even an empty table fits.
        """
        table = self.by_prefix.get(name)
        if table is None:
            if not self.budget.has_room_for_table():
                raise StorageUnavailableError("full")
            table = ShardedTable(name, RULES[strategy], form, seconds, self._accounts)
            self.by_prefix[name] = table
        return table

    def slot(
        self, table: ShardedTable, key: int | str, text: str, request: CounterRequest, pending: int = 0
    ) -> Slot:
        """The slot in which to count a request.

        `text` is the text that `key` was made of; `pending` is how many bytes the request's other slots will
        take.
        """
        amount, seconds, cost, now = request
        cells = table.shards[table.form.shard_index(key, table.mask)]
        value = cells.get(key)
        growth = cost * UNIT_BYTES if table.elastic else 0
        budget = self.budget
        if value is None:
            room = budget.key_mark - budget.used + budget.overhead - pending - table.growth - growth
            # Only above half of the budget can a network hold more than there is room left.
            if room < budget.used and must_overflow(
                budget, network := network_of(text) or table.network(key), room
            ):
                overflow = table.overflow
                bucket = overflow.bucket(network, table.form.limit(text))
                value = overflow.cells.get(bucket)
                wait = overflow.wait(value, amount, seconds, cost, now)
                return overflow, overflow.cells, bucket, value, wait
        elif growth:
            room = budget.growth_mark - budget.used + budget.overhead - pending - growth
            if room < budget.used and must_overflow(budget, table.network_of(key), room):
                amount = min(amount, units_held(value))
        return table, cells, key, value, table.wait(value, amount, seconds, cost, now)

    def admit(self, table: ShardedTable, key: int | str, text: str, request: CounterRequest) -> Slot:
        """As `slot`, but expired counters are removed first if the key does not fit."""
        slot = self.slot(table, key, text, request)
        if slot[0] is not table and self.reclaim(request.now):
            slot = self.slot(table, key, text, request)
        return slot

    def _plan(self, windows: Sequence[Window], key: int, client: str, cost: int, now: float) -> _Plan:
        slots: list[tuple[Window, Slot]] = []
        overflowing: list[str] = []
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
                request = CounterRequest(window.amount, window.seconds, cost, now)
                slot = self.slot(table, key, client, request, pending)
                if slot[0] is table:
                    pending += table.growth + cost * UNIT_BYTES
                else:
                    overflowing.append(window.prefix)
            else:  # as `slot` would, without the call
                wait = table.wait(value, window.amount, window.seconds, cost, now)
                slot = (table, cells, key, value, wait)
            slots.append((window, slot))
            if slot[4]:
                if window.shadow:
                    shadows = False
                else:
                    allowed = False
        return _new(_Plan, (slots, allowed, shadows, overflowing))

    # --- upkeep ---

    def call_on_use(self, start: Callable[[], object]) -> None:
        """Call `start` at the next request of this process, and at the first request of each forked child."""
        self.on_use = self._call_on_use = start

    def report_use(self) -> None:
        """Call what `call_on_use` was given, once."""
        on_use, self.on_use = self.on_use, None
        if on_use is not None:
            on_use()

    def count_overflows(self, names: Sequence[str]) -> None:
        """Note that a hit was counted in the overflow bucket of each of these limits."""
        with self.lock:
            self.overflows += len(names)
        for name in names:
            for listener in self._overflow_listeners:
                listener(name)

    def on_overflow(self, listener: Callable[[str], object]) -> None:
        """Call `listener` with the prefix (or limit) whenever a hit goes to an overflow bucket.

        The request's thread calls it, outside the lock, so it must be quick.
        """
        self._overflow_listeners.append(listener)

    def tables(self) -> list[ShardedTable]:
        """All tables that are open now."""
        with self.lock:
            return list(self.by_prefix.values())

    def reclaim(self, now: float) -> int:
        """Remove the expired counters of the next shard, and return how many; the lock must be held.

        A flood of new keys against a full store costs no more than one look at each shard per second.
        """
        step = next(self._reclaiming, None)
        if step is None:
            if not abs(now - self._reclaim_after) >= _RECLAIM_EVERY_SECONDS:
                return 0
            self._reclaim_after = now
            self._reclaiming = iter([(t, i) for t in self.by_prefix.values() for i in t.depths])
            step = next(self._reclaiming, None)
        return step[0].sweep(step[1], now).removed if step else 0

    def tidy(self, table: ShardedTable, now: float, overdue: Callable[[], bool]) -> bool:
        """Free what `table` does not need, and close it if it is empty; a replaced policy leaves such tables.

        Returns False if it was `overdue` before the end. The lock must be held.
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
        """Remove all counters, and return how many there were."""
        with self.lock:
            removed = sum(table.keys for table in self.by_prefix.values())
            old = dict(self.by_prefix)
            self.by_prefix.clear()
            self._accounts.kinds[:] = [0] * KINDS
            self._reclaiming = iter(())
            self.budget.clear()
        del old  # outside the lock, because freeing many objects takes a while
        return removed

    def snapshot(self) -> StorageSnapshot:
        """A snapshot of the store's size and counters."""
        by_endpoint: Counter[str] = Counter()
        tables = self.tables()
        for table in tables:
            by_endpoint[table.endpoint] += table.keys
        kinds = {KIND_NAMES.get(kind, OTHER_KIND_NAME): 0 for kind in range(KINDS)}
        for kind, keys in enumerate(self._accounts.kinds):
            kinds[KIND_NAMES.get(kind, OTHER_KIND_NAME)] += keys
        return StorageSnapshot(
            name=SCHEME,
            size_bytes=self.budget.used,
            capacity_bytes=self.budget.capacity,
            keys=sum(table.keys for table in tables),
            overflows=self.overflows,
            by_endpoint={endpoint: keys for endpoint, keys in by_endpoint.items() if keys},
            by_client_kind={kind: keys for kind, keys in kinds.items() if keys},
        )

    # --- fork ---

    def before_fork(self) -> None:
        """Take the lock, so that the copy of the process holds no half-made change of another thread."""
        self.lock.acquire(timeout=_FORK_WAIT_SECONDS)

    def after_fork(self) -> None:
        """Release the lock."""
        if self.lock.locked():
            self.lock.release()

    def after_fork_in_child(self) -> None:
        """Release the lock, and start the sweeper again at the child's first request."""
        self.after_fork()
        self.on_use = self._call_on_use
