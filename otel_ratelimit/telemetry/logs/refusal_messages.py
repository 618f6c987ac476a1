"""The text of a line about refused requests, and its attributes.

Texts that a client or the application chose are shortened and escaped, so that none can break a line.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span

from otel_ratelimit.core import names
from otel_ratelimit.core.decision import DecisionKind
from otel_ratelimit.telemetry.logs.refusal_summaries import DueLine, Refusal, of_all_limits

LOGGER: Final = "otel_ratelimit.refusals"
_MAX_SHOWN: Final = 128
"""Characters of a text that a client chose."""
_MAX_NAME: Final = 512
"""Characters of a text that the application chose, such as a route: as many as the tables keep."""

_logger = logging.getLogger(LOGGER)


def shown_refusal(refusal: Refusal, keep: Callable[[str], str]) -> Refusal:
    """The refusal as a line may show it: every text on one line, the address as `keep` returns it."""
    return Refusal(
        client=_printable(keep(refusal.client)),
        user=refusal.user and _printable(refusal.user),
        method=_printable(refusal.method),
        route=_printable(refusal.route, _MAX_NAME),
        limit=_printable(refusal.limit, _MAX_NAME),
        tier=_printable(refusal.tier, _MAX_NAME),
        shadow=refusal.shadow,
    )


def write_lines(lines: Iterable[DueLine]) -> None:
    """Log the lines; refusals in shadow at INFO, others at WARNING."""
    for line in lines:
        with _as_part_of(line.span):
            _logger.log(
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
    """Log as within the refused request, so that handlers find its trace; the handlers make no spans."""
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
