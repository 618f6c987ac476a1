"""The time that a report's sums are of, in words: a day, or today as far as it is."""

from __future__ import annotations

from dataclasses import dataclass

from otel_ratelimit.analysis.cache.daily import DailyCacheReport
from otel_ratelimit.rendering import figures


@dataclass(frozen=True, slots=True)
class Scale:
    """Every sum that is shown is of this time, but for what is called a month's."""

    is_day: bool
    span: str
    """`24 h`, `10 min`."""

    @property
    def per(self) -> str:
        """Behind a sum: `28 ms a day`, `28 ms so far`."""
        return "a day" if self.is_day else "so far"

    @property
    def then(self) -> str:
        """When it was."""
        return "on that day" if self.is_day else "so far"

    @property
    def of_then(self) -> str:
        """Which queries."""
        return "of that day" if self.is_day else "so far"

    @property
    def stated(self) -> str:
        """What has to be said of it once; empty of a day."""
        if self.is_day:
            return ""
        return (
            f"So far: all sums are of {self.span} and not of a day; money is of a month that goes on like"
            " them."
        )


def scale_of(report: DailyCacheReport) -> Scale:
    """Of a report."""
    analysis = report.analysis
    seconds = (analysis.period_end - analysis.period_start).total_seconds()
    return Scale(report.scale == "day", figures.span(seconds))
