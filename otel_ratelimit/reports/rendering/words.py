"""Yes or no, why, how sure, and what to do about it: a report in plain words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from otel_ratelimit.cache_advice.cost_benefit import MIN_LOAD, MIN_LOAD_REDUCTION
from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.cache_advice.result import Advice, ReasonName
from otel_ratelimit.reports.rendering import figures
from otel_ratelimit.reports.rendering.scale import scale_of

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


_BY_RULE: Final = "by rule of thumb"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a cache would pay, in words."""

    pays: bool
    word: str
    """`Yes` or `No`."""
    limits: str
    """What stands beside the word; empty where it stands for itself."""
    headline: str
    why: str
    how_sure: str
    scale: str
    """Of what time the figures are; empty where it is a day."""
    to_do: str
    """What would make the answer a better one; empty where nothing would."""

    @property
    def answer(self) -> str:
        """The word with its limits."""
        return f"{self.word}, {self.limits}." if self.limits else f"{self.word}."


def verdict(report: DailyCacheReport) -> Verdict:
    """Of a report."""
    pays = report.worthwhile
    return Verdict(
        pays=pays,
        word="Yes" if pays else "No",
        limits=_BY_RULE if _is_by_rule(report) else "",
        headline=_headline(report),
        why=sentence(report.reason),
        how_sure=_how_sure(report),
        scale=scale_of(report).stated,
        to_do=_to_do(report),
    )


def how_sure_in_short(report: DailyCacheReport) -> str:
    """`certain`, `likely` or what it rests on."""
    if _is_by_rule(report):
        return _BY_RULE
    if _is_certain_for_that_day(report):
        return "certain for that day"
    return report.cost.certainty


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


def writes_in_short(advice: Advice, writes: int) -> str:
    """The same for a column that is called *writes*."""
    if advice.invalidate:
        return "must drop it"
    return "may be ignored" if writes else "none seen"


def break_even(report: DailyCacheReport) -> str:
    """From how many executions a day on a cache pays, where time has a price."""
    executions = report.cost.break_even_executions_a_day
    if executions is not None:
        return f"from {figures.count(max(executions, 1.0))} executions a day"
    return "never"


def why_never_even(report: DailyCacheReport) -> str:
    """What there is to say about a break-even that is no number; empty where it is one."""
    if report.cost.break_even_executions_a_day is not None:
        return ""
    return "an execution brings no more than its requests to the cache cost"


def _headline(report: DailyCacheReport) -> str:
    analysis = report.analysis
    if report.worthwhile:
        return "A cache would pay."
    if not analysis.all_executions:
        return "There was nothing to cache."
    if analysis.plan is None:
        return "Nothing is worth caching."
    return "A cache would not pay."


def _is_by_rule(report: DailyCacheReport) -> bool:
    return report.analysis.plan is not None and report.cost.certainty == "open"


def _is_certain_for_that_day(report: DailyCacheReport) -> bool:
    """Whether nothing is worth caching, and that is no estimate."""
    analysis = report.analysis
    return analysis.plan is None and analysis.is_all_known and analysis.executions > 0.0


def _how_sure(report: DailyCacheReport) -> str:
    certainty = report.cost.certainty
    if report.analysis.plan is None:
        return _how_sure_of_nothing(report)
    if certainty == "certain":
        return "Certain: both ends of the hit ratio's interval say the same."
    if certainty == "likely":
        return "Likely: the middle of the hit ratio's interval says so, but not both of its ends."
    return (
        "By that rule a cache pays if it saves time and takes at least"
        f" {MIN_LOAD_REDUCTION:.0%} of the load off a database that is busy with queries for at least"
        f" {MIN_LOAD:.0%} of the time.".replace("%", " %")
    )


def _how_sure_of_nothing(report: DailyCacheReport) -> str:
    scale = scale_of(report)
    if not _is_certain_for_that_day(report):
        if report.cost.certainty == "certain":
            return "Certain: there was nothing to weigh."
        return f"Likely: it is estimated from what was kept {scale.of_then}."
    if scale.is_day:
        return "Certain for that day: all of its queries were kept. Other days may differ."
    return f"Certain for these {scale.span}: all of their queries were kept. The rest may differ."


def _to_do(report: DailyCacheReport) -> str:
    if not _is_by_rule(report):
        return ""
    return f"For an answer in money, set {VALUE_KEYS[0]} or {VALUE_KEYS[1]} under [cache] in the policy file."
