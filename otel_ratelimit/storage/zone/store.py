"""The counter store in a zone of shared memory: all windows of a request in one step, for all processes.

How a request is counted:

* The client's key becomes a number of 64 bits, and each limit (`tables`) adds a random number of its own. The
  result is the counter's key, which says where the counter lies (`slots`). Two counters have the same key
  with a probability of 2 ** -64, and as the numbers are secret, nobody can look for such a pair.
* Under the zone's lock (`lock`), all windows are looked up and decided, and then all are written or none. A
  single number is written by one instruction, everything else by way of the journal (`journal`). So a
  process can be killed at any moment, and loses its own last count at most.
* A new counter needs a free slot. When there is none, or when its network already holds more than there is
  room left (`network_share`), it is counted in an overflow bucket (`overflow`). A live counter is never
  removed: otherwise attackers could flood the zone until their own counters are gone.

A process that is stopped while it holds the lock must not stop the others: after `MAX_WAIT_SECONDS` they get
a `StorageUnavailableError`, and for `STALLED_SECONDS` they do not wait again.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Collection, Sequence
from copy import copy
from typing import Final, TypeAlias

from otel_ratelimit.core.clock import Clock, unix_time
from otel_ratelimit.core.counter_store import StorageSnapshot, Taken, WindowState
from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.core.lifecycle import at_fork
from otel_ratelimit.core.route_plan import Window
from otel_ratelimit.storage.zone import head
from otel_ratelimit.storage.zone.figures import snapshot_of
from otel_ratelimit.storage.zone.journal import SlotFields
from otel_ratelimit.storage.zone.layout import WORD_BYTES
from otel_ratelimit.storage.zone.lock_holder import NOT_ASKED
from otel_ratelimit.storage.zone.opened import NewCounter, Zone
from otel_ratelimit.storage.zone.quick_path import MAX_WINDOWS, QuickPath
from otel_ratelimit.storage.zone.seats import Seats
from otel_ratelimit.storage.zone.slots import number_of
from otel_ratelimit.storage.zone.sweep import reclaim, remove_all
from otel_ratelimit.storage.zone.tables import Table
from otel_ratelimit.storage.zone.uri import SCHEME
from otel_ratelimit.storage.zone.values import FORMS

_ORDER: Final = sys.byteorder
_OVERFLOWS: Final = head.OVERFLOWS_AT >> 3
_ONE_WORD: Final = 2
"""An offset and a value."""
_WORD_AT: Final = 16
"""Where in a slot its word is."""
_BODY: Final = struct.Struct("@dQQ")
"""A slot without its key: time, word, description."""
_new: Final = tuple.__new__
"""Builds a NamedTuple in half the time of calling its class."""

Item: TypeAlias = tuple[Window, Table, int, int, float, int, int, float]
"""One window of one request: the window, its table, then the slot (offset, key, time, word, description), and
how long to wait until the cost fits."""


Plan: TypeAlias = tuple[list[Item], bool, bool, dict[int, NewCounter], list[str]]
"""The decision of a request, before anything is changed: its windows; whether every enforced window has room;
whether every shadow window has room; counters to be opened, by offset; prefixes of the windows that are
counted in an overflow bucket."""


class ZoneStore:
    """A `CounterStore` in a zone.

    Windows of one call that have the same prefix share one counter, which is drained once.

    Args:
        zone: the zone.
        clock: Unix time in seconds, for calls that pass none.
    """

    def __init__(self, zone: Zone, clock: Clock = unix_time) -> None:
        self.zone = zone
        self.clock = clock
        self.on_use: tuple[Callable[[], object], ...] | None = None
        """The next request calls them, and no later one; see `call_on_use`."""
        self._call_on_use: tuple[Callable[[], object], ...] = ()
        self._tables: dict[str, Table] = {}
        self._overflow_listeners: list[Callable[[str], object]] = []
        # What every request uses, at hand.
        self.key_of: Callable[[str], int] = zone.keys.of_client
        self._holder = zone.holder
        self._take_quickly = QuickPath(zone, self._tables).take
        self._find, self._memory, self._words = zone.main.find, zone.memory, zone.words
        self._write = zone.journal.write
        at_fork(in_child=self.after_fork_in_child)

    @property
    def name(self) -> str:
        """The URI's scheme."""
        return SCHEME

    def for_texts(self, number_of: Callable[[str], int]) -> ZoneStore:
        """The same store for texts in place of clients; `number_of` makes their numbers."""
        texts = copy(self)
        texts.key_of = number_of
        texts.on_use = None  # its owner reports the use
        return texts

    # --- CounterStore ---

    def take(self, windows: Sequence[Window], client: str, cost: int, now: float) -> Taken:
        """Count `cost` for `client` in all windows or in none; see `CounterStore.take`.

        Raises:
            StorageUnavailableError: the lock could not be had in time, or all tables are in use.
        """
        if cost < 0:
            raise ValueError(f"cost is {cost}; it must be 0 or more")
        if self.on_use is not None:
            self.report_use()
        key = self.key_of(client)
        holder = self._holder
        code = NOT_ASKED
        try:
            code = holder.try_lock(holder.handle)
            if code:
                code = holder.wait(code)
            answer = self._take_quickly(windows, key, client, cost, now)
            if answer is not None:
                return answer
            plan = self.plan(windows, key, client, cost, now)
            if plan[4] and reclaim(self.zone, now):
                plan = self.plan(windows, key, client, cost, now)
            answer = self.decide(plan, cost, now)
        finally:
            if code:
                holder.give_up(code)
            else:
                holder.unlock(holder.handle)
        if plan[4]:
            self.report_overflows(plan[4])
        return answer

    def peek(self, windows: Sequence[Window], client: str, cost: int, now: float) -> Taken:
        """The answer that `take` would give now; see `CounterStore.peek`."""
        key = self.key_of(client)
        with self.zone.locked():
            plan = self.plan(windows, key, client, cost, now)
        return Taken(plan[1], states_of(plan[0], now))

    def clear(self, windows: Sequence[Window], client: str) -> int:
        """Remove `client`'s counters in `windows`. Overflow buckets stay, since other clients share them."""
        number = number_of(self.key_of(client))
        salts = {self.zone.tables.salt_of(window.prefix) for window in windows}
        with self.zone.locked():
            return sum(self.zone.remove(number ^ salt or 1) for salt in salts)

    # --- one request; the lock must be held ---

    def plan(self, windows: Sequence[Window], key: int, client: str, cost: int, now: float) -> Plan:
        """Find or plan the counters of a request, and decide it; `key` is the number made of `client`."""
        if len(windows) > MAX_WINDOWS:
            raise StorageUnavailableError("TooManyLimits")
        items: list[Item] = []
        seats: Seats | None = None
        overflowing: list[str] = []
        allowed = shadows = True
        number = number_of(key)
        for window in windows:
            table = self._tables.get(window.prefix)
            if table is None or window.period > table.period:
                table = self.table(window, now)
            place = number ^ table.salt or 1
            at = self._find(place, place.to_bytes(WORD_BYTES, _ORDER))
            if at >= 0:
                time, value, description = _BODY.unpack_from(self._memory, at + WORD_BYTES)
            else:
                if seats is None:
                    seats = self._seats(windows, key, client, now)
                table = self._tables[window.prefix]
                (at, place, time, value, description), is_overflow = seats.seat(table, place)
                if is_overflow:
                    overflowing.append(window.prefix)
            form, period = table.form, window.period
            wait = form.rules.wait(form.load(time, value, period), window.capacity, period, cost, now)
            items.append((window, table, at, place, time, value, description, wait))
            if wait:
                if window.shadow:
                    shadows = False
                else:
                    allowed = False
        return items, allowed, shadows, {} if seats is None else seats.new, overflowing

    def count(
        self, items: list[Item], new: dict[int, NewCounter], shadows: bool, cost: int, now: float
    ) -> tuple[WindowState, ...]:
        """Write the counters of a request that is allowed, and return their states."""
        slots: list[SlotFields] = []
        counts: list[int] = []
        states = []
        for window, table, at, key, time, word, description, wait in items:
            period = window.period
            counted = shadows or not window.shadow
            if table.is_fixed and now < time <= now + period:
                used = word + cost if counted else word
                if counted:
                    counts += (at + _WORD_AT, used)
                left = window.capacity - used
                states.append(_new(WindowState, (used, max(0, left), time - now, wait)))
            else:
                rules, load, dump = table.form.rules, table.form.load, table.form.dump
                held = load(time, word, period)
                if counted:
                    held = rules.add(held, window.capacity, period, cost, now)
                    slots.append((at, key, *dump(held, period), description))
                states.append(rules.state(held, window.capacity, period, now, wait))
        if slots:
            self.zone.write(slots, new, counts)
        elif len(counts) == _ONE_WORD:  # one write needs no journal
            self._words[counts[0] >> 3] = counts[1]
        elif counts:
            self._write(slots, counts)
        return tuple(states)

    def decide(self, plan: Plan, cost: int, now: float) -> Taken:
        """Count a request if it is allowed, and answer it."""
        items, allowed, shadows, new, overflowing = plan
        counted = allowed and cost
        states = self.count(items, new, shadows, cost, now) if counted else states_of(items, now)
        if overflowing:
            self._words[_OVERFLOWS] += len(overflowing)
        return Taken(allowed, states)

    def table(self, window: Window, now: float, kept: Collection[int] = ()) -> Table:
        """The table of a window, opened if it is new; it keeps the longest period that it was asked for.

        Raises:
            StorageUnavailableError: the zone cannot count by its strategy, or all tables are in use.
        """
        table = self._tables.get(window.prefix)
        if table is None or window.period > table.period or not self.zone.tables.is_current(table):
            form = FORMS.get(window.strategy)
            if form is None:
                raise StorageUnavailableError("StrategyNotSupported")
            table = self.zone.tables.open(window.prefix, form, window.period, now, kept)
            self._tables[window.prefix] = table
        return table

    def open_table(self, prefix: str) -> Table | None:
        """The table of a limit if this process has it open; the lock need not be held."""
        return self._tables.get(prefix)

    def _seats(self, windows: Sequence[Window], key: int, client: str, now: float) -> Seats:
        """For a request of which a counter is missing; all its tables are open and current then."""
        tables: list[Table] = []
        for window in windows:
            # A table without counters may be given to another limit, but not to one of this request.
            tables.append(self.table(window, now, {table.number for table in tables}))
        return Seats(self.zone, tables, number_of(key), self.zone.keys.network_of(client, key), client, now)

    # --- upkeep ---

    def call_on_use(self, start: Callable[[], object]) -> None:
        """Call `start` at the next request of this process, and at the first request of each forked child."""
        self.on_use = self._call_on_use = (*self._call_on_use, start)

    def report_use(self) -> None:
        """Call what `call_on_use` was given, once."""
        on_use, self.on_use = self.on_use, None
        for start in on_use or ():
            start()

    def on_overflow(self, listener: Callable[[str], object]) -> None:
        """Call `listener` with the prefix (or limit) whenever a hit goes to an overflow bucket.

        The request's thread calls it, outside the lock, so it must be quick.
        """
        self._overflow_listeners.append(listener)

    def report_overflows(self, names: Sequence[str]) -> None:
        """Tell the listeners that a hit was counted in the overflow bucket of each of these limits."""
        for name in names:
            for listener in self._overflow_listeners:
                listener(name)

    def reset(self) -> int:
        """Remove all counters, and return how many there were."""
        return remove_all(self.zone)

    def snapshot(self) -> StorageSnapshot:
        """A snapshot of the zone's size and counters."""
        return snapshot_of(self.zone, SCHEME)

    def after_fork_in_child(self) -> None:
        """Start the sweeper again, and so on, at the child's first request."""
        self.on_use = self._call_on_use or None


def states_of(items: list[Item], now: float) -> tuple[WindowState, ...]:
    """The states of counters that are not counted in."""
    return tuple(
        table.form.rules.state(
            table.form.load(time, word, window.period), window.capacity, window.period, now, wait
        )
        for window, table, _, _, time, word, _, wait in items
    )
