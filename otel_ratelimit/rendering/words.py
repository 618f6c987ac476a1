"""Yes or no, why, how sure, and what to do about it: a report in plain words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from otel_ratelimit.analysis.cache.cost import LEAST_LOAD_REDUCTION
from otel_ratelimit.analysis.cache.daily import DailyCacheReport
from otel_ratelimit.analysis.cache.result import Advice, ReasonName
from otel_ratelimit.rendering import figures

VALUE_KEYS: Final = ("value_of_saved_millisecond", "value_of_database_second")
"""Keys of `[cache]` in the policy file."""
WHY_NOT: Final[dict[ReasonName, str]] = {
    "writes": "changes data or locks rows",
    "no_read": "is no read: BEGIN, SET, COPY and the like",
    "volatile": "calls now(), random() or the like",
    "catalogue": "asks PostgreSQL about itself",
    "no_table": "reads no table by name, so that nobody could tell when its answer changes",
    "failed": "failed",
    "in_transaction": "ran in a transaction that had written or saw an older state",
}
_ZERO_WITH_A_SIGN: Final = re.compile(r"(?<![\w.,])-(?=0(?:\.0+)?(?![\d.,]*\d))")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a cache would pay, in words."""

    pays: bool
    word: str
    """`Yes` or `No`."""
    headline: str
    why: str
    sure: str
    """One word or two: `certain`, `likely`, `open`."""
    how_sure: str
    to_do: str
    """What would make the answer a better one; empty where nothing would."""


def verdict(report: DailyCacheReport) -> Verdict:
    """Of a report."""
    pays = report.worthwhile
    return Verdict(
        pays=pays,
        word="Yes" if pays else "No",
        headline=_headline(report),
        why=sentence(report.reason),
        sure=report.cost.certainty,
        how_sure=_how_sure(report),
        to_do=_to_do(report),
    )


def sentence(text: str) -> str:
    """What the analysis says as a part of one."""
    whole = _ZERO_WITH_A_SIGN.sub("", figures.printable(text))
    if not whole:
        return ""
    return whole[0].upper() + whole[1:] + ("" if whole.endswith((".", "?")) else ".")


def how_kept_fresh(advice: Advice, writes: int) -> str:
    """Whether writes must drop what is cached.

    Args:
        advice: for a template.
        writes: to its tables, on that day.
    """
    if advice.invalidate:
        return "writes must drop it"
    return "the TTL alone will do" if writes else "nothing it reads was written"


def break_even(report: DailyCacheReport) -> str:
    """From how many executions a day on a cache pays."""
    executions = report.cost.break_even_executions_a_day
    if executions is not None:
        return f"from {figures.count(max(executions, 1.0))} executions a day"
    return "never" if has_value(report) else figures.UNKNOWN


def why_never_even(report: DailyCacheReport) -> str:
    """What there is to say about a break-even that is no number; empty where it is one."""
    if report.cost.break_even_executions_a_day is not None:
        return ""
    if has_value(report):
        return "an execution brings no more than its requests to the cache cost"
    return "no value of saved time is set"


def has_value(report: DailyCacheReport) -> bool:
    """Whether time has a price."""
    return report.supposed.value_of_saved_ms > 0.0 or report.supposed.value_of_database_second > 0.0


def _headline(report: DailyCacheReport) -> str:
    analysis = report.analysis
    if report.worthwhile:
        return "A cache would pay" + (", by rule of thumb." if report.cost.certainty == "open" else ".")
    if not analysis.all_executions:
        return "There was nothing to cache."
    if analysis.plan is None:
        return "Nothing is worth caching."
    return "A cache would not pay" + (", by rule of thumb." if report.cost.certainty == "open" else ".")


def _how_sure(report: DailyCacheReport) -> str:
    certainty = report.cost.certainty
    if report.analysis.plan is None:
        if certainty == "certain":
            return "Certain: there was nothing to weigh."
        return "Likely: it is estimated from what was kept of that day."
    if certainty == "certain":
        return "Certain: both ends of the hit ratio's interval say the same."
    if certainty == "likely":
        return "Likely: the middle of the hit ratio's interval says so, but not both of its ends."
    return (
        "Open: no value of saved time is set. By rule of thumb a cache pays if it saves time and takes at"
        f" least {LEAST_LOAD_REDUCTION:.0%} of the load off the database.".replace("%", " %")
    )


def _to_do(report: DailyCacheReport) -> str:
    if report.analysis.plan is None or report.cost.certainty != "open":
        return ""
    return f"For an answer in money, set {VALUE_KEYS[0]} or {VALUE_KEYS[1]} under [cache] in the policy file."
