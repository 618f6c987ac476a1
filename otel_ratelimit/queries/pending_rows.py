"""Executions that were kept become rows, which wait to be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from otel_ratelimit.queries.execution import CapturedExecution
from otel_ratelimit.queries.query_log_rows import HotRow, cold_row
from otel_ratelimit.queries.records import QueryRow, QueryTemplate
from otel_ratelimit.queries.sampling import QuerySampler, Window

MAX_PENDING: Final = 50_000
"""Rows that wait while the database cannot be reached."""
MAX_FROM_WINDOW_SECONDS: Final = 600.0
"""A hot key's execution that started farther from its window than this gets a row of its own."""


class PendingRows:
    """Rows that wait to be written; used by the background thread.

    Args:
        sampler: learns which keys were kept.
        template_of: the template of a text.
        drop: called with each row for which there is no room.
    """

    def __init__(
        self,
        sampler: QuerySampler,
        template_of: Callable[[str], QueryTemplate],
        drop: Callable[[QueryRow], None],
    ) -> None:
        self._sampler = sampler
        self._template_of = template_of
        self._drop = drop
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """In a forked child: forget the rows, because the parent writes them."""
        self._rows: list[QueryRow] = []
        self._hot: dict[tuple[object, ...], HotRow] = {}
        self._cold_in_window = 0
        self._kept = 0

    def __len__(self) -> int:
        """Complete rows, of at most `MAX_PENDING`."""
        return len(self._rows)

    @property
    def has_hot(self) -> bool:
        """Whether there are rows of hot keys that are not complete."""
        return bool(self._hot)

    @property
    def executions(self) -> int:
        """Executions that the complete rows stand for."""
        return sum(row.n for row in self._rows)

    def keep(self, window: Window, key: bytes, execution: CapturedExecution) -> None:
        """Make a row of an execution, or add it to the row of its hot key."""
        self._kept += 1
        if self._kept % window.noted_one_in == 0:
            self._sampler.seen(key)
        template = self._template_of(execution.statement)
        if key not in window.hot:
            self._cold_in_window += 1
            self._add(cold_row(execution, key, window.rate, template))
            return
        if not -MAX_FROM_WINDOW_SECONDS < execution.started - window.start < MAX_FROM_WINDOW_SECONDS:
            # It ran for long, or the clock was set: the seconds in between would be a list of zeros.
            alone = HotRow(execution, key, template)
            alone.add(execution)
            self._add(alone.row())
            return
        alike = (window.start, key, execution.status, execution.in_txn, execution.endpoint)
        row = self._hot.get(alike)
        if row is None:
            row = self._hot[alike] = HotRow(execution, key, template)
        row.add(execution)

    def complete_hot(self) -> None:
        """Complete the rows of hot keys."""
        for row in self._hot.values():
            self._add(row.row())
        self._hot = {}

    def end_window(self) -> int:
        """Complete the window's rows; the number of its rows of cold keys."""
        self.complete_hot()
        rows, self._cold_in_window = self._cold_in_window, 0
        return rows

    def take(self, most: int) -> tuple[QueryRow, ...]:
        """Take `most` complete rows, the oldest first."""
        taken, self._rows = self._rows[:most], self._rows[most:]
        return tuple(taken)

    def _add(self, row: QueryRow) -> None:
        if len(self._rows) < MAX_PENDING:
            self._rows.append(row)
        else:
            self._drop(row)
