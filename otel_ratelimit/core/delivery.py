"""Delivers batches to a database that may be away, and may not answer.

A batch that could not be written is kept, and is the first to be written when the database is back. It may
have arrived although the answer was lost; its id lets the database recognise it. A batch that the database
refuses because of its values would be refused again, and all later batches would wait. So it is split into
halves until the refused rows are found. Only those are dropped, and the log says so.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

from otel_ratelimit.core.clock import monotonic_time
from otel_ratelimit.core.deadline import is_over
from otel_ratelimit.core.errors import (
    DatabaseBusyError,
    DatabaseError,
    DatabaseUnreachableError,
    DataRejectedError,
    NoTimeLeftError,
    PartWrittenError,
    SchemaMissingError,
)

_logger = logging.getLogger(__name__)

B = TypeVar("B")
B_contra = TypeVar("B_contra", contravariant=True)

RETRY_SECONDS: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
MAX_MISTAKES: Final = 3
"""Attempts to write a batch that fails for another reason than the database."""
MAX_SPLITS: Final = 256
"""How often one batch is split; a part that is refused after that is dropped whole. Nine splits are enough to
find the one bad row of 500."""
_NOT_DONE: Final = (DatabaseUnreachableError, DatabaseBusyError, SchemaMissingError, NoTimeLeftError)
"""Errors that say that nothing was written."""


class Writer(Protocol[B_contra]):
    """Where batches go."""

    def write(self, batch: B_contra, /) -> None:
        """Write `batch`, whole or not at all; raises `DatabaseError`."""


class Delivery(Generic[B]):
    """Writes batches one after the other; used by one thread at a time.

    Args:
        writer: where they go.
        what: names in the log what is written: `analytics`.
        written: called with each batch that was written.
        refused: called with the parts of a batch that were dropped, and the reason.
        split: answers two parts of a batch, with new ids; none for a single row. Without it a batch that is
            refused is dropped whole.
        part_written: called with each batch of which a part is lost, and the tables that the part belongs to.
        monotonic: instead of `time.monotonic`.

    Attributes:
        may_be_written: whether the first of `unwritten` may have been written all the same.
        failing: why the last attempt failed; empty when it did not.
    """

    def __init__(
        self,
        writer: Writer[B],
        what: str,
        *,
        written: Callable[[B], None],
        refused: Callable[[Sequence[B], str], None],
        part_written: Callable[[B, frozenset[str]], None],
        split: Callable[[B], Sequence[B]] = lambda _: (),
        monotonic: Callable[[], float] = monotonic_time,
    ) -> None:
        self._writer = writer
        self._what = what
        self._written = written
        self._refused = refused
        self._part_written = part_written
        self._split = split
        self._monotonic = monotonic
        self._retry_at = 0.0
        self._failures = 0
        self._mistakes = 0
        self._has_logged_failure = False
        self._parts: deque[B] = deque()
        self._splits = 0
        self._dropped: list[B] = []
        self._reason = ""
        self.may_be_written = False
        self.failing = ""

    @property
    def unwritten(self) -> tuple[B, ...]:
        """Data that are not written yet: a batch, or parts of one."""
        return tuple(self._parts)

    @property
    def is_due(self) -> bool:
        """Whether it is time to try: at once, unless the last attempt failed."""
        return self._monotonic() >= self._retry_at

    def send(self, batch: B) -> bool:
        """Write `batch`; whether it needs no further attempt. Call it only after `try_again` gave True."""
        # Kept before the attempt: so it is not lost, whatever happens.
        self._parts.append(batch)
        self.may_be_written, self._splits = False, 0
        return self.try_again()

    def try_again(self) -> bool:
        """Write what is left from the last attempt; whether nothing is left now."""
        try:
            while self._parts:
                if not self._write(self._parts[0]):
                    return False
        finally:
            self._report_dropped()
        return True

    def forget(self) -> None:
        """Drop what is left, because another process writes it."""
        self._parts.clear()
        self._succeed()

    def _write(self, part: B) -> bool:
        """Write the first part that is left; whether it needs no further attempt."""
        try:
            self._writer.write(part)
        except DataRejectedError as error:
            self._split_refused(part, str(error))
        except PartWrittenError as error:
            self._part_written(part, error.tables)
            self._done()
        except DatabaseError as error:
            self.may_be_written |= not isinstance(error, _NOT_DONE)
            self._fail(error)
            return False
        except Exception as error:
            # A mistake in this package, which may concern this batch alone: all later batches would wait for
            # it.
            self._mistakes += 1
            if self._mistakes < MAX_MISTAKES:
                raise
            self._drop(part, f"it cannot be serialised ({type(error).__name__})")
        else:
            if self._has_logged_failure:
                _logger.warning("%s are written again; nothing was lost", self._what)
            self._written(part)
            self._done()
        return True

    def _split_refused(self, part: B, reason: str) -> None:
        """Find the rows that the database refuses: because of them nothing of `part` was written."""
        halves = self._split(part) if self._splits < MAX_SPLITS else ()
        if not halves:
            self._drop(part, reason)
            return
        self._splits += 1
        self._done()
        self._parts.extendleft(reversed(halves))

    def _drop(self, part: B, reason: str) -> None:
        self._reason = self._reason or reason
        self._dropped.append(part)
        self._done()

    def _report_dropped(self) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, []
            reason, self._reason = self._reason, ""
            self._refused(dropped, reason)

    def _done(self) -> None:
        self._parts.popleft()
        self._succeed()

    def _succeed(self) -> None:
        self.may_be_written = False
        self.failing, self._failures, self._retry_at, self._mistakes = "", 0, 0.0, 0
        self._has_logged_failure = False

    def _fail(self, error: DatabaseError) -> None:
        self.failing = str(error)
        if is_over():
            # That says how much time the caller had, and nothing about the database: the next attempt has its
            # own time.
            _logger.debug("%s were not written within the time given: %s", self._what, error)
            return
        delay = RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)]
        self._retry_at = self._monotonic() + delay
        self._failures += 1
        if not self._has_logged_failure:
            self._has_logged_failure = True
            _logger.warning("%s cannot be written and are kept in memory: %s", self._what, error)


def halves(**tables: tuple[Any, ...]) -> tuple[dict[str, tuple[Any, ...]], ...]:
    """Two parts of rows by table: the first table and the others, or both halves of the only one.

    Returns:
        Nothing for a single row.
    """
    filled = {name: rows for name, rows in tables.items() if rows}
    if not filled:
        return ()
    first, rows = next(iter(filled.items()))
    if len(filled) > 1:
        del filled[first]
        return {first: rows}, filled
    middle = len(rows) // 2
    return ({first: rows[:middle]}, {first: rows[middle:]}) if middle else ()
