"""The row of this process in a zone's table (`processes`), and whether it is the one that reports the gauges.

A zone has gauges of its size and its counters, and every process that shares it could report them. One of
them does: it holds a lease, which is in the zone's head. A process that collects its metrics takes the lease
if nobody has it, if its holder has ended, or if the holder has not collected for `LEASE_SECONDS`.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping
from typing import Final

from otel_ratelimit.core.clock import Clock
from otel_ratelimit.core.decision import DecisionKind
from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.core.lifecycle import at_fork
from otel_ratelimit.storage.zone import head
from otel_ratelimit.storage.zone.layout import MAX_PROCESSES
from otel_ratelimit.storage.zone.opened import Zone
from otel_ratelimit.storage.zone.process_tree import pid_namespace
from otel_ratelimit.storage.zone.processes import KINDS, NOTHING, ProcessTable, SharingProcesses, is_alive

_logger = logging.getLogger(__name__)

LEASE_SECONDS: Final = 600.0
"""Ten intervals in which OpenTelemetry exports by default."""
_MICROSECONDS: Final = 1e6


class ProcessRow:
    """The row of this process in the table of a zone, for one of its stores.

    A zone whose lock cannot be had is no error here: the row is written the next time.

    Args:
        zone: the zone.
        clock: Unix time in seconds.
    """

    def __init__(self, zone: Zone, clock: Clock) -> None:
        self._zone = zone
        self._clock = clock
        self._table = ProcessTable(zone)
        self._token = 0
        self._process = 0
        self._closed = self._said = False
        self._written = NOTHING
        self._elsewhere = NOTHING
        """Decisions of those written that another row counts: of the process that this one was forked from,
        or of a former row of this process."""
        at_fork(in_child=self._forget)

    def begin(self) -> None:
        """Claim the row, unless this process has one."""
        self._has_row()

    def write(self, decisions: Mapping[DecisionKind, int]) -> None:
        """Write the number of requests that this process has decided in all, by what was decided."""
        if not self._has_row():
            return
        counts = tuple(decisions.get(kind, 0) for kind in KINDS)
        own = [max(0, count - other) for count, other in zip(counts, self._elsewhere, strict=True)]
        try:
            if self._table.write(self._token, own, self._clock()):
                self._written = counts
            else:
                self._token = 0
        except StorageUnavailableError:
            pass  # logged by the zone

    def reports_gauges(self) -> bool:
        """Whether this process reports the zone's gauges now; takes the lease if it is free."""
        if not self._has_row():
            return False
        now, own = self._clock(), self._table.number_of(self._token) + 1
        holder = self._zone.figure(head.REPORTER_AT)
        if holder != own and self._holds(holder, now):
            return False
        try:
            with self._zone.locked():
                if self._zone.figure(head.REPORTER_AT) != holder:  # another process was faster
                    return False
                self._zone.words[head.REPORTED_AT >> 3] = int(now * _MICROSECONDS)
                self._zone.words[head.REPORTER_AT >> 3] = own
        except StorageUnavailableError:
            return False
        return True

    def sharing(self) -> SharingProcesses:
        """The processes that share the zone now, and those that did."""
        return self._table.sharing(self._clock())

    def close(self) -> None:
        """Free the row; this process uses the zone no more, or not for this store."""
        self._closed = True
        if self._token and self._process == os.getpid():
            # If the lock cannot be had, another process does it when this one has ended.
            with contextlib.suppress(StorageUnavailableError):
                self._table.free(self._token)
        self._token = 0

    def _holds(self, holder: int, now: float) -> bool:
        """Whether the process of row `holder` - 1 still reports."""
        row = self._table.row(holder - 1)
        if row is None or not is_alive(row, pid_namespace(), now):
            return False
        return abs(now - self._zone.figure(head.REPORTED_AT) / _MICROSECONDS) < LEASE_SECONDS

    def _has_row(self) -> bool:
        """Whether this process has its row; claims it if not."""
        # The number is compared because Python's hooks do not run at a fork in C (uWSGI).
        if self._token and self._process == os.getpid() and self._table.number_of(self._token):
            return True
        if self._closed:
            return False
        self._elsewhere = self._written
        try:
            row = self._table.claim(self._clock())
        except StorageUnavailableError:
            return False
        self._token, self._process = (row.token if row else 0), os.getpid()
        if row is None and not self._said:
            self._said = True
            _logger.warning(
                "zone %s: %d processes share it, and there is no room to list another; process %d counts"
                " in it, and its decisions are missing in the totals by process",
                self._zone.identity,
                MAX_PROCESSES - 1,
                os.getpid(),
            )
        return row is not None

    def _forget(self) -> None:
        self._token = self._process = 0
        self._written = self._elsewhere = NOTHING
