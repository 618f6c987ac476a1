"""Recommended limits: what another limit would have refused, and the lowest limit that refuses few enough.

For limits below the present one, the histograms of `rate_limit_usage` give the answer. With a fixed window
and requests that cost one unit, a client passes every count from 1 to its demand once in each window. So a
limit of L would have refused exactly the requests that found more than L used, and it would have refused
something to exactly the clients that were the first to get beyond L. The histogram has a bin for each percent
of the limit. Up to 100 units that is exact to the unit; for more units it is exact if L is the last count of
its percent, as it is for all candidates. Otherwise the other counts of that percent are taken as refused.

For limits above the present one, the violations give the answer: a client that was refused r requests in a
window would have been refused r - d requests by a limit that is higher by d. The windows here are those of
the clock. A client's own window can overlap two of them; then a higher limit looks a little better than it
is. Refusals of clients that are summed up as `<other>` count as refused by any limit.

Each request belongs to a client and a window, even if that window began before the period and so has no first
arrival in it. Any request, or refusal, is therefore evidence of at least one client window.

For moving and sliding windows, and for requests that cost more than one unit, the result is an estimate that
errs towards more refusals, because a request that a lower limit refuses would not have counted for later
ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from otel_ratelimit.analytics.reader import Excess, LimitUse
from otel_ratelimit.analytics.records import REFUSED_PERCENT
from otel_ratelimit.core.sentences import counted, part_of, per_window, percent

By: TypeAlias = Literal["clients", "requests"]

MAX_REJECTED_SHARE: Final = 0.01
ENOUGH_REQUESTS: Final = 100
ENOUGH_CLIENT_WINDOWS: Final = 20
EVIDENCE_NEEDED: Final = (
    f"{counted(ENOUGH_REQUESTS, 'request')} in {counted(ENOUGH_CLIENT_WINDOWS, 'client window')}"
)
"""The evidence that a suggestion needs at least."""
_SHOWN_PERCENTS: Final = (10, 25, 50, 75, 100)
_FACTORS: Final = (1.25, 1.5, 2, 3, 5, 10)
_EXACT_UP_TO: Final = 100
"""Units; the histogram has as many bins."""

_Key = tuple[str, str, str, str, int, int]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A limit that is tried, and what it would have refused."""

    limit_value: int
    limit_text: str
    rejected_requests: int
    rejected_requests_share: float
    rejected_clients: int
    """Client windows in which it would have refused at least one request."""
    rejected_clients_share: float


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The recommended limit of one endpoint, in place of its present limit."""

    endpoint: str
    method: str
    tier: str
    limit_text: str
    """The present limit."""
    limit_value: int
    limit_seconds: int
    requests: int
    """Evidence: requests that were measured against the present limit."""
    client_windows: int
    """Evidence: clients, counted once in each window of the limit."""
    candidates: tuple[Candidate, ...]
    """Some of the limits tried, the lowest first; always with the present limit and the recommended one."""
    recommended: Candidate | None
    """The lowest limit that refuses at most the chosen share; None if even the highest refuses more."""
    enough_evidence: bool
    reason: str


def recommend_limits(
    uses: Iterable[LimitUse],
    excess: Iterable[Excess] = (),
    max_rejected_share: float = MAX_REJECTED_SHARE,
    by: By = "clients",
) -> list[Recommendation]:
    """A recommendation for each endpoint and limit with any requests, sorted by endpoint and window.

    Args:
        uses: how far each limit was used.
        excess: how far clients went beyond each limit.
        max_rejected_share: share that the recommended limit may refuse, 0 to 1.
        by: share of client windows, which a single abusive client hardly changes, or share of requests.

    Raises:
        ValueError: `max_rejected_share` is not between 0 and 1.
    """
    if not 0.0 <= max_rejected_share <= 1.0:
        raise ValueError(
            f"max_rejected_share is {max_rejected_share}; give a share between 0 and 1, such as 0.01"
        )
    beyond: dict[_Key, list[Excess]] = {}
    for found in excess:
        beyond.setdefault(_key(found), []).append(found)
    evidence = [_Evidence(use, beyond.get(_key(use), [])) for use in uses if use.requests]
    recommendations = [_recommend(each, max_rejected_share, by) for each in evidence]
    return sorted(recommendations, key=lambda r: (r.endpoint, r.method, r.limit_seconds))


class _Evidence:
    """Requests, clients and refusals of one limit of one endpoint."""

    def __init__(self, use: LimitUse, excess: list[Excess]) -> None:
        self.use = use
        self._excess = excess
        refused = use.requests.get(REFUSED_PERCENT, 0)
        told_apart = sum(found.refused * found.client_windows for found in excess)
        # At the ends of a period there can be violations whose minute of use is outside of it.
        self.requests = sum(use.requests.values()) + max(0, told_apart - refused)
        self._unknown = max(0, refused - told_apart)
        exceeding = sum(found.client_windows for found in excess)
        self._unknown_clients = 0
        if self._unknown:
            # A refused client had reached the last count before; that may have been before the period.
            furthest = max((reached for reached in use.requests if reached < REFUSED_PERCENT), default=0)
            arrived = use.clients.get(furthest, 0)
            self._unknown_clients = max(1, min(self._unknown, arrived - exceeding))
        self.client_windows = max(1, *use.clients.values(), exceeding + self._unknown_clients)

    def candidate(self, amount: int) -> Candidate:
        """A limit of `amount`, with what it would have refused."""
        if amount < self.use.limit_value:
            requests, clients = self._below(amount)
        else:
            requests, clients = self._above(amount - self.use.limit_value)
        clients = max(clients, min(requests, 1))
        return Candidate(
            limit_value=amount,
            limit_text=_text(amount, self.use.limit_text),
            rejected_requests=requests,
            rejected_requests_share=requests / self.requests,
            rejected_clients=clients,
            rejected_clients_share=clients / self.client_windows,
        )

    def _below(self, amount: int) -> tuple[int, int]:
        refused_from = -(-100 * (amount + 1) // self.use.limit_value)
        beyond, exceeding = self._above(0)
        requests = sum(
            n for reached, n in self.use.requests.items() if refused_from <= reached < REFUSED_PERCENT
        )
        clients = max((n for reached, n in self.use.clients.items() if reached >= refused_from), default=0)
        return requests + beyond, max(clients, exceeding)

    def _above(self, more: int) -> tuple[int, int]:
        exceeding = [found for found in self._excess if found.refused > more]
        requests = sum((found.refused - more) * found.client_windows for found in exceeding)
        clients = sum(found.client_windows for found in exceeding)
        return requests + self._unknown, clients + self._unknown_clients


def _recommend(evidence: _Evidence, share: float, by: By) -> Recommendation:
    use = evidence.use
    value = use.limit_value
    amounts = sorted(
        {max(1, value * percent // 100) for percent in range(1, 101)}
        | (set(range(1, value + 1)) if value <= _EXACT_UP_TO else set())
        | {int(value * factor) for factor in _FACTORS}
    )
    candidates = {amount: evidence.candidate(amount) for amount in amounts}
    recommended = next((c for c in candidates.values() if _share(c, by) <= share), None)
    shown = {max(1, value * percent // 100) for percent in _SHOWN_PERCENTS}
    shown |= {int(value * factor) for factor in _FACTORS}
    if recommended is not None:
        shown.add(recommended.limit_value)
    enough = evidence.requests >= ENOUGH_REQUESTS and evidence.client_windows >= ENOUGH_CLIENT_WINDOWS
    return Recommendation(
        endpoint=use.endpoint,
        method=use.method,
        tier=use.tier,
        limit_text=use.limit_text,
        limit_value=value,
        limit_seconds=use.limit_seconds,
        requests=evidence.requests,
        client_windows=evidence.client_windows,
        candidates=tuple(candidates[amount] for amount in sorted(shown)),
        recommended=recommended,
        enough_evidence=enough,
        reason=_reason(evidence, recommended, share, by, enough=enough),
    )


def _share(candidate: Candidate, by: By) -> float:
    return candidate.rejected_clients_share if by == "clients" else candidate.rejected_requests_share


def _reason(evidence: _Evidence, recommended: Candidate | None, share: float, by: By, *, enough: bool) -> str:
    if recommended is None:
        highest = int(evidence.use.limit_value * _FACTORS[-1])
        allowed = "any" if share == 0.0 else f"more than {percent(share)}"
        of = "client windows" if by == "clients" else "requests"
        found = (
            f"even {_limit(evidence, highest)}, {_FACTORS[-1]} times the present limit, would have refused"
            f" {_refused(evidence, evidence.candidate(highest))}, which is {allowed} of the {of}"
        )
    else:
        refused = _refused(evidence, recommended)
        found = f"{_limit(evidence, recommended.limit_value)} would have refused {refused}"
    return found if enough else f"{found}; too little to rely on: that takes {EVIDENCE_NEEDED}"


def _refused(evidence: _Evidence, candidate: Candidate) -> str:
    requests, windows = evidence.requests, evidence.client_windows
    if not candidate.rejected_requests:
        return f"none of {counted(requests, 'request')} in {counted(windows, 'client window')}"
    return (
        f"{part_of(candidate.rejected_requests, requests, 'request')}"
        f" in {part_of(candidate.rejected_clients, windows, 'client window')}"
    )


def _limit(evidence: _Evidence, amount: int) -> str:
    return per_window(amount, evidence.use.limit_seconds)


def _text(amount: int, like: str) -> str:
    return f"{amount} {like.partition(' ')[2]}"


def _key(row: LimitUse | Excess) -> _Key:
    return (row.endpoint, row.method, row.tier, row.limit_text, row.limit_value, row.limit_seconds)


def rounded_up(amount: int) -> int:
    """`amount` rounded up to a number that people write: 1, 2, 5, 10, 20, 50, 100 and so on."""
    power = int("1" + "0" * (len(str(amount)) - 1))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= amount)
