"""Refused requests in the application log.

    Decision ─► RefusalLog: look up, add one        the request's thread, under a short lock
                     │ every few seconds, and at the end
                     ▼
               RefusalLines ─► logger               the background thread

Memory is bounded whatever clients send: beyond `MAX_PENDING` clients between two looks only the sums by
limit are kept, and about how many clients there were; beyond `MAX_LIMITS` limits and endpoints, which may be
paths where the application names them, one sum of all others. Counts are exact throughout: all lines of a
process together count each of its refusals once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import NonRecordingSpan, SpanContext, get_current_span, use_span

from otel_ratelimit.analytics.records import Violation
from otel_ratelimit.core import names
from otel_ratelimit.core.clock import monotonic_time
from otel_ratelimit.core.deadline import within
from otel_ratelimit.core.decision import Decision, DecisionKind
from otel_ratelimit.core.lifecycle import at_exit, at_fork
from otel_ratelimit.core.waiting import LateLock
from otel_ratelimit.telemetry.logs.addresses import ShownAddresses
from otel_ratelimit.telemetry.logs.distinct import DistinctCount
from otel_ratelimit.telemetry.logs.refusal_lines import (
    MAX_LIMITS,
    DueLine,
    LineKey,
    Refusal,
    RefusalLines,
    limit_name,
    of_all_limits,
)

LOGGER: Final = "otel_ratelimit.refusals"
FLUSH_SECONDS: Final = 5.0
"""How long the first line about a client may take."""
MAX_PENDING: Final = 1_000
"""Clients and limits that are told apart between two looks; about half a megabyte."""
CLOSE_SECONDS: Final = 5.0
"""How long the end of the process waits for lines that are being written."""
_MAX_SHOWN: Final = 128
"""Characters of a text that a client chose."""
_MAX_NAME: Final = 512
"""Characters of a text that the application chose, such as a route: as many as the tables keep."""
_UNKNOWN: Final = "unknown"

_log = logging.getLogger(LOGGER)

_Key = tuple[str, str, str, bool]
"""Client, what the limit counts, the limit, whether it is in shadow."""


class _Pending:
    """Refusals since the last look: of one client and limit, or of many clients and one limit."""

    __slots__ = ("clients", "count", "is_traced", "limits", "refusal", "span")

    def __init__(
        self, refusal: Refusal, clients: DistinctCount | None = None, limits: DistinctCount | None = None
    ) -> None:
        self.refusal = refusal
        self.count = 0
        self.span: SpanContext | None = None
        self.is_traced = False
        """Whether `span` belongs to a trace that is exported; then no other is looked for."""
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
        addresses: what of an address is shown.
        lines: when a line is due.
        max_pending: clients and limits told apart between two looks.
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
        """Take note of a refused request; quick, and without I/O."""
        identity, window = decision.identity, decision.windows[decision.tightest]
        client = _UNKNOWN if identity is None else identity.key
        shadow = decision.kind is DecisionKind.SHADOW_BLOCKED
        # Limits that the application declared have no prefix.
        key = (client, window.prefix or decision.plan.route, window.text, shadow)
        with self._lock:
            pending = self._pending.get(key) or self._crowd(key)
            if pending is None:
                pending = self._open(key, _refusal_of(decision))
            pending.count += 1
        if not pending.is_traced:
            _note_span(pending)

    def violated(self, violation: Violation) -> None:
        """Take note of a refusal that the application decided itself."""
        v = violation
        client = f"{v.client} {v.user_id}"
        refusal = Refusal(v.client, v.user_id, v.method, v.endpoint, v.limit_text, v.tier, v.shadow)
        key = (client, v.endpoint, v.limit_text, v.shadow)
        with self._lock:
            pending = self._pending.get(key) or self._crowd(key) or self._open(key, refusal)
            pending.count += v.n
        if not pending.is_traced:
            _note_span(pending)

    def tick(self) -> None:
        """Write the lines that are due; on the background thread."""
        with self._writing:
            self._collect(may_wait=True)
            _write(self._lines.due(self._monotonic()))

    def close(self) -> None:
        """Write all that is left; may be called twice."""
        with within(CLOSE_SECONDS):
            is_mine = self._writing.acquire_in_time()
        if not is_mine:
            return
        try:
            self._collect(may_wait=False)
            _write(self._lines.rest())
        finally:
            self._writing.release()

    def forget(self) -> None:
        """Drop what is not written: in a forked child it is the parent's to write."""
        self._lock = threading.Lock()
        self._writing = LateLock()
        self._pending, self._others = {}, {}
        self._lines.clear()

    def _crowd(self, key: _Key) -> _Pending | None:
        """Where a client is counted that finds no place of its own; the lock must be held."""
        if len(self._pending) < self._max_pending:
            return None
        others = self._others.get(("", *key[1:]))
        if others is None and len(self._others) >= MAX_LIMITS:
            others = self._others.get(_all_limits(key))
        if others is not None:
            others.note(key)
        return others

    def _open(self, key: _Key, refusal: Refusal) -> _Pending:
        """A place for what has none; the lock must be held."""
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
        """Move to the lines what was counted since the last look."""
        # Before anything is taken: what asks a database may fail.
        keep = self._addresses.keeper(may_wait=may_wait) if self._pending else str
        with self._lock:
            pending, self._pending = self._pending, {}
            others, self._others = self._others, {}
        for (_, scope, limit, shadow), each in pending.items():
            shown = _shown(each.refusal, keep)
            key = LineKey(shown.client, shown.user, scope, limit, shadow)
            self._lines.add(key, shown, each.count, each.span)
        for (_, scope, limit, shadow), each in others.items():
            key, shown = LineKey("", None, scope, limit, shadow), _shown(each.refusal, lambda _: "")
            clients = each.clients or DistinctCount()
            self._lines.add_others(key, shown, each.count, each.span, clients, each.limits)


def _all_limits(key: _Key) -> _Key:
    return ("", "", "", key[3])


def _shown(refusal: Refusal, keep: Callable[[str], str]) -> Refusal:
    """What a line may say: whatever the application named, it stays in one line."""
    return Refusal(
        client=_printable(keep(refusal.client)),
        user=refusal.user and _printable(refusal.user),
        method=_printable(refusal.method),
        route=_printable(refusal.route, _MAX_NAME),
        limit=_printable(refusal.limit, _MAX_NAME),
        tier=_printable(refusal.tier, _MAX_NAME),
        shadow=refusal.shadow,
    )


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


def _write(lines: Iterable[DueLine]) -> None:
    for line in lines:
        with _as_part_of(line.span):
            _log.log(
                logging.INFO if line.refusal.shadow else logging.WARNING,
                "%s %s of %s: %s%s",
                "would have refused (shadow)" if line.refusal.shadow else "refused",
                "1 request" if line.count == 1 else f"{line.count} requests",
                _who(line),
                _which(line),
                f", trace {line.span.trace_id:032x}" if line.span is not None else "",
                extra=_attributes(line),
            )


@contextmanager
def _as_part_of(span: SpanContext | None) -> Iterator[None]:
    """Log as within the refused request, so that handlers find its trace; what they do makes no spans."""
    with suppress_instrumentation():
        if span is None:
            yield
            return
        with use_span(NonRecordingSpan(span)):
            yield


def _who(line: DueLine) -> str:
    refusal = line.refusal
    if not refusal.client:
        return f"about {line.clients} other {'client' if line.clients == 1 else 'clients'}"
    return f"client {refusal.client}" + (f" (user {refusal.user})" if refusal.user else "")


def _which(line: DueLine) -> str:
    refusal = line.refusal
    if _is_of_all(refusal):
        several = "limit or endpoint" if line.limits == 1 else "limits or endpoints"
        return f"about {line.limits} other {several}"
    return f"{refusal.method} {refusal.route}, limit {refusal.limit}, tier {refusal.tier}"


def _is_of_all(refusal: Refusal) -> bool:
    return refusal == of_all_limits(refusal.shadow)


def _attributes(line: DueLine) -> dict[str, object]:
    refusal = line.refusal
    attributes: dict[str, object] = {
        names.DECISION: (DecisionKind.SHADOW_BLOCKED if refusal.shadow else DecisionKind.BLOCKED).value,
        names.REFUSED_REQUESTS: line.count,
    }
    if _is_of_all(refusal):
        attributes[names.REFUSED_LIMITS] = line.limits
    else:
        attributes |= {
            names.HTTP_ROUTE: refusal.route,
            names.HTTP_REQUEST_METHOD: refusal.method,
            names.TIER: refusal.tier,
            names.LIMIT: refusal.limit,
        }
    if refusal.client:
        attributes[names.CLIENT_ADDRESS] = refusal.client
    else:
        attributes[names.REFUSED_CLIENTS] = line.clients
    if refusal.user:
        attributes[names.USER] = refusal.user
    return attributes


def _printable(text: str, most_characters: int = _MAX_SHOWN) -> str:
    """`text` in one line, so that no client can write lines into the log."""
    shown = text[:most_characters]
    return shown if shown.isprintable() else shown.encode("unicode_escape").decode()
