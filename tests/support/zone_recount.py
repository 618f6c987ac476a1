"""A zone's figures, counted again from its slots."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator

from otel_ratelimit.storage.zone import head
from otel_ratelimit.storage.zone.layout import BUCKET_BYTES, SLOT_BYTES, WORD_BYTES
from otel_ratelimit.storage.zone.opened import Zone, parts_of
from otel_ratelimit.storage.zone.slots import Slot, SlotTable


def slots_in_use(zone: Zone) -> Iterator[tuple[Slot, SlotTable]]:
    """All slots with a key, and the part of the zone that each is in."""
    layout = zone.layout
    overflow = SlotTable(zone.memory, layout.overflow_at, layout.overflow_buckets)
    for part in (zone.main, overflow):
        last = part.at + part.buckets * BUCKET_BYTES
        words_per_slot = SLOT_BYTES // WORD_BYTES
        keys = zone.words[part.at >> 3 : last >> 3 : words_per_slot].tolist()
        for number, key in enumerate(keys):
            if key:
                yield part.slot(part.at + number * SLOT_BYTES), part


def figures(zone: Zone) -> dict[int, int]:
    """Every figure that is not 0, by its offset, as the zone has it."""
    layout = zone.layout
    offsets = [head.USED_AT, head.OVERFLOW_USED_AT]
    offsets += [head.KINDS_AT + kind * WORD_BYTES for kind in range(32)]
    offsets += [layout.networks_at + number * WORD_BYTES for number in range(layout.networks)]
    offsets += [layout.pages_at + number * WORD_BYTES for number in range(layout.pages)]
    offsets += [zone.tables.counters_at(number) for number in range(layout.tables)]
    return {at: value for at in offsets if (value := zone.figure(at))}


def recount(zone: Zone) -> dict[int, int]:
    """The same, counted."""
    counted: Counter[int] = Counter()
    for slot, part in slots_in_use(zone):
        counted[zone.page_of(slot.at)] += 1
        if part is zone.main:
            table, network, kind = parts_of(slot.description)
            counted[head.USED_AT] += 1
            counted[zone.tables.counters_at(table)] += 1
            counted[zone.layout.networks_at + network * WORD_BYTES] += 1
            counted[head.KINDS_AT + kind * WORD_BYTES] += 1
        else:
            counted[head.OVERFLOW_USED_AT] += 1
    return dict(counted)


def assert_figures_are_exact(zone: Zone) -> None:
    """Every figure is that of the slots; every counter is where its key leads, and no key lies twice."""
    assert figures(zone) == recount(zone)
    seen: set[tuple[int, int]] = set()
    for slot, part in slots_in_use(zone):
        assert (part.at, slot.key) not in seen
        seen.add((part.at, slot.key))
        assert part.find(slot.key, slot.key.to_bytes(WORD_BYTES, sys.byteorder)) == slot.at
    assert not zone.journal.is_valid()
