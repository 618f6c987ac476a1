"""Changes of a zone that are made as a whole, also if the process is killed in the middle.

A change that writes more than one word is written to the journal first, and only then, by one write of one
word, declared valid. After that the same words are written to their places, and the journal is declared
empty. The process that gets the lock after its owner died writes the words of a valid journal once more. So
the zone is as it was before the change if the owner died early, and as it is after the change otherwise. This
is redo logging (Gray and Reuter, "Transaction Processing: Concepts and Techniques", 1992, chapter 9).

A change consists of slots, which are written whole, and of words. Both are given as they shall be, not as
differences, so that they can be written twice.

Formats are native ("@"): for these, Python's `struct` writes a field of 8 bytes by one instruction.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from mmap import mmap
from typing import Final, TypeAlias

MAX_SLOTS: Final = 128
MAX_WORDS: Final = 1024

_ENTRIES_AT: Final = 64
_SLOT_ENTRY: Final = struct.Struct("@QQdQQ")
"""Offset of the slot; its key, time, value and description."""
_SLOT_ENTRY_BYTES: Final = 40
_WORDS_AT: Final = _ENTRIES_AT + MAX_SLOTS * _SLOT_ENTRY_BYTES
_WORD_ENTRY_BYTES: Final = 16
JOURNAL_BYTES: Final = _WORDS_AT + MAX_WORDS * _WORD_ENTRY_BYTES

_WORDS_SHIFT: Final = 32
_SLOTS_MASK: Final = (1 << _WORDS_SHIFT) - 1
_PAIR: Final = 2 << _WORDS_SHIFT
"""The number that says: two words and no slot."""

SlotFields: TypeAlias = tuple[int, int, float, int, int]
"""Offset, key, time, word and description of a slot."""

SLOT: Final = struct.Struct("@QdQQ")
"""A slot: key, time, value, description."""
_WORD_ENTRIES: Final = tuple(struct.Struct(f"@{2 * number}Q") for number in range(MAX_WORDS + 1))
"""So many words: the offset and the value of each."""


class Journal:
    """The journal of the zone in `memory`. The zone's lock must be held for every method.

    Args:
        memory: the zone.
        at: the offset of the journal, bytes.
        words: `memory` as words of 8 bytes; each is written by one instruction.
    """

    def __init__(self, memory: mmap, at: int, words: memoryview) -> None:
        self._memory = memory
        self._valid = at >> 3
        """The word that says how many slots and words are valid."""
        self._slots_at = at + _ENTRIES_AT
        self._words_at = at + _WORDS_AT
        self._words = words
        self._write_entry = _SLOT_ENTRY.pack_into
        self.write_slot = SLOT.pack_into

    def write(self, slots: Sequence[SlotFields], new_words: Sequence[int]) -> None:
        """Make a change.

        Args:
            slots: offset, key, time, word and description of each slot.
            new_words: the offset of each other word, followed by its value.

        Raises:
            ValueError: the change has more than `MAX_SLOTS` slots or `MAX_WORDS` words.
        """
        number, number_of_words = len(slots), len(new_words) // 2
        if number > MAX_SLOTS or number_of_words > MAX_WORDS:
            raise ValueError(
                f"a change of {number} slots and {number_of_words} words does not fit the journal"
            )
        memory, words = self._memory, self._words
        at = self._slots_at
        for slot in slots:
            self._write_entry(memory, at, *slot)
            at += _SLOT_ENTRY_BYTES
        if number_of_words:
            _WORD_ENTRIES[number_of_words].pack_into(memory, self._words_at, *new_words)
        words[self._valid] = number_of_words << _WORDS_SHIFT | number
        try:
            for slot in slots:
                self.write_slot(memory, *slot)
            each = iter(new_words)
            for offset in each:
                words[offset >> 3] = next(each)
            words[self._valid] = 0
        except BaseException:  # a signal handler raised it
            self._finish_in_spite_of_signals()
            raise

    def write_pair(self, at: int, value: int, second_at: int, second: int) -> None:
        """Make a change of two words; see `write`."""
        words = self._words
        _WORD_ENTRIES[2].pack_into(self._memory, self._words_at, at, value, second_at, second)
        words[self._valid] = _PAIR
        try:
            words[at >> 3] = value
            words[second_at >> 3] = second
            words[self._valid] = 0
        except BaseException:  # a signal handler raised it
            self._finish_in_spite_of_signals()
            raise

    def is_valid(self) -> bool:
        """Whether a change was declared valid and not finished."""
        return self._words[self._valid] != 0

    def finish(self) -> bool:
        """Finish the change that a process left unfinished; False if there is none."""
        valid: int = self._words[self._valid]
        if not valid:
            return False
        memory = self._memory
        for number in range(valid & _SLOTS_MASK):
            entry = _SLOT_ENTRY.unpack_from(memory, self._slots_at + number * _SLOT_ENTRY_BYTES)
            self.write_slot(memory, *entry)
        new_words = _WORD_ENTRIES[valid >> _WORDS_SHIFT].unpack_from(memory, self._words_at)
        for at, value in zip(new_words[::2], new_words[1::2], strict=True):
            self._words[at >> 3] = value
        self._words[self._valid] = 0
        return True

    def _finish_in_spite_of_signals(self) -> None:
        """Finish the change; a second signal may come in the meantime, a third one hardly."""
        try:
            self.finish()
        except BaseException:
            self.finish()
            raise
