"""The verdict of a report: yes or no, why, how sure, and what would give a better answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otel_ratelimit.cache_advice.cost_benefit import MIN_LOAD, MIN_LOAD_REDUCTION
from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.reports.rendering.covered_time import covered_time
from otel_ratelimit.reports.rendering.phrases import sentence

VALUE_KEYS: Final = ("value_of_saved_millisecond", "value_of_database_second")
"""Keys of `[cache]` in the policy file."""
_BY_RULE: Final = "by rule of thumb"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a cache would pay, in words."""

    pays: bool
    word: str
    """`Yes` or `No`."""
    limits: str
    """A restriction shown beside the word; empty where there is none."""
    headline: str
    why: str
    how_sure: str
    covered: str
    """The time that the figures cover; empty where it is a whole day."""
    to_do: str
    """How to get a better answer; empty where there is no better one."""

    @property
    def answer(self) -> str:
        """The word with its limits."""
        return f"{self.word}, {self.limits}." if self.limits else f"{self.word}."


def verdict_of(report: DailyCacheReport) -> Verdict:
    """The verdict of `report`."""
    pays = report.worthwhile
    return Verdict(
        pays=pays,
        word="Yes" if pays else "No",
        limits=_BY_RULE if _is_by_rule(report) else "",
        headline=_headline(report),
        why=sentence(report.reason),
        how_sure=_how_sure(report),
        covered=covered_time(report).statement,
        to_do=_to_do(report),
    )


def how_sure_in_short(report: DailyCacheReport) -> str:
    """`certain`, `likely`, or the rule that decided."""
    if _is_by_rule(report):
        return _BY_RULE
    if _is_certain_for_that_day(report):
        return "certain for that day"
    return report.cost.certainty


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
    covered = covered_time(report)
    if not _is_certain_for_that_day(report):
        if report.cost.certainty == "certain":
            return "Certain: there was nothing to weigh."
        return f"Likely: it is estimated from the queries kept {covered.of_then}."
    if covered.is_day:
        return "Certain for that day: all of its queries were kept. Other days may differ."
    return f"Certain for these {covered.span}: all of their queries were kept. The rest may differ."


def _to_do(report: DailyCacheReport) -> str:
    if not _is_by_rule(report):
        return ""
    return f"For an answer in money, set {VALUE_KEYS[0]} or {VALUE_KEYS[1]} under [cache] in the policy file."
