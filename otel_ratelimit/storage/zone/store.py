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
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

from otel_ratelimit.core.clock import Clock, unix_time
from otel_ratelimit.core.counter_store import StorageSnapshot, Taken, WindowState
from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.core.lifecycle import at_fork
from otel_ratelimit.core.route_plan import Window
from otel_ratelimit.storage.clock_set_back import seconds_until
from otel_ratelimit.storage.counter_keys import KIND_SHIFT, NETWORK_SHIFT, limit_of, network_of
from otel_ratelimit.storage.zone import head
from otel_ratelimit.storage.zone.figures import snapshot_of
from otel_ratelimit.storage.zone.journal import SlotFields
from otel_ratelimit.storage.zone.layout import BUCKET_BYTES, SLOT_BYTES, WORD_BYTES
from otel_ratelimit.storage.zone.opened import NewCounter, Zone, describe
from otel_ratelimit.storage.zone.slots import SECOND_SHIFT
from otel_ratelimit.storage.zone.sweep import reclaim, remove_all
from otel_ratelimit.storage.zone.tables import Table
from otel_ratelimit.storage.zone.uri import SCHEME
from otel_ratelimit.storage.zone.values import FORMS

MAX_WINDOWS: Final = 32
"""The most limits of one request, so that a change fits the journal."""

_ORDER: Final = sys.byteorder
_WORD_MASK: Final = (1 << 64) - 1
_FOLD: Final = 67
"""Every fifth bit of a client key is 0; the other half, moved by 67 bits, fills these."""
_SLOT_MASK: Final = SLOT_BYTES - 1
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


class _Seat(NamedTuple):
    """Where a counter goes that is not there yet."""

    item: tuple[int, int, float, int, int]
    """Offset, key, time, word and description of its slot."""
    is_overflow: bool


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
        self._key_of = zone.keys.of_client
        self._try_lock, self._unlock, self._handle = zone.lock.try_lock, zone.lock.unlock, zone.lock.handle
        self._find, self._memory, self._words = zone.memory.find, zone.memory, zone.words
        self._write = zone.journal.write
        self._first, self._buckets = zone.layout.buckets_at, zone.layout.buckets
        at_fork(in_child=self.after_fork_in_child)

    @property
    def name(self) -> str:
        """The URI's scheme."""
        return SCHEME

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
        key = self._key_of(client)
        code = self._try_lock(self._handle)
        if code:
            self.zone.wait(code)
        try:
            plan = self.plan(windows, key, client, cost, now)
            if plan[4] and reclaim(self.zone, now):
                plan = self.plan(windows, key, client, cost, now)
            items, allowed, shadows, new, overflowing = plan
            states = self.count(items, new, shadows, cost, now) if allowed and cost else states_of(items, now)
        finally:
            self._unlock(self._handle)
        if overflowing:
            self.report_overflows(overflowing)
        return _new(Taken, (allowed, states))

    def peek(self, windows: Sequence[Window], client: str, cost: int, now: float) -> Taken:
        """The answer that `take` would give now; see `CounterStore.peek`."""
        key = self._key_of(client)
        with self.zone.locked():
            plan = self.plan(windows, key, client, cost, now)
        return Taken(plan[1], states_of(plan[0], now))

    def clear(self, windows: Sequence[Window], client: str) -> int:
        """Remove `client`'s counters in `windows`. Overflow buckets stay, since other clients share them."""
        number = number_of(self._key_of(client))
        with self.zone.locked():
            tables = {window.prefix: self.table(window, self.clock()) for window in windows}
            return sum(self.zone.remove(number ^ table.salt or 1) for table in tables.values())

    # --- one request; the lock must be held ---

    def plan(  # noqa: C901, PLR0912 - every request runs it, and calls would cost a fifth of its time
        self, windows: Sequence[Window], key: int, client: str, cost: int, now: float
    ) -> Plan:
        """Find or plan the counters of a request, and decide it; `key` is the number made of `client`."""
        if len(windows) > MAX_WINDOWS:
            raise StorageUnavailableError("TooManyLimits")
        items: list[Item] = []
        new: dict[int, NewCounter] = {}
        overflowing: list[str] = []
        allowed = shadows = True
        number = (key ^ key >> _FOLD) & _WORD_MASK
        tables, find, memory = self._tables, self._find, self._memory
        first, buckets = self._first, self._buckets
        for window in windows:
            table = tables.get(window.prefix)
            if table is None:
                table = self.table(window, now)
            place = number ^ table.salt or 1
            word = place.to_bytes(WORD_BYTES, _ORDER)
            at = first + place % buckets * BUCKET_BYTES
            at = find(word, at, at + BUCKET_BYTES)
            if at < 0:
                at = first + (place >> SECOND_SHIFT) % buckets * BUCKET_BYTES
                at = find(word, at, at + BUCKET_BYTES)
            if at > 0 and at & _SLOT_MASK:  # the same 8 bytes at another place than a key's
                at = self.zone.main.find(place, word)
            if at >= 0:
                time, value, description = _BODY.unpack_from(memory, at + WORD_BYTES)
            else:
                table = self._current(table, window, now)
                others = self._places(windows, number) if len(windows) > 1 else set()
                seat = self._seat(table, place, key, client, now, new, others)
                at, place, time, value, description = seat.item
                if seat.is_overflow:
                    overflowing.append(window.prefix)
            capacity, period = window.capacity, window.period
            if table.is_fixed and time <= now + period and cost <= capacity:
                wait = 0.0 if time <= now or value + cost <= capacity else seconds_until(time, now, period)
            else:
                form = table.form
                wait = form.rules.wait(form.load(time, value, period), capacity, period, cost, now)
            items.append((window, table, at, place, time, value, description, wait))
            if wait:
                if window.shadow:
                    shadows = False
                else:
                    allowed = False
        return items, allowed, shadows, new, overflowing

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
        items, allowed, shadows, new, _ = plan
        counted = allowed and cost
        return Taken(
            allowed, self.count(items, new, shadows, cost, now) if counted else states_of(items, now)
        )

    def _seat(
        self,
        table: Table,
        place: int,
        key: int,
        client: str,
        now: float,
        new: dict[int, NewCounter],
        taken: set[int],
    ) -> _Seat:
        """The seat of the counter `place`, which is added to `new`; `taken` are offsets that are in use."""
        for at, opened in new.items():
            if opened.key == place:  # another window of this request with the same prefix
                return _Seat((at, place, 0.0, 0, opened.description), opened.is_overflow)
            if opened.place is not None:
                taken |= {at, opened.place.freed.at}
        zone = self.zone
        network = network_of(client) or key >> NETWORK_SHIFT
        share = network % zone.layout.networks
        used = zone.figure(head.USED_AT)
        room = zone.layout.key_mark - used - len(new)
        # Only above half of the slots can a network hold more than there is room left.
        if room >= used or 0 <= room >= zone.figure(zone.layout.networks_at + share * WORD_BYTES):
            found = zone.main.place(place, now, taken)
            if found is not None:
                description = describe(table.number, share, network >> KIND_SHIFT)
                new[found.at] = NewCounter(place, description, found, is_overflow=False)
                return _Seat((found.at, place, 0.0, 0, description), is_overflow=False)
        return self._overflow_seat(table, network, client, now, new, taken)

    def _overflow_seat(
        self,
        table: Table,
        network: int,
        client: str,
        now: float,
        new: dict[int, NewCounter],
        taken: set[int],
    ) -> _Seat:
        zone = self.zone
        limit = limit_of(client) if table.is_of_texts else ""
        key, at, place = zone.overflow.bucket(table, network, limit, now, taken)
        if place is not None:
            description = describe(table.number, 0, 0)
            new[place.at] = NewCounter(key, description, place, is_overflow=True)
            return _Seat((place.at, key, 0.0, 0, description), is_overflow=True)
        _, _, time, word, _ = zone.slot(at)
        return _Seat((at, key, time, word, describe(table.number, 0, 0)), is_overflow=True)

    def _places(self, windows: Sequence[Window], number: int) -> set[int]:
        """Offsets of all counters of a request that there are, which no new counter may take."""
        find = self.zone.main.find
        tables = [self._tables[each.prefix] for each in windows if each.prefix in self._tables]
        keys = [number ^ table.salt or 1 for table in tables]
        return {find(key, key.to_bytes(WORD_BYTES, _ORDER)) for key in keys}

    def table(self, window: Window, now: float) -> Table:
        """The table of a window, opened if it is new.

        Raises:
            StorageUnavailableError: the zone cannot count by its strategy, or all tables are in use.
        """
        table = self._tables.get(window.prefix)
        if table is None:
            form = FORMS.get(window.strategy)
            if form is None:
                raise StorageUnavailableError("StrategyNotSupported")
            table = self.zone.tables.open(window.prefix, form, window.seconds, now)
            self._tables[window.prefix] = table
        return table

    def _current(self, table: Table, window: Window, now: float) -> Table:
        """`table`, opened again if another process has given its entry to another limit."""
        if self.zone.tables.is_current(table):
            return table
        del self._tables[window.prefix]
        return self.table(window, now)

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
        """Note that a hit was counted in the overflow bucket of each of these limits."""
        with self.zone.locked():
            self.zone.words[head.OVERFLOWS_AT >> 3] += len(names)
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


def number_of(key: int) -> int:
    """The number of 64 bits that stands for a client's key."""
    return (key ^ key >> _FOLD) & _WORD_MASK


def states_of(items: list[Item], now: float) -> tuple[WindowState, ...]:
    """The states of counters that are not counted in."""
    return tuple(
        table.form.rules.state(
            table.form.load(time, word, window.period), window.capacity, window.period, now, wait
        )
        for window, table, _, _, time, word, _, wait in items
    )
