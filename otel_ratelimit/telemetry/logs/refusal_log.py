"""Refused requests in the application log.

    Decision ─► RefusalLog: look up, add one        the request's thread, under a short lock
                     │ every few seconds, and at the end
                     ▼
               RefusalLines ─► logger               the background thread

Memory is bounded whatever clients send. Beyond `MAX_PENDING` clients between two flushes, only the sums by
limit are kept, with an estimate of the number of clients. Beyond `MAX_LIMITS` limits and endpoints (which may
be paths if the application names them), one sum of all others is kept. Counts are exact: all lines of a
process together count each of its refusals once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from opentelemetry.trace import SpanContext, get_current_span

from otel_ratelimit.analytics.records import Violation
from otel_ratelimit.core.clock import monotonic_time
from otel_ratelimit.core.deadline import within
from otel_ratelimit.core.decision import Decision, DecisionKind
from otel_ratelimit.core.lifecycle import at_exit, at_fork
from otel_ratelimit.core.waiting import LateLock
from otel_ratelimit.telemetry.logs.distinct_count import DistinctCount
from otel_ratelimit.telemetry.logs.refusal_messages import shown_refusal, write_lines
from otel_ratelimit.telemetry.logs.refusal_summaries import (
    MAX_LIMITS,
    LineKey,
    Refusal,
    RefusalLines,
    limit_name,
    of_all_limits,
)
from otel_ratelimit.telemetry.logs.shown_addresses import ShownAddresses

FLUSH_SECONDS: Final = 5.0
"""How long the first line about a client may take."""
MAX_PENDING: Final = 1_000
"""Clients and limits that are counted apart between two flushes; about half a megabyte."""
CLOSE_SECONDS: Final = 5.0
"""How long the end of the process waits for lines that are being written."""
_UNKNOWN: Final = "unknown"

_Key = tuple[str, str, str, bool]
"""Client, what the limit counts, the limit, whether it is in shadow."""


class _Pending:
    """Refusals since the last flush: of one client and limit, or of many clients and one limit."""

    __slots__ = ("clients", "count", "is_traced", "limits", "refusal", "span")

    def __init__(
        self, refusal: Refusal, clients: DistinctCount | None = None, limits: DistinctCount | None = None
    ) -> None:
        self.refusal = refusal
        self.count = 0
        self.span: SpanContext | None = None
        self.is_traced = False
        """Whether `span` belongs to a trace that is exported; then no other span is considered."""
        self.clients = clients
        self.limits = limits

    def note(self, key: _Key) -> None:
        """Count the client, and the limit where there are many."""
        client, scope, limit, _ = key
        if self.clients is not None:
            self.clients.add(client)
        if self.limits is not None:
            self.limits.add(limit_name(scope, limit))


class RefusalLog:
    """A sink for decisions that refuse (`blocked`, `shadow_blocked`); any thread may call it.

    Args:
        addresses: how an address is shown.
        lines: when a line is due.
        max_pending: clients and limits counted apart between two flushes.
        monotonic: instead of `time.monotonic`.
    """

    def __init__(
        self,
        addresses: ShownAddresses,
        lines: RefusalLines | None = None,
        max_pending: int = MAX_PENDING,
        monotonic: Callable[[], float] = monotonic_time,
    ) -> None:
        self._addresses = addresses
        self._lines = lines or RefusalLines()
        self._max_pending = max_pending
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._pending: dict[_Key, _Pending] = {}
        self._others: dict[_Key, _Pending] = {}
        self._writing = LateLock()
        at_fork(in_child=self.forget)
        at_exit(self.close)

    def __call__(self, decision: Decision) -> None:
        """Count a refused request; quick, and without I/O."""
        identity, window = decision.identity, decision.windows[decision.tightest]
        client = _UNKNOWN if identity is None else identity.key
        shadow = decision.kind is DecisionKind.SHADOW_BLOCKED
        # Limits that the application declared have an empty prefix.
        key = (client, window.prefix or decision.plan.route, window.text, shadow)
        with self._lock:
            pending = self._pending.get(key) or self._shared_entry(key)
            if pending is None:
                pending = self._new_entry(key, _refusal_of(decision))
            pending.count += 1
        if not pending.is_traced:
            _note_span(pending)

    def violated(self, violation: Violation) -> None:
        """Count a refusal that the application decided itself."""
        v = violation
        client = f"{v.client} {v.user_id}"
        refusal = Refusal(v.client, v.user_id, v.method, v.endpoint, v.limit_text, v.tier, v.shadow)
        key = (client, v.endpoint, v.limit_text, v.shadow)
        with self._lock:
            pending = self._pending.get(key) or self._shared_entry(key) or self._new_entry(key, refusal)
            pending.count += v.n
        if not pending.is_traced:
            _note_span(pending)

    def tick(self) -> None:
        """Write the lines that are due; called on the background thread."""
        with self._writing:
            self._collect(may_wait=True)
            write_lines(self._lines.due(self._monotonic()))

    def close(self) -> None:
        """Write the remaining lines; may be called twice."""
        with within(CLOSE_SECONDS):
            is_mine = self._writing.acquire_in_time()
        if not is_mine:
            return
        try:
            self._collect(may_wait=False)
            write_lines(self._lines.rest())
        finally:
            self._writing.release()

    def forget(self) -> None:
        """Drop what is not written yet; after a fork the parent writes it."""
        self._lock = threading.Lock()
        self._writing = LateLock()
        self._pending, self._others = {}, {}
        self._lines.clear()

    def _shared_entry(self, key: _Key) -> _Pending | None:
        """The shared entry for a client beyond `max_pending`; the lock must be held."""
        if len(self._pending) < self._max_pending:
            return None
        others = self._others.get(("", *key[1:]))
        if others is None and len(self._others) >= MAX_LIMITS:
            others = self._others.get(_all_limits(key))
        if others is not None:
            others.note(key)
        return others

    def _new_entry(self, key: _Key, refusal: Refusal) -> _Pending:
        """A new entry; the lock must be held."""
        if len(self._pending) < self._max_pending:
            opened = self._pending[key] = _Pending(refusal)
            return opened
        if len(self._others) < MAX_LIMITS:
            opened = self._others[("", *key[1:])] = _Pending(refusal, DistinctCount())
        else:
            of_all = _Pending(of_all_limits(refusal.shadow), DistinctCount(), DistinctCount())
            opened = self._others[_all_limits(key)] = of_all
        opened.note(key)
        return opened

    def _collect(self, *, may_wait: bool) -> None:
        """Add what was counted since the last flush to the lines."""
        # First, because asking the database may fail.
        keep = self._addresses.keeper(may_wait=may_wait) if self._pending else str
        with self._lock:
            pending, self._pending = self._pending, {}
            others, self._others = self._others, {}
        for (_, scope, limit, shadow), each in pending.items():
            shown = shown_refusal(each.refusal, keep)
            key = LineKey(shown.client, shown.user, scope, limit, shadow)
            self._lines.add(key, shown, each.count, each.span)
        for (_, scope, limit, shadow), each in others.items():
            key, shown = LineKey("", None, scope, limit, shadow), shown_refusal(each.refusal, lambda _: "")
            clients = each.clients or DistinctCount()
            self._lines.add_others(key, shown, each.count, each.span, clients, each.limits)


def _all_limits(key: _Key) -> _Key:
    return ("", "", "", key[3])


def _refusal_of(decision: Decision) -> Refusal:
    plan, identity = decision.plan, decision.identity
    return Refusal(
        client=_UNKNOWN if identity is None else identity.address,
        user=None if identity is None else identity.user,
        method=plan.method,
        route=plan.route,
        limit=decision.windows[decision.tightest].text,
        tier=plan.tier,
        shadow=decision.kind is DecisionKind.SHADOW_BLOCKED,
    )


def _note_span(pending: _Pending) -> None:
    context = get_current_span().get_span_context()
    if not context.is_valid:
        return
    is_sampled = context.trace_flags.sampled
    if pending.span is None or is_sampled:
        pending.span, pending.is_traced = context, is_sampled
