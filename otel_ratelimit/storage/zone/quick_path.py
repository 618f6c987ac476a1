"""The quick path: fixed windows that have room, which nearly every request consists of.

It does what `ZoneStore` does for any request, in one pass and without an object for each step. A counter may
be live, expired, or not there yet if its first bucket has an empty slot for it. Everything else (other
strategies, most refusals, slots of expired counters, overflow buckets) is left to `ZoneStore`.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from otel_ratelimit.core.counter_store import Taken, WindowState
from otel_ratelimit.core.route_plan import Window
from otel_ratelimit.storage.clock_set_back import seconds_until
from otel_ratelimit.storage.counter_keys import KIND_SHIFT
from otel_ratelimit.storage.zone import head
from otel_ratelimit.storage.zone.journal import SlotFields
from otel_ratelimit.storage.zone.layout import BUCKET_BYTES, SLOT_BYTES, WORD_BYTES
from otel_ratelimit.storage.zone.opened import Zone, describe
from otel_ratelimit.storage.zone.seats import network_number
from otel_ratelimit.storage.zone.slots import SECOND_SHIFT, number_of
from otel_ratelimit.storage.zone.tables import COUNTERS_AT, Table

MAX_WINDOWS: Final = 64
"""The most limits of one request, so that a change fits the journal."""

_ORDER: Final = sys.byteorder
_SLOT_MASK: Final = SLOT_BYTES - 1
_WORD_AT: Final = 2 * WORD_BYTES
"""Where in a slot its word is."""
_body: Final = struct.Struct("@8xdQQ").unpack_from
"""Time, word and description of a slot."""
_PAIR: Final = 2
_new: Final = tuple.__new__
"""Builds a NamedTuple in half the time of calling its class."""

_Opened: TypeAlias = tuple[int, int, float, Table]
"""A new counter: the offset of its slot, its key, its time, and its table."""


class QuickPath:
    """The quick path of a zone, whose lock must be held for every method.

    Args:
        zone: the zone.
        tables: the tables that this process has open, by `Window.prefix`.
    """

    def __init__(self, zone: Zone, tables: Mapping[str, Table]) -> None:
        self._tables = tables
        self._zone, self._memory, self._find = zone, zone.memory, zone.memory.find
        self._empty, self._page_of = zone.main.empty, zone.page_of
        journal, layout = zone.journal, zone.layout
        self._write, self._write_pair = journal.write, journal.write_pair
        self._first, self._buckets = layout.buckets_at, layout.buckets
        self._key_mark = layout.key_mark
        self._networks_at, self._networks = layout.networks_at, layout.networks

    def take(  # noqa: C901, PLR0911, PLR0912 - every request runs it, and calls would cost a fifth of its time
        self, windows: Sequence[Window], key: int, client: str, cost: int, now: float
    ) -> Taken | None:
        """The answer of `ZoneStore.take`; None, and nothing is changed, if this path does not cover it.

        Args:
            windows: the windows.
            key: the key made of the client.
            client: the client.
            cost: units, 0 or more.
            now: Unix time in seconds.
        """
        tables, find, memory = self._tables, self._find, self._memory
        first, buckets = self._first, self._buckets
        number = number_of(key)
        states = []
        words: list[int] = []
        slots: list[SlotFields] = []
        opened: list[_Opened] = []
        for window in windows:
            table = tables.get(window.prefix)
            if table is None or not table.is_fixed or window.period > table.period:
                return None
            place = number ^ table.salt or 1
            word = place.to_bytes(WORD_BYTES, _ORDER)
            at = first + place % buckets * BUCKET_BYTES
            at = find(word, at, at + BUCKET_BYTES)
            if at < 0:
                at = first + (place >> SECOND_SHIFT) % buckets * BUCKET_BYTES
                at = find(word, at, at + BUCKET_BYTES)
            if at < 0:
                time = now + window.period
                at = self._empty(place, now)
                if at < 0 or not cost:
                    return None
                used = cost
                opened.append((at, place, time, table))
            elif at & _SLOT_MASK:  # these 8 bytes are not a key
                return None
            else:
                time, used, description = _body(memory, at)
                if now < time <= now + window.period:
                    used += cost
                    words += (at + _WORD_AT, used)
                elif time <= now and cost:
                    time, used = now + window.period, cost
                    slots.append((at, place, time, used, description))
                else:
                    return None
            left = window.capacity - used
            if left < 0:
                return _refused(windows, used, time, cost, now) if words else None
            states.append(_new(WindowState, (used, left, time - now, 0.0)))
        if opened and not self._open(opened, key, client, cost, slots, words):
            return None
        if slots or len(states) > _PAIR:
            if len(states) > MAX_WINDOWS:
                return None
            self._write(slots, words)
        elif len(states) == _PAIR:
            self._write_pair(*words)
        elif words:  # one write needs no journal
            self._zone.words[words[0] >> 3] = used
        return _new(Taken, (True, tuple(states)))

    def _open(
        self,
        opened: list[_Opened],
        key: int,
        client: str,
        cost: int,
        slots: list[SlotFields],
        changed: list[int],
    ) -> bool:
        """Add new counters to `slots`, and their figures to `changed`; False if they need a closer look."""
        words, number = self._zone.words, len(opened)
        network = network_number(client, key)
        share, kind = network % self._networks, network >> KIND_SHIFT
        network_at, kind_at = self._networks_at + share * WORD_BYTES, head.KINDS_AT + kind * WORD_BYTES
        used, of_network = words[head.USED_AT >> 3], words[network_at >> 3]
        room = self._key_mark - used - number + 1
        if not (room >= used or 0 <= room >= of_network):  # as in `ZoneStore`
            return False
        figures: dict[int, int] = {}
        for at, place, time, table in opened:
            if words[table.at >> 3] != table.id:
                return False
            slots.append((at, place, time, cost, describe(table.number, share, kind)))
            for figure in (table.at + COUNTERS_AT, self._page_of(at)):
                figures[figure] = figures.get(figure, words[figure >> 3]) + 1
        if number > 1 and len({at for at, _, _, _ in opened}) < number:
            return False
        changed += (head.USED_AT, used + number, network_at, of_network + number)
        changed += (kind_at, words[kind_at >> 3] + number)
        for each in figures.items():
            changed += each
        return True


def _refused(windows: Sequence[Window], used: int, time: float, cost: int, now: float) -> Taken | None:
    """The refusal by a live window, if it is the only one; `used` includes `cost`."""
    window = windows[0]
    if len(windows) > 1 or cost > window.capacity:
        return None
    wait = seconds_until(time, now, window.period)
    state = (used - cost, max(0, window.capacity - used + cost), time - now, wait)
    return _new(Taken, (window.shadow, (_new(WindowState, state),)))
