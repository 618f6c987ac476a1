"""The comments of a suggested policy: the evidence of each rule, and the routes without a rule and why.

Routes with the same reason are one sentence with their number; `policy suggest --json` names all of them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Final

from otel_ratelimit.analytics.policy_suggestion import Seen, Undecided, WhyUndecided
from otel_ratelimit.analytics.recommended_limits import EVIDENCE_NEEDED
from otel_ratelimit.core.periods import Period
from otel_ratelimit.core.sentences import between, counted, part_of, per_window, percent

MAX_LISTED: Final = 5
"""How many routes with the same reason are named."""
WIDTH: Final = 110
_WHY: Final[dict[WhyUndecided, tuple[str, str]]] = {
    "little": (
        f"too little was seen of it; a suggestion takes {EVIDENCE_NEEDED}",
        f"too little was seen of each; a suggestion takes {EVIDENCE_NEEDED}",
    ),
    "beyond": (
        "every limit that was tried would have refused too much",
        "every limit that was tried would have refused too much",
    ),
    "unnameable": (
        "no pattern of a policy file can name it",
        "no pattern of a policy file can name them",
    ),
}
"""The sentence for one route, and for several."""

Escape = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class LostRule:
    """A rule of the present policy, or a part of one, that is not in the suggestion."""

    match: str
    reason: str
    """Continues a sentence that begins with "it"."""


def heading(
    seen: tuple[int, int], period: Period, share: float, service: str | None, *, has_rules: bool
) -> Iterator[str]:
    """The first lines: what the file is, and how it was made.

    Args:
        seen: the number of requests, and of the routes that they used.
        period: of the evidence.
        share: of client windows that a limit may refuse.
        service: of the evidence; None if it has no name.
        has_rules: whether any route has enough evidence.
    """
    requests, routes = seen
    of = f" for the service {service}" if service else ""
    yield f"# Suggested by `otel-ratelimit policy suggest`{of}."
    yield f"# Seen: {counted(requests, 'request')} to {counted(routes, 'route')}, {span(period)}."
    if has_rules:
        most = f"at most {percent(share)} of client windows" if share else "nobody"
        yield from _wrapped(
            f"Each limit is the lowest that would have refused {most}, rounded up. A client window is one"
            " client in one window of the limit."
        )
    elif not routes:
        yield "# Every route that was used is exempt, so there are no rules."
    else:
        yield "# No limit can be suggested for any route; the end says why."
    yield "# Observe before you enforce: OTEL_RATELIMIT_SHADOW=true."


def span(period: Period) -> str:
    """`2026-01-31 00:00 to 2026-02-01 00:00 UTC`."""
    start, end = (moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M") for moment in period)
    return f"{start} to {end} UTC"


def evidence(method: str, seen: Seen) -> Iterator[str]:
    """The evidence for a rule, for one method and one limit."""
    found = seen.recommendation
    yield from _wrapped(f"{method}: {found.reason}; {_present(seen)}")


def _present(seen: Seen) -> str:
    """How well the present limit fits."""
    found = seen.recommendation
    limit = per_window(found.limit_value, found.limit_seconds)
    refused = next(c.rejected_requests for c in found.candidates if c.limit_value == found.limit_value)
    if refused:
        were = "was" if refused == 1 else "were"
        return f"{part_of(refused, found.requests, 'request')} {were} beyond the present {limit}"
    return f"99 % of the requests found at most {seen.p99_units:,} of the present {limit} used"


def undecided(routes: Sequence[Undecided], escape: Escape) -> Iterator[str]:
    """The routes that keep the default tier, by reason."""
    for kind, (of_one, of_many) in _WHY.items():
        found = sorted((left for left in routes if left.kind == kind), key=_most_seen_first)
        if not found:
            continue
        keeps = "1 route keeps" if len(found) == 1 else f"{len(found):,} routes keep"
        yield ""
        yield from _wrapped(f"{keeps} the default tier: {of_one if len(found) == 1 else of_many}.")
        for left in found[:MAX_LISTED]:
            line = f"{escape(left.method)} {escape(left.endpoint)}: {escape(_seen_of(left))}"
            yield from _wrapped(line, indent=1)
        if more := found[MAX_LISTED:]:
            seen = between((left.requests for left in more), "request")
            each = " each" if len(more) > 1 else ""
            yield f"#   and {len(more):,} more, with {seen}{each}; --json names them all"


def _most_seen_first(left: Undecided) -> tuple[int, int, str, str]:
    return (-left.requests, -left.client_windows, left.endpoint, left.method)


def _seen_of(left: Undecided) -> str:
    if left.kind == "beyond":
        return left.reason
    return f"{counted(left.requests, 'request')} in {counted(left.client_windows, 'client window')}"


def lost(rules: Iterable[LostRule], escape: Escape) -> Iterator[str]:
    """The rules of the present policy that are not carried over, by reason."""
    by_reason: dict[str, list[LostRule]] = {}
    for rule in rules:
        by_reason.setdefault(rule.reason, []).append(rule)
    if not by_reason:
        return
    yield ""
    yield "# These rules of the present policy are not here, or not wholly; carry over what must stay:"
    for reason, found in by_reason.items():
        if len(found) == 1:
            yield f"#   {escape(found[0].match)}: it {escape(reason)}"
            continue
        yield f"#   {len(found):,} rules, each of which {escape(reason)}:"
        yield from (f"#     {escape(rule.match)}" for rule in found)


def _wrapped(text: str, indent: int = 0) -> list[str]:
    first = "# " + "  " * indent
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=f"{first}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
