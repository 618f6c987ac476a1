"""How expired counters are removed from a zone: page by page, so that nobody waits for it.

Only pages that hold counters are read, and without the lock; the lock is held for the counters of one page
that are expired. Counters that lie too far in the future, because the clock was set back, are dated as if
they were counted now (`clock_set_back`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from otel_ratelimit.storage.zone import head
from otel_ratelimit.storage.zone.layout import PAGE_BYTES, PAGE_SLOTS, SLOT_BYTES
from otel_ratelimit.storage.zone.opened import Change, Zone, parts_of
from otel_ratelimit.storage.zone.slots import Slot
from otel_ratelimit.storage.zone.values import ValueForm

_RECLAIM_EVERY_SECONDS: Final = 1.0
"""A full zone is searched for expired counters once in this time, a few pages for each new counter."""
_PAGES_AT_ONCE: Final = 4
_LATEST: Final = 1e12
"""The latest time that can be noted: a word holds microseconds."""
_SLOTS_AT_ONCE: Final = 32
_WORDS_PER_SLOT: Final = SLOT_BYTES // 8
_ID_SHIFT: Final = 16
"""Where in the description of an overflow bucket the id of its limit begins."""
_TABLE_BITS: Final = (1 << _ID_SHIFT) - 1
_ALL_BITS: Final = (1 << 64) - 1


def pages_in_use(zone: Zone) -> Iterator[int]:
    """The numbers of the pages that hold counters, overflow buckets included."""
    first = zone.layout.pages_at >> 3
    for number, counters in enumerate(zone.words[first : first + zone.layout.pages].tolist()):
        if counters:
            yield number


def sweep_page(zone: Zone, number: int, now: float) -> int:
    """Remove the expired counters of a page, and return how many. The lock must not be held.

    Raises:
        StorageUnavailableError: the lock could not be had in time.
    """
    removed = 0
    # The lock is released in between, so that no request waits for more than a part of the page.
    for _ in range(0, PAGE_SLOTS, _SLOTS_AT_ONCE):
        if not _unfit(zone, number, now):
            break
        with zone.locked():
            removed += _sweep(zone, number, now)
    return removed


def settle_last_buckets(zone: Zone, now: float) -> None:
    """Date last overflow buckets that lie too far in the future. The lock must not be held."""
    for number in zone.tables.numbers():
        if _is_far(zone, number, now):
            with zone.locked():
                if _is_far(zone, number, now):
                    change = Change(zone)
                    _settle(zone, change, zone.slot(zone.tables.last_bucket_at(number)), now)
                    change.write()


def _is_far(zone: Zone, number: int, now: float) -> bool:
    slot = zone.slot(zone.tables.last_bucket_at(number))
    return bool(slot.key) and slot.time > _horizon(zone, slot.at, slot.description, now)


def remove_all(zone: Zone) -> int:
    """Remove all counters, page by page, and return how many there were. The lock must not be held."""
    before = zone.figure(head.USED_AT)
    for number in pages_in_use(zone):
        with zone.locked():
            _remove(zone, [at for at in _slots_of(zone, number) if zone.words[at >> 3]])
    zone.clear_last_buckets()
    return before


def _slots_of(zone: Zone, number: int) -> range:
    at = _page(zone, number)
    return range(at, at + PAGE_BYTES, SLOT_BYTES)


def _remove(zone: Zone, offsets: list[int]) -> None:
    for first in range(0, len(offsets), _SLOTS_AT_ONCE):
        change = Change(zone)
        for at in offsets[first : first + _SLOTS_AT_ONCE]:
            change.remove(zone.slot(at))
        change.write()


def reclaim(zone: Zone, now: float) -> int:
    """Remove the expired counters of the next few pages of a full zone; the lock must be held.

    A flood of new clients against a full zone costs no more than one look at each page per second.
    """
    words = zone.words
    hand: int = words[head.HAND_AT >> 3]
    if hand >= zone.layout.pages:
        hand = 0
    if hand == 0:
        if not abs(now - words[head.RECLAIMED_AT >> 3] / 1e6) >= _RECLAIM_EVERY_SECONDS:
            return 0
        words[head.RECLAIMED_AT >> 3] = int(min(max(0.0, now), _LATEST) * 1e6)
    last = min(hand + _PAGES_AT_ONCE, zone.layout.pages)
    first_count = zone.layout.pages_at >> 3
    removed = 0
    while hand < last and removed < _SLOTS_AT_ONCE:
        found = _sweep(zone, hand, now) if words[first_count + hand] else 0
        removed += found
        if found < _SLOTS_AT_ONCE:  # otherwise the page may have more
            hand += 1
    words[head.HAND_AT >> 3] = hand if hand < zone.layout.pages else 0
    return removed


def _page(zone: Zone, number: int) -> int:
    return zone.layout.buckets_at + number * PAGE_BYTES


def _unfit(zone: Zone, number: int, now: float) -> list[int]:
    """Offsets of the slots in use that are expired, or too far in the future for the clock."""
    at = _page(zone, number)
    first, last = at >> 3, at + PAGE_BYTES >> 3
    keys = zone.words[first:last:_WORDS_PER_SLOT].tolist()
    times = zone.times[first + 1 : last : _WORDS_PER_SLOT].tolist()
    table_bits = _TABLE_BITS if at < zone.layout.overflow_at else _ALL_BITS
    horizons: dict[int, float] = {}
    found = []
    for index in range(PAGE_SLOTS):
        if not keys[index]:
            continue
        if times[index] > now:
            table = zone.words[first + index * _WORDS_PER_SLOT + 3] & table_bits
            horizon = horizons.get(table)
            if horizon is None:
                horizon = horizons[table] = _horizon(zone, at, table, now)
            if times[index] <= horizon:
                continue
        found.append(at + index * SLOT_BYTES)
    return found


def _form(zone: Zone, at: int, description: int) -> tuple[ValueForm, float] | None:
    """How to read the slot at the offset `at`; None if its limit has no entry any more."""
    number = parts_of(description)[0]
    if at >= zone.layout.overflow_at and zone.tables.id_of(number) >> _ID_SHIFT != description >> _ID_SHIFT:
        return None  # the entry was given to another limit
    return zone.tables.form_of(number)


def _horizon(zone: Zone, at: int, description: int, now: float) -> float:
    found = _form(zone, at, description)
    return float("inf") if found is None else found[0].latest(now, found[1])


def _sweep(zone: Zone, number: int, now: float) -> int:
    """Remove `_SLOTS_AT_ONCE` expired counters of a page at most; returns how many. The lock must be held."""
    unfit = _unfit(zone, number, now)[:_SLOTS_AT_ONCE]
    if not unfit:
        return 0
    change, removed = Change(zone), 0
    for at in unfit:
        slot = zone.slot(at)
        if slot.time <= now:
            change.remove(slot)
            removed += 1
        else:
            _settle(zone, change, slot, now)
    change.write()
    return removed


def _settle(zone: Zone, change: Change, slot: Slot, now: float) -> None:
    found = _form(zone, slot.at, slot.description)
    if found is None:
        return
    form, period = found
    value = form.rules.settled(form.load(slot.time, slot.word, period), period, now)
    time, word = form.dump(value, period)
    change.put((slot.at, slot.key, time, word, slot.description))
