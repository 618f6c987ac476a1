"""Phrases that several parts of a report share: why not cacheable, how kept fresh, when a cache pays."""

from __future__ import annotations

import re
from typing import Final

from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.cache_advice.result import Advice, ReasonName
from otel_ratelimit.reports.rendering import formatting

WHY_NOT_CACHEABLE: Final[dict[ReasonName, str]] = {
    "writes": "changes data or locks rows",
    "no_read": "is not a read: BEGIN, SET, COPY and the like",
    "volatile": "calls now(), random() or the like",
    "catalogue": "asks PostgreSQL about itself",
    "no_table": "reads no table by name, so that it is unknown when its result changes",
    "failed": "failed",
    "in_transaction": "ran in a transaction that had written or saw an older state",
}
_ZERO_WITH_A_SIGN: Final = re.compile(r"(?<![\w.,])-(?=0(?:\.0+)?(?![\d.,]*\d))")


def sentence(text: str) -> str:
    """Make a whole sentence of a clause of the analysis."""
    whole = _ZERO_WITH_A_SIGN.sub("", formatting.printable(text))
    if not whole:
        return ""
    return whole[0].upper() + whole[1:] + ("" if whole.endswith((".", "?")) else ".")


def how_kept_fresh(advice: Advice, writes: int) -> str:
    """Whether writes must drop cached answers.

    Args:
        advice: for a template.
        writes: to its tables, on that day.
    """
    if advice.invalidate:
        return "writes must drop it"
    return "the TTL is enough" if writes else "nothing it reads was written"


def writes_in_short(advice: Advice, writes: int) -> str:
    """The same for a column with the title *writes*."""
    if advice.invalidate:
        return "must drop it"
    return "may be ignored" if writes else "none seen"


def break_even(report: DailyCacheReport) -> str:
    """The number of executions a day from which a cache pays, where time has a price."""
    executions = report.cost.break_even_executions_a_day
    if executions is not None:
        return f"from {formatting.count(max(executions, 1.0))} executions a day"
    return "never"


def why_never_even(report: DailyCacheReport) -> str:
    """Why there is no break-even; empty where there is one."""
    if report.cost.break_even_executions_a_day is not None:
        return ""
    return "an execution brings no more than its requests to the cache cost"
