"""The results of a run as tables and text, for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from otel_ratelimit.demo.analytics_api import StoredAnswers
from otel_ratelimit.demo.client_reports import Refusal
from otel_ratelimit.demo.received_telemetry import Span
from otel_ratelimit.demo.repeated_queries import QueriesFound
from otel_ratelimit.demo.results import DemoResults, PersonaResult, Reconciliation, TierDecisions

_BAR_WIDTH: Final = 16
_MAX_LIMITS: Final = 10
_MAX_ENDPOINTS: Final = 3
_MAX_CLIENTS: Final = 5
_MAX_ROOMS: Final = 6
_OUR_ATTRIBUTES: Final = "otel_ratelimit."
_OTHER_ATTRIBUTES: Final = ("http.request.method", "http.route", "http.response.status_code")


def result_sections(results: DemoResults, tiers: Mapping[str, str]) -> Iterator[tuple[str, RenderableType]]:
    """Title and body of each part, in the order in which they are printed."""
    seconds = f"{results.duration_seconds:.0f} s"
    yield f"What happened in {seconds}: decisions by tier", tier_table(results.tiers, tiers)
    yield "Who was limited, and where", _personas(results.clients)
    yield "Which limits refused requests", _limits(results)
    if results.stored is not None:
        yield "From PostgreSQL, by the API: clients that were limited", _stored_clients(results.stored)
        yield "Headroom of the tightest limits", _headroom(results.stored)
        yield "Limits that would suit this traffic", _recommended(results.stored)
    if results.queries is not None:
        yield "Queries that were repeated within a minute", _asked_again(results.queries)
    yield "Memory, overhead, and whether the numbers agree", _figures(results)
    if results.refusal is not None:
        yield "A refused request as its client saw it", _refusal(results.refusal)
    if results.span is not None:
        yield "An exported span", _span(results.span, is_exemplar=results.span_is_exemplar)


def tier_table(tiers: Sequence[TierDecisions], limits: Mapping[str, str]) -> Table:
    """Decisions by tier, with a bar for the share refused."""
    table = _table()
    table.add_column("tier", no_wrap=True)
    table.add_column("limits", no_wrap=True)
    for name in ("allowed", "blocked"):
        table.add_column(name, justify="right")
    table.add_column("refused")
    for tier in tiers:
        refused = tier.blocked + tier.shadow_blocked
        table.add_row(
            tier.tier,
            Text(limits.get(tier.tier, "-"), style="dim"),
            Text(str(tier.allowed + tier.exempt), style="green"),
            Text(str(refused), style="red" if refused else "dim"),
            _bar(tier.allowed + tier.exempt, refused),
        )
    return table


def _personas(results: Sequence[PersonaResult]) -> Table:
    table = _table()
    for name in ("client", "", "answers", "429", "where"):
        table.add_column(name, justify="left" if name in ("client", "where") else "right")
    for result in results:
        where = [f"{t.limited:>4}  {t.endpoint}" for t in result.endpoints[:_MAX_ENDPOINTS]]
        more = len(result.endpoints) - len(where)
        table.add_row(
            Text(result.persona, style="bold"),
            f"x {result.clients}",
            str(result.answered),
            Text(str(result.limited), style="red" if result.limited else "dim"),
            Text("\n".join(where) + (f"\n      and {more} more" if more else ""), style="dim"),
        )
    return table


def _limits(results: DemoResults) -> RenderableType:
    if not results.limits:
        return Text("None: no client reached a limit.")
    table = _table()
    table.add_column("limit", no_wrap=True)
    table.add_column("route")
    table.add_column("blocked", justify="right")
    for limit in results.limits[:_MAX_LIMITS]:
        table.add_row(limit.limit, f"{limit.method} {limit.route}", Text(str(limit.blocked), style="red"))
    return table


def _stored_clients(stored: StoredAnswers) -> Group:
    table = _table()
    for name, justify in (("client", "left"), ("violations", "right"), ("endpoints", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]  # a literal, as rich wants it
    for found in stored.clients[:_MAX_CLIENTS]:
        table.add_row(found.client, Text(str(found.violations), style="red"), str(found.endpoints))
    share = f"{stored.hit_rate:.1%} of {stored.requests} requests were limited"
    return Group(table, Text(f"{share}; {stored.violations} violations in {stored.rows} rows", style="dim"))


def _headroom(stored: StoredAnswers) -> Table:
    table = _table()
    table.add_column("route", overflow="fold")
    table.add_column("limit", no_wrap=True)
    for name in ("requests", "refused", "p95 used"):
        table.add_column(name, justify="right", no_wrap=True)
    for room in stored.rooms[:_MAX_ROOMS]:
        table.add_row(
            f"{room.method} {room.endpoint}",
            _short(room.limit),
            str(room.requests),
            Text(str(room.refused), style="red" if room.refused else "dim"),
            f"{room.p95:.0%}",
        )
    return table


def _asked_again(found: QueriesFound) -> Group:
    again = _query_table("executions", "repeated", ())
    for each in found.in_time:
        again.add_row(f"{each.executions:.0f}", f"{each.share:.0%}", each.template)
    counted = f"{found.executions} queries of {found.templates} templates, {found.dropped} not recorded."
    parts: list[RenderableType] = [
        again,
        Text(f"{counted} Repeated: with the same values, which are hashed and not stored.", style="dim"),
    ]
    if found.in_requests:
        routes = tuple(pattern.endpoint for pattern in found.in_requests)
        patterns = _query_table("in a request", "route (N+1)", routes)
        for pattern in found.in_requests:
            patterns.add_row(f"{pattern.most} times", pattern.endpoint, pattern.template)
        parts += [Text(), patterns]
    return Group(*parts)


def _query_table(first: str, second: str, in_second: tuple[str, ...]) -> Table:
    table = _table()
    table.add_column(first, justify="right", min_width=len(first), no_wrap=True)
    table.add_column(second, min_width=max(map(len, (second, *in_second))), no_wrap=True)
    table.add_column("query", style="dim", no_wrap=True, overflow="ellipsis", ratio=1)
    table.expand = True
    return table


def _recommended(stored: StoredAnswers) -> Group:
    table = _table()
    table.add_column("route", overflow="fold")
    for name in ("now", "recommended"):
        table.add_column(name, no_wrap=True)
    table.add_column("clients", justify="right", no_wrap=True)
    # Those with the most evidence come first; half a minute of traffic is little in any case.
    for found in sorted(stored.recommended, key=lambda f: -f.client_windows)[:_MAX_ROOMS]:
        table.add_row(
            f"{found.method} {found.endpoint}",
            _short(found.present),
            _short(found.recommended) or "over 10 x",
            f"{found.client_windows:,}",
        )
    hint = "They would have refused at most 1 % of clients; see `otel-ratelimit policy suggest`."
    return Group(table, Text(hint, style="dim"))


def _short(limit: str) -> str:
    """`300/minute` for `300 per 1 minute`: a terminal has 80 columns, and a route takes half of them."""
    return limit.replace(" per 1 ", "/")


def _figures(results: DemoResults) -> Table:
    memory, overhead, numbers = results.memory, results.overhead, results.reconciliation
    table = _table(show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    share = 100 * memory.size_bytes / memory.capacity_bytes if memory.capacity_bytes else 0.0
    table.add_row(
        "memory",
        f"{memory.keys} counters in {memory.size_bytes / 1000:.1f} kB"
        f" ({share:.2g} % of {memory.capacity_bytes / 1e6:.0f} MB)",
    )
    table.add_row(
        "overhead",
        f"a check takes {_milliseconds(overhead.check_p50)} (median),"
        f" {_milliseconds(overhead.check_p99)} (p99); a request {_milliseconds(overhead.request_p50)}",
    )
    table.add_row("numbers", _agreement(numbers))
    if results.stored is not None:
        recorded = results.stored.violations
        same = "=" if recorded == numbers.blocked else "but"
        table.add_row("", f"{numbers.blocked} blocked {same} {recorded} violations in PostgreSQL")
    if results.workers > 1:
        table.add_row(
            "workers",
            f"each of {results.workers} has its own counters, so clients had up to {results.workers} times"
            " each limit; workers that share a Redis or Valkey count together",
        )
    return table


def _agreement(numbers: Reconciliation) -> Text:
    pairs = (
        f"{numbers.answered} answers {{0}} {numbers.decisions} decisions, {numbers.limited} times 429 {{0}}"
    )
    if numbers.agrees:
        return Text.assemble(f"{pairs.format('=')} {numbers.blocked} blocked: ", ("they agree", "green"))
    return Text.assemble(f"{pairs.format('but')} {numbers.blocked} blocked\n", (numbers.explain(), "red"))


def _refusal(refusal: Refusal) -> Group:
    lines = [
        Text(f"{refusal.persona} at {refusal.address}: {refusal.request}", style="dim"),
        Text(f"HTTP/1.1 {refusal.status}", style="red"),
    ]
    for name, value in refusal.headers:
        lines.append(Text.assemble((f"{name}: ", "cyan"), value))
    try:
        body = json.dumps(json.loads(refusal.body), indent=2)
    except ValueError:
        body = refusal.body
    return Group(*lines, Text(), Text(body))


def _span(span: Span, *, is_exemplar: bool) -> Group:
    shown = {
        key: value
        for key, value in span.attributes.items()
        if key.startswith(_OUR_ATTRIBUTES) or key in _OTHER_ATTRIBUTES
    }
    shown["trace"] = span.trace_id
    width = max(map(len, shown))
    lines = [Text(f"{span.name} ({span.kind}, {span.duration_ms:.1f} ms)", style="dim")]
    lines += [Text.assemble((f"{key:<{width}}  ", "cyan"), value) for key, value in sorted(shown.items())]
    if is_exemplar:
        lines.append(Text("An exemplar of otel_ratelimit.requests points to this trace.", style="dim"))
    return Group(*lines)


def _bar(passed: int, refused: int) -> Text:
    total = passed + refused
    filled = round(_BAR_WIDTH * refused / total) if total else 0
    if refused and not filled:
        filled = 1
    return Text.assemble(("#" * filled, "red"), ("." * (_BAR_WIDTH - filled), "green"))


def _milliseconds(seconds: float | None) -> str:
    return "(not reported)" if seconds is None else f"{seconds * 1e3:.2g} ms"


def _table(*, show_header: bool = True) -> Table:
    return Table(box=None, pad_edge=False, header_style="bold", show_header=show_header, padding=(0, 2, 0, 0))
