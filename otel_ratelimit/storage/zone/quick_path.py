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
from otel_ratelimit.storage.zone.opened import Zone, describe, tag_of
from otel_ratelimit.storage.zone.slots import FOLD, SECOND_SHIFT, WORD_MASK, number_of
from otel_ratelimit.storage.zone.tables import COUNTERS_AT, Table

MAX_WINDOWS: Final = 64
"""The most limits of one request, so that a change fits the journal."""

_ORDER: Final = sys.byteorder
_SLOT_MASK: Final = SLOT_BYTES - 1
_WORD_AT: Final = 2 * WORD_BYTES
"""Where in a slot its word is."""
_DESCRIPTION_AT: Final = 3 * WORD_BYTES
_time_and_word: Final = struct.Struct("@8xdQ").unpack_from
_PAIR: Final = 2
_new: Final = tuple.__new__
"""Builds a NamedTuple in half the time of calling its class."""

_Begun: TypeAlias = tuple[int, int, float, Table]
"""A window that begins now: the offset of its slot, its key, its time, and its table."""


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
        self._network_of = zone.keys.network_of
        journal, layout = zone.journal, zone.layout
        self._write, self._write_pair = journal.write, journal.write_pair
        self._first, self._buckets = layout.buckets_at, layout.buckets
        self._key_mark = layout.key_mark
        self._networks_at, self._networks = layout.networks_at, layout.networks

    def take(  # noqa: C901, PLR0912 - every request runs it, and calls would cost a fifth of its time
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
        number = (key ^ key >> FOLD) & WORD_MASK  # `number_of`, without the call
        states = []
        words: list[int] = []
        begun: list[_Begun] | None = None
        for window in windows:
            table = tables.get(window.prefix)
            period = window.period
            if table is None or not table.is_fixed or period > table.period:
                return None
            place = number ^ table.salt or 1
            word = place.to_bytes(WORD_BYTES, _ORDER)
            at = first + place % buckets * BUCKET_BYTES
            at = find(word, at, at + BUCKET_BYTES)
            if at < 0:
                at = first + (place >> SECOND_SHIFT) % buckets * BUCKET_BYTES
                at = find(word, at, at + BUCKET_BYTES)
            # No slot lies at -1, nor where these 8 bytes are something else than a key.
            time, used = (0.0, 0) if at & _SLOT_MASK else _time_and_word(memory, at)
            if now < time <= now + period:
                used += cost
                words += (at + _WORD_AT, used)
            else:
                if at < 0:
                    at = self._empty(place, now)
                if at & _SLOT_MASK or time > now or not cost:
                    return None
                time, used = now + period, cost
                if begun is None:
                    begun = []
                begun.append((at, place, time, table))
            left = window.capacity - used
            if left < 0:
                return _refused(windows, used, time, cost, now) if words else None
            states.append(_new(WindowState, (used, left, time - now, 0.0)))
        if begun is not None:
            if not self._begin(begun, key, client, cost, words):
                return None
        elif len(states) == 1:  # one write needs no journal
            self._zone.words[at + _WORD_AT >> 3] = used
        elif len(states) == _PAIR:
            self._write_pair(*words)
        elif len(states) > MAX_WINDOWS:
            return None
        else:
            self._write((), words)
        return _new(Taken, (True, tuple(states)))

    def _begin(self, begun: list[_Begun], key: int, client: str, cost: int, changed: list[int]) -> bool:
        """Write windows that begin now, and other words; False if they need a closer look."""
        words = self._zone.words
        slots: list[SlotFields] = []
        opened: list[_Begun] = []
        for each in begun:
            at, place, time, _ = each
            if words[at >> 3] == place:
                slots.append((at, place, time, cost, words[at + _DESCRIPTION_AT >> 3]))
            else:
                opened.append(each)
        if len(begun) > MAX_WINDOWS or (opened and not self._open(opened, key, client, cost, slots, changed)):
            return False
        self._write(slots, changed)
        return True

    def _open(
        self,
        opened: list[_Begun],
        key: int,
        client: str,
        cost: int,
        slots: list[SlotFields],
        changed: list[int],
    ) -> bool:
        """Add new counters to `slots`, and their figures to `changed`; False if they need a closer look."""
        words, number = self._zone.words, len(opened)
        network = self._network_of(client, key)
        tag = tag_of(number_of(key))
        share, kind = network % self._networks, network >> KIND_SHIFT
        network_at, kind_at = self._networks_at + share * WORD_BYTES, head.KINDS_AT + kind * WORD_BYTES
        used, of_network = words[head.USED_AT >> 3], words[network_at >> 3]
        room = self._key_mark - used - number + 1
        if not (room >= used or 0 <= room >= of_network):  # as in `Seats`
            return False
        if number > 1 and len({at for at, _, _, _ in opened}) < number:
            return False
        figures: dict[int, int] = {}
        for at, place, time, table in opened:
            if words[table.at >> 3] != table.id or words[at >> 3]:
                return False
            slots.append((at, place, time, cost, describe(table.number, share, kind, tag)))
            for figure in (table.at + COUNTERS_AT, self._page_of(at)):
                figures[figure] = figures.get(figure, words[figure >> 3]) + 1
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
