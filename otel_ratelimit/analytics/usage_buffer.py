"""Sums up every decision by minute, endpoint, method, tier, decision and limit.

Each limit that was measured has two histograms by the share of the limit that was used, in percent, rounded
up. The first counts all requests; the second counts the requests that were the first of their client in its
window to reach that share. With a fixed window and requests that cost one unit, the requests above a share
are exactly those that a limit of that share would have refused, and the first arrivals above it are the
clients to whom it would have refused something.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from otel_ratelimit.analytics.records import REFUSED_PERCENT, UsageRow
from otel_ratelimit.core.counter_store import WindowState
from otel_ratelimit.core.decision import Decision, DecisionKind
from otel_ratelimit.core.names import APPLICATION_TIER
from otel_ratelimit.core.route_plan import RoutePlan, Window

MAX_ROWS: Final = 10_000
"""With more rows, minutes are summed up together; about 10 MB."""

_Key = tuple[int, object, object, str]


class _Cell:
    """The sums for one key. It keeps plan and windows alive, so that no other object gets their ids."""

    __slots__ = ("clients", "decided", "kind", "minute", "plan", "utilization", "windows")

    def __init__(self, minute: int, plan: RoutePlan, kind: DecisionKind, windows: tuple[Window, ...]) -> None:
        self.minute = minute
        self.plan = plan
        self.kind = kind
        self.windows = windows
        # The last place is for decisions without a limit.
        self.decided = [0] * (len(windows) + 1)
        self.utilization: list[dict[int, int]] = [{} for _ in windows]
        self.clients: list[dict[int, int]] = [{} for _ in windows]


class UsageBuffer:
    """Sums up decisions; any thread may add."""

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self._max_rows = max_rows
        self._lock = threading.Lock()
        self._cells: dict[_Key, _Cell] = {}
        self._latest_minute = 0

    def add(self, decision: Decision) -> None:
        """Add `decision`."""
        kind, plan, windows, states, _identity, tightest, at, _duration, _error = decision
        minute = int(at) // 60
        with self._lock:
            if len(self._cells) >= self._max_rows:
                minute = self._latest_minute
            else:
                self._latest_minute = minute
            # Plans and windows are compared by identity: to hash them by value takes longer than everything
            # else here, and so does the hash of an Enum member. Limits that the application declares are new
            # objects for each request, so their key has values.
            key: _Key = (minute, id(plan), id(windows), kind._value_)
            if plan.tier == APPLICATION_TIER:
                texts = tuple(window.text for window in windows)
                key = (minute, plan.route, (plan.method, *texts), kind._value_)
            cell = self._cells.get(key)
            if cell is None:
                cell = self._cells[key] = _Cell(minute, plan, kind, windows)
            cell.decided[tightest] += 1
            if tightest >= 0:
                self._measure(cell, windows, states, tightest)

    @staticmethod
    def _measure(
        cell: _Cell, windows: Sequence[Window], states: Sequence[WindowState], tightest: int
    ) -> None:
        kind, cost = cell.kind, cell.plan.cost
        blocked, shadow_blocked = kind is DecisionKind.BLOCKED, kind is DecisionKind.SHADOW_BLOCKED
        for index, state in enumerate(states):
            if state.retry_after > 0.0 or (blocked and index == tightest):
                counts = cell.utilization[index]
                counts[REFUSED_PERCENT] = counts.get(REFUSED_PERCENT, 0) + 1
                continue
            window = windows[index]
            if blocked or (shadow_blocked and window.shadow):
                continue  # a refused request uses nothing of the other limits
            used, amount = state.used, window.amount
            percent = -(-100 * used // amount) if used < amount else 100
            counts = cell.utilization[index]
            counts[percent] = counts.get(percent, 0) + 1
            if percent > -(-100 * (used - cost) // amount):
                counts = cell.clients[index]
                counts[percent] = counts.get(percent, 0) + 1

    def take(self) -> tuple[UsageRow, ...]:
        """Remove all sums, and return them as rows of `rate_limit_usage`."""
        with self._lock:
            cells, self._cells = self._cells, {}
        return tuple(row for cell in cells.values() for row in _rows(cell))

    def clear(self) -> None:
        """Remove all sums; in a forked child, because the parent writes them."""
        self._lock = threading.Lock()
        self._cells = {}


def _rows(cell: _Cell) -> list[UsageRow]:
    rows = [
        _row(cell, window.text, window.amount, window.seconds, index)
        for index, window in enumerate(cell.windows)
        if cell.decided[index] or cell.utilization[index]
    ]
    if cell.decided[-1]:
        rows.append(_row(cell, "", 0, 0, -1))
    return rows


def _row(cell: _Cell, text: str, amount: int, seconds: int, index: int) -> UsageRow:
    return UsageRow(
        minute=cell.minute * 60,
        endpoint=cell.plan.route,
        method=cell.plan.method,
        tier=cell.plan.tier,
        decision=cell.kind,
        limit_text=text,
        limit_value=amount,
        limit_seconds=seconds,
        requests=cell.decided[index],
        utilization=cell.utilization[index] if index >= 0 else {},
        clients=cell.clients[index] if index >= 0 else {},
    )
