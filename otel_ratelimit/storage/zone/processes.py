"""The processes that share a zone: one row for each, with what it has decided.

A process writes its own row only: what it has decided since it began to use the zone, by kind, and when. It
does so every few seconds, not at each request, so a process that is killed takes the last seconds with it.
A row is freed when its process has ended, and what it had decided is added to the first row, which stands for
all that have ended. So the totals of the host stay, and the table never grows.

A process with several stores in one zone has a row for each. They are listed as one.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from otel_ratelimit.core.decision import DecisionKind
from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.storage.zone import head
from otel_ratelimit.storage.zone.layout import MAX_PROCESSES, PROCESS_BYTES, WORD_BYTES
from otel_ratelimit.storage.zone.opened import Zone
from otel_ratelimit.storage.zone.process_tree import ProcessIdentity, lives, own_identity, pid_namespace

KINDS: Final = tuple(DecisionKind)
"""In the order in which a row counts them."""
NOTHING: Final = (0,) * len(KINDS)
UNSEEN_SECONDS: Final = 600.0
"""After this time without a sign, a process of another container counts as ended: nobody can look."""

_FREE: Final = 0
"""The token of a row that is not in use."""
_ENDED: Final = 0
"""The row of those that have ended; its first word is their number."""
_SEEN: Final = 5
_COUNTS: Final = 6
_MICROSECONDS: Final = 1e6


class Row(NamedTuple):
    """A row of the table; each field is a word, and the counts follow."""

    token: int
    """A random number, which is never used again; 0 if the row is not in use."""
    pid: int
    start: int
    """When the process was started, as `ProcessIdentity.start`."""
    namespace: int
    """In which its number holds (`pid_namespace`)."""
    since: int
    """When it began to use the zone: Unix time in microseconds."""
    seen: int
    """When it wrote the row last."""
    counts: tuple[int, ...]
    """Requests that it has decided, in the order of `KINDS`."""

    @property
    def process(self) -> tuple[int, int, int]:
        """The part that all rows of one process share."""
        return self.namespace, self.pid, self.start


@dataclass(frozen=True, slots=True)
class SharingProcess:
    """A process that shares a zone."""

    pid: int
    since: float
    """When it began to use the zone: Unix time, seconds."""
    last_seen: float
    """When it wrote last what it has decided."""
    decisions: Mapping[DecisionKind, int]
    """Requests by what was decided."""


@dataclass(frozen=True, slots=True)
class SharingProcesses:
    """All processes that share or shared a zone."""

    living: tuple[SharingProcess, ...]
    """The one that began first comes first."""
    ended: int
    """How many have ended."""
    ended_decisions: Mapping[DecisionKind, int]
    is_full: bool
    """Whether there is no room for another, so that some may be missing."""


class ProcessTable:
    """The table in the part `processes` of a zone. No method may be called with the lock held."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    def claim(self, now: float) -> Row | None:
        """A row for this process; None if all rows belong to processes that live.

        Raises:
            StorageUnavailableError: the lock could not be had in time.
        """
        process, token, at = own_identity(), secrets.randbits(63) | 1, int(now * _MICROSECONDS)
        row = Row(token, process.pid, process.start, pid_namespace(), at, at, NOTHING)
        if self._put(row):
            return row
        self.free_ended(now)
        return row if self._put(row) else None

    def write(self, token: int, counts: Sequence[int], now: float) -> bool:
        """Write what the process of this row has decided in all; False if the row is no longer its own.

        Raises:
            StorageUnavailableError: the lock could not be had in time.
        """
        with self._zone.locked():
            number = self.number_of(token)
            if not number:
                return False
            self._write(self._words(number, (int(now * _MICROSECONDS), *counts), _SEEN))
            return True

    def free(self, token: int) -> None:
        """Free a row, and add its counts to those of processes that have ended.

        Raises:
            StorageUnavailableError: the lock could not be had in time.
        """
        with self._zone.locked():
            number = self.number_of(token)
            if number:
                self._free(number)

    def free_ended(self, now: float) -> None:
        """Free the rows of processes that have ended.

        Raises:
            StorageUnavailableError: the lock could not be had in time.
        """
        # Without the lock, because the kernel is asked about each process.
        namespace = pid_namespace()
        for row in [row for row in self.rows() if not is_alive(row, namespace, now)]:
            self.free(row.token)

    def rows(self) -> Iterator[Row]:
        """The rows in use."""
        for number, token in enumerate(self._tokens(), _ENDED + 1):
            row = self._row(number) if token else None
            if row is not None and row.token:  # still
                yield row

    def row(self, number: int) -> Row | None:
        """A row, if it is in use."""
        row = self._row(number) if _ENDED < number < MAX_PROCESSES else None
        return row if row is not None and row.token else None

    def number_of(self, token: int) -> int:
        """The number of a row; 0 if there is none."""
        tokens = self._tokens()
        return tokens.index(token) + _ENDED + 1 if token in tokens else 0

    def sharing(self, now: float) -> SharingProcesses:
        """The processes that share the zone now, and those that did.

        If the lock cannot be had in time, a process that has ended may still be among the living.
        """
        with contextlib.suppress(StorageUnavailableError):
            self.free_ended(now)
        # With the lock, if it can be had, so that no process counts twice while its row is freed.
        with contextlib.suppress(StorageUnavailableError), self._zone.locked():
            return self._sharing()
        return self._sharing()

    def _sharing(self) -> SharingProcesses:
        rows, ended = list(self.rows()), self._row(_ENDED)
        by_process: dict[tuple[int, int, int], list[Row]] = {}
        for row in sorted(rows, key=lambda row: row.since):
            by_process.setdefault(row.process, []).append(row)
        return SharingProcesses(
            living=tuple(map(_joined, by_process.values())),
            ended=ended.token,
            ended_decisions=_by_kind([ended.counts]),
            is_full=len(rows) == MAX_PROCESSES - 1,
        )

    def _put(self, row: Row) -> bool:
        """Write a row that is new; False if there is no room."""
        with self._zone.locked():
            number = self.number_of(_FREE)
            if number:
                self._write(self._words(number, (*row[:_COUNTS], *NOTHING)))
        return number != 0

    def _free(self, number: int) -> None:
        row, ended = self._row(number), self._row(_ENDED)
        is_last = sum(other.process == row.process for other in self.rows()) == 1
        counts = [one + other for one, other in zip(ended.counts, row.counts, strict=True)]
        words = [
            *self._words(_ENDED, (ended.token + is_last,)),
            *self._words(_ENDED, counts, _COUNTS),
            *self._words(number, (0,) * (_COUNTS + len(KINDS))),
        ]
        if self._zone.figure(head.REPORTER_AT) == number + 1:
            words += (head.REPORTER_AT, 0)
        self._write(words)

    def _write(self, words: Iterable[int]) -> None:
        self._zone.journal.write((), list(words))

    def _tokens(self) -> list[int]:
        """The first word of each row, but for the row of those that have ended."""
        first = self._zone.layout.processes_at + (_ENDED + 1) * PROCESS_BYTES >> 3
        words = PROCESS_BYTES // WORD_BYTES
        found: list[int] = self._zone.words[first : first + (MAX_PROCESSES - 1) * words : words].tolist()
        return found

    def _row(self, number: int) -> Row:
        first = self._zone.layout.processes_at + number * PROCESS_BYTES >> 3
        words = self._zone.words[first : first + _COUNTS + len(KINDS)].tolist()
        return Row._make((*words[:_COUNTS], tuple(words[_COUNTS:])))

    def _words(self, number: int, values: Sequence[int], first: int = 0) -> Iterator[int]:
        """A change of the journal: `values` from the word `first` of a row on."""
        at = self._zone.layout.processes_at + number * PROCESS_BYTES + first * WORD_BYTES
        for index, value in enumerate(values):
            yield at + index * WORD_BYTES
            yield value


def is_alive(row: Row, namespace: int, now: float) -> bool:
    """Whether the process of a row still runs, as far as a process in `namespace` can know."""
    if row.namespace != namespace:
        return abs(now - row.seen / _MICROSECONDS) < UNSEEN_SECONDS
    return lives(ProcessIdentity(row.pid, row.start))


def _joined(rows: Sequence[Row]) -> SharingProcess:
    return SharingProcess(
        pid=rows[0].pid,
        since=rows[0].since / _MICROSECONDS,
        last_seen=max(row.seen for row in rows) / _MICROSECONDS,
        decisions=_by_kind(row.counts for row in rows),
    )


def _by_kind(counts: Iterable[tuple[int, ...]]) -> dict[DecisionKind, int]:
    return {kind: sum(numbers) for kind, numbers in zip(KINDS, zip(*counts, strict=True), strict=True)}
