"""Every decision, summed up by minute, endpoint, method, tier, decision and limit.

For each limit that was measured a histogram: how many requests found themselves at which share of it, in
percent rounded up; and how many of those were the first of their client in its window to get there. With
a fixed window and requests that cost one unit, the requests above a share are exactly those that a limit
of that share would have refused, and the first arrivals are the clients that it would have refused
anything.
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
"""Beyond it minutes are no longer told apart; about 10 MB."""

_Key = tuple[int, object, object, str]


class _Cell:
    """What is summed up under one key. Plan and windows are kept so that their ids stay their own."""

    __slots__ = ("clients", "decided", "kind", "minute", "plan", "utilization", "windows")

    def __init__(self, minute: int, plan: RoutePlan, kind: DecisionKind, windows: tuple[Window, ...]) -> None:
        self.minute = minute
        self.plan = plan
        self.kind = kind
        self.windows = windows
        # The last is for decisions that no limit took.
        self.decided = [0] * (len(windows) + 1)
        self.utilization: list[dict[int, int]] = [{} for _ in windows]
        self.clients: list[dict[int, int]] = [{} for _ in windows]


class UsageBuffer:
    """Sums up decisions; any thread may add."""

    def __init__(self, most_rows: int = MAX_ROWS) -> None:
        self._most_rows = most_rows
        self._lock = threading.Lock()
        self._cells: dict[_Key, _Cell] = {}
        self._latest_minute = 0

    def add(self, decision: Decision) -> None:
        """Take note of `decision`."""
        kind, plan, windows, states, _identity, tightest, at, _duration, _error = decision
        minute = int(at) // 60
        with self._lock:
            if len(self._cells) >= self._most_rows:
                minute = self._latest_minute
            else:
                self._latest_minute = minute
            # Plans and windows are told apart by identity: hashing them by value takes longer than all
            # the rest, and so does hashing a member of an Enum. What the application declared is made
            # anew for each request.
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
                continue  # a refused request drains none of the others
            used, amount = state.used, window.amount
            percent = -(-100 * used // amount) if used < amount else 100
            counts = cell.utilization[index]
            counts[percent] = counts.get(percent, 0) + 1
            if percent > -(-100 * (used - cost) // amount):
                counts = cell.clients[index]
                counts[percent] = counts.get(percent, 0) + 1

    def take(self) -> tuple[UsageRow, ...]:
        """Hand out all that is there, as rows of `rate_limit_usage`."""
        with self._lock:
            cells, self._cells = self._cells, {}
        return tuple(row for cell in cells.values() for row in _rows(cell))

    def clear(self) -> None:
        """Forget all of it: in a forked child it is the parent's to write."""
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
