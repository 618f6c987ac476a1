"""The tables of a zone: one entry for each limit that counts in it, with its name and its number of counters.

The counters of all limits lie in the same slots. An entry says what to show for a counter, how to read its
value, and holds the limit's last overflow bucket. Its words, in order: id, the longest period of its windows
(a float), number of the strategy, counters, the four words of the last overflow bucket, salt, length of the
name; then the name.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Collection, Iterator
from mmap import mmap
from typing import Final, NamedTuple
from urllib.parse import unquote

from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.storage.zone.head import TABLES_AT
from otel_ratelimit.storage.zone.layout import SLOT_BYTES, TABLE_BYTES, WORD_BYTES, Layout
from otel_ratelimit.storage.zone.values import BY_NUMBER, ValueForm

_PERIOD_AT: Final = 8
_STRATEGY_AT: Final = 16
COUNTERS_AT: Final = 24
LAST_BUCKET_AT: Final = 32
_SALT_AT: Final = LAST_BUCKET_AT + SLOT_BYTES
_LENGTH_AT: Final = _SALT_AT + WORD_BYTES
_NAME_AT: Final = _LENGTH_AT + WORD_BYTES
_NAME_BYTES: Final = TABLE_BYTES - _NAME_AT
_TWO_WORDS: Final = struct.Struct("@QQ")
_WORDS_PER_ENTRY: Final = TABLE_BYTES // WORD_BYTES


TEXTS: Final = "|"
"""The start of names of tables for texts; a `Window.prefix` of a policy has a namespace there."""


class Table(NamedTuple):
    """An entry, as a process keeps it at hand."""

    at: int
    """Offset of the entry, bytes."""
    number: int
    id: int
    salt: int
    """Makes the keys of a client's counters differ from limit to limit."""
    period: float
    """The longest one that its windows had when this process last looked, seconds."""
    is_fixed: bool
    """Whether its strategy is `fixed-window`, which is counted without calls."""
    form: ValueForm
    name: str
    is_of_texts: bool
    """Whether its keys are texts of the library `limits`, which name a limit each."""


class Usage(NamedTuple):
    """How many counters a limit has."""

    endpoint: str
    counters: int


class TableDirectory:
    """The entries of a zone. The zone's lock must be held for `open`.

    Args:
        memory: the zone.
        layout: its parts.
        words: `memory` as words of 8 bytes.
        times: the same as floats of 8 bytes.
        secret: the zone's.
    """

    def __init__(
        self, memory: mmap, layout: Layout, words: memoryview, times: memoryview[float], secret: bytes
    ) -> None:
        self._memory = memory
        self._layout = layout
        self._words = words
        self._times = times
        self._keyed = hashlib.blake2s(key=secret, digest_size=2 * WORD_BYTES, person=b"table")

    def open(
        self, name: str, form: ValueForm, period: float, now: float, kept: Collection[int] = ()
    ) -> Table:
        """The entry of the limit `name`, made if there is none.

        Args:
            name: the limit.
            form: how its values lie in a slot.
            period: the period of its window.
            now: Unix time in seconds.
            kept: the numbers of entries that keep their limit, also if that has no counters yet.

        Raises:
            StorageUnavailableError: all entries are in use.
        """
        salt, number_of_name = self._salts(name)
        words, times = self._words, self._times
        first = self._layout.tables_at >> 3
        opened: int = words[TABLES_AT >> 3]
        ids = words[first : first + opened * _WORDS_PER_ENTRY : _WORDS_PER_ENTRY].tolist()
        try:
            number = ids.index(number_of_name)
        except ValueError:
            number = self._free_entry(ids, now, kept)
            self._write(number, name, form, salt)
            words[TABLES_AT >> 3] = max(opened, number + 1)
            words[self._at(number) >> 3] = number_of_name  # last, because it makes the entry valid
        at = self._at(number)
        longest = max(times[at + _PERIOD_AT >> 3], period)
        times[at + _PERIOD_AT >> 3] = longest
        return Table(
            at,
            number,
            number_of_name,
            salt,
            longest,
            form.number == 1,
            form,
            name,
            name.startswith(TEXTS),
        )

    def is_current(self, table: Table) -> bool:
        """Whether the entry still is this limit's; it may have been given to another one."""
        return bool(self._words[table.at >> 3] == table.id)

    def salt_of(self, name: str) -> int:
        """The salt of a limit, which may have no entry."""
        return self._salts(name)[0]

    def id_of(self, number: int) -> int:
        """The id of the limit that has the entry; 0 if none has it."""
        found: int = self._words[self._at(number) >> 3]
        return found

    def form_of(self, number: int) -> tuple[ValueForm, float] | None:
        """How to read the values of a limit's counters, and its longest period."""
        at = self._at(number)
        form = BY_NUMBER.get(self._words[at + _STRATEGY_AT >> 3])
        return None if form is None else (form, self._times[at + _PERIOD_AT >> 3])

    def numbers(self) -> range:
        """The numbers of all entries that were ever in use."""
        return range(self._words[TABLES_AT >> 3])

    def counters_at(self, number: int) -> int:
        """The offset of the number of counters."""
        return self._at(number) + COUNTERS_AT

    def last_bucket_at(self, number: int) -> int:
        """The offset of the limit's last overflow bucket, a slot."""
        return self._at(number) + LAST_BUCKET_AT

    def usage(self) -> Iterator[Usage]:
        """How many counters each limit has."""
        for number in self.numbers():
            at = self._at(number)
            if self._words[at >> 3]:
                length = min(self._words[at + _LENGTH_AT >> 3], _NAME_BYTES)
                name = self._memory[at + _NAME_AT : at + _NAME_AT + length].decode("utf-8", "ignore")
                yield Usage(name, self._words[at + COUNTERS_AT >> 3])

    def salts(self) -> list[int]:
        """The salts of all limits; see `Table.salt`."""
        at = (self._at(number) for number in self.numbers())
        return [self._words[each + _SALT_AT >> 3] for each in at if self._words[each >> 3]]

    def _at(self, number: int) -> int:
        return self._layout.tables_at + number * TABLE_BYTES

    def _salts(self, name: str) -> tuple[int, int]:
        state = self._keyed.copy()
        state.update(name.encode("utf-8", "surrogatepass"))
        salt, identity = _TWO_WORDS.unpack(state.digest())
        return salt, identity or 1

    def _free_entry(self, ids: list[int], now: float, kept: Collection[int]) -> int:
        if 0 in ids:
            return ids.index(0)
        if len(ids) < self._layout.tables:
            return len(ids)
        words = self._words
        for number in range(len(ids)):
            at = self._at(number)
            last_bucket = self._times[at + LAST_BUCKET_AT + WORD_BYTES >> 3]
            if not words[at + COUNTERS_AT >> 3] and last_bucket <= now and number not in kept:
                words[at >> 3] = 0
                return number
        raise StorageUnavailableError("full")

    def _write(self, number: int, name: str, form: ValueForm, salt: int) -> None:
        at = self._at(number)
        shown = endpoint_of(name).encode("utf-8", "replace")[:_NAME_BYTES]
        self._memory[at : at + TABLE_BYTES] = bytes(TABLE_BYTES)
        self._memory[at + _NAME_AT : at + _NAME_AT + len(shown)] = shown
        self._words[at + _LENGTH_AT >> 3] = len(shown)
        self._words[at + _SALT_AT >> 3] = salt
        self._words[at + _STRATEGY_AT >> 3] = form.number


def endpoint_of(name: str) -> str:
    """The scope of a limit's prefix, up to the first `:`, for display."""
    parts = name.split("|")
    scope = parts[1] if len(parts) > 1 else name
    return unquote(scope.partition(":")[0]) or unquote(scope)
