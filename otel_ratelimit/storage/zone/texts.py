"""Counters whose keys are texts: those that the `limits` library builds for Flask-Limiter."""

from __future__ import annotations

from otel_ratelimit.core.counter_store import Taken
from otel_ratelimit.core.route_plan import Window
from otel_ratelimit.storage.zone.slots import Slot, number_of
from otel_ratelimit.storage.zone.store import ZoneStore
from otel_ratelimit.storage.zone.sweep import reclaim


class TextCounters:
    """The counters of a `ZoneStore`, by text. Each method may raise `StorageUnavailableError`."""

    def __init__(self, store: ZoneStore) -> None:
        self._store = store
        self._zone = store.zone
        self._key_of = store.zone.keys.key_of_text

    def take(self, window: Window, text: str, cost: int, now: float) -> Taken:
        """As `CounterStore.take`, for one window."""
        store = self._store
        if store.on_use is not None:
            store.report_use()
        key = self._key_of(text)
        with self._zone.locked():
            plan = store.plan((window,), key, text, cost, now)
            if plan[4] and reclaim(self._zone, now):
                plan = store.plan((window,), key, text, cost, now)
            answer = store.decide(plan, cost, now)
        if plan[4]:
            store.report_overflows(plan[4])
        return answer

    def look(self, window: Window, text: str, now: float) -> Slot:
        """The slot that counts for a text: its own, or an overflow bucket; its time is 0 if there is none."""
        with self._zone.locked():
            _, _, at, key, time, word, description, _ = self._store.plan(
                (window,), self._key_of(text), text, 0, now
            )[0][0]
        return Slot(at, key, time, word, description)

    def give_back(self, window: Window, text: str, units: int, now: float) -> int:
        """Return units of a fixed window, and answer how many are left, never less than 0."""
        with self._zone.locked():
            _, _, at, _, time, word, _, _ = self._store.plan((window,), self._key_of(text), text, 0, now)[0][
                0
            ]
            if time <= now:
                return 0
            left = max(word - units, 0)
            self._zone.words[(at >> 3) + 2] = left
            return left

    def clear(self, window: Window, text: str, now: float) -> bool:
        """Remove a counter; False if there is none. An overflow bucket stays."""
        with self._zone.locked():
            key = number_of(self._key_of(text)) ^ self._store.table(window, now).salt or 1
            return self._zone.remove(key)
