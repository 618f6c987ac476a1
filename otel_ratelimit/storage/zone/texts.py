"""Counters whose keys are texts: those that the `limits` library builds for Flask-Limiter."""

from __future__ import annotations

import struct
import sys
from typing import Final

from otel_ratelimit.core.counter_store import Taken
from otel_ratelimit.core.route_plan import Window
from otel_ratelimit.storage.zone.layout import WORD_BYTES
from otel_ratelimit.storage.zone.lock_holder import NOT_ASKED
from otel_ratelimit.storage.zone.slots import Slot
from otel_ratelimit.storage.zone.store import ZoneStore

_ORDER: Final = sys.byteorder
_WORD_AT: Final = 2 * WORD_BYTES
"""Where in a slot its word is."""
_time_and_word: Final = struct.Struct("@8xdQ").unpack_from


class TextCounters:
    """The counters of a `ZoneStore`, by text. Each method may raise `StorageUnavailableError`."""

    def __init__(self, store: ZoneStore) -> None:
        self._store = store
        self._taking = store.for_texts(self._number_of)
        self._zone = store.zone
        self._holder = store.zone.holder
        self._find = store.zone.main.find
        self._last = ("", 0)
        """The last text and its number: `limits` makes several calls with the same text."""

    def take(self, window: Window, text: str, cost: int, now: float) -> Taken:
        """As `CounterStore.take`, for one window."""
        store = self._store
        if store.on_use is not None:
            store.report_use()
        return self._taking.take((window,), text, cost, now)

    def add(self, window: Window, text: str, units: int, now: float) -> int:
        """Add units to a fixed window that refuses none, and return how many it has then."""
        if self._store.on_use is not None:
            self._store.report_use()
        live = self._add_to_live(window, text, units, now)
        return self.take(window, text, units, now).states[0].used if live is None else live[1]

    def read(self, window: Window, text: str, now: float) -> tuple[float, int] | None:
        """The end and the units of a fixed window; None if nothing is counted."""
        live = self._add_to_live(window, text, 0, now)
        if live is None:
            slot = self.look(window, text, now)
            live = (slot.time, slot.word)
        return live if live[0] > now else None

    def _add_to_live(self, window: Window, text: str, units: int, now: float) -> tuple[float, int] | None:
        """Add units to a window that is live; returns its end and its units, None if it is not live."""
        table = self._store.open_table(window.prefix)
        if table is None or window.period > table.period:
            return None
        key = self._number_of(text) ^ table.salt or 1
        word = key.to_bytes(WORD_BYTES, _ORDER)
        holder = self._holder
        code = NOT_ASKED
        try:
            code = holder.try_lock(holder.handle)
            if code:
                code = holder.wait(code)
            at = self._find(key, word)
            if at < 0:
                return None
            time, used = _time_and_word(self._zone.memory, at)
            if not now < time <= now + table.period:
                return None
            if units:
                used += units
                self._zone.words[at + _WORD_AT >> 3] = used
            return time, used
        finally:
            if code:
                holder.give_up(code)
            else:
                holder.unlock(holder.handle)

    def look(self, window: Window, text: str, now: float) -> Slot:
        """The slot that counts for a text: its own, or an overflow bucket; its time is 0 if there is none."""
        with self._zone.locked():
            _, _, at, key, time, word, description, _ = self._store.plan(
                (window,), self._number_of(text), text, 0, now
            )[0][0]
        return Slot(at, key, time, word, description)

    def give_back(self, window: Window, text: str, units: int, now: float) -> int:
        """Return units of a fixed window, and answer how many are left, never less than 0."""
        with self._zone.locked():
            plan = self._store.plan((window,), self._number_of(text), text, 0, now)
            _, _, at, _, time, word, _, _ = plan[0][0]
            if time <= now:
                return 0
            left = max(word - units, 0)
            self._zone.words[(at >> 3) + 2] = left
            return left

    def clear(self, window: Window, text: str, now: float) -> bool:
        """Remove a counter; False if there is none. An overflow bucket stays."""
        with self._zone.locked():
            key = self._number_of(text) ^ self._store.table(window, now).salt or 1
            return self._zone.remove(key)

    def _number_of(self, text: str) -> int:
        last, number = self._last
        if text != last:
            number = self._zone.keys.number_of_text(text)
            self._last = (text, number)
        return number
