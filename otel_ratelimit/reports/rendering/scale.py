"""The time that a report's sums are of, in words: a day, today so far, or a day since recording began."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from otel_ratelimit.cache_advice import daily_report
from otel_ratelimit.reports.rendering import figures


@dataclass(frozen=True, slots=True)
class Scale:
    """Every sum that is shown is of this time, but for what is called a month's."""

    kind: daily_report.Scale
    span: str
    """`24 h`, `10 min`."""
    began: datetime | None = None
    """When recording began, where that was on this day."""

    @property
    def is_day(self) -> bool:
        """Whether sums are of a whole day."""
        return self.kind == "day"

    @property
    def per(self) -> str:
        """Behind a sum: `28 ms a day`, `28 ms so far`."""
        return {"day": "a day", "so_far": "so far", "part": "in that time"}[self.kind]

    @property
    def then(self) -> str:
        """When it was."""
        return {"day": "on that day", "so_far": "so far", "part": "in that time"}[self.kind]

    @property
    def of_then(self) -> str:
        """Which queries."""
        return {"day": "of that day", "so_far": "so far", "part": "of that time"}[self.kind]

    @property
    def of_day(self) -> str:
        """Behind the day, how much of it: `, so far: 10 min of it`; empty of all of it."""
        if self.is_day:
            return ""
        so_far = ", so far" if self.kind == "so_far" else ""
        since = f", since recording began at {self.began:%H:%M}" if self.began is not None else ""
        return f"{so_far}: {self.span} of it{since}"

    @property
    def stated(self) -> str:
        """What has to be said of it once; empty of a day."""
        if self.is_day:
            return ""
        start = "So far" if self.began is None else f"Recording began at {self.began:%H:%M}"
        return (
            f"{start}: all sums are of {self.span} and not of a day; money is of a month that goes on like"
            " them."
        )

    @property
    def like_these(self) -> str:
        """What every day is supposed to be like."""
        if self.is_day:
            return "is like this one"
        return (
            f"goes on like the {self.span} {'so far' if self.kind == 'so_far' else 'since recording began'}"
        )


def scale_of(report: daily_report.DailyCacheReport) -> Scale:
    """Of a report."""
    analysis = report.analysis
    seconds = (analysis.period_end - analysis.period_start).total_seconds()
    return Scale(report.scale, figures.span(seconds), report.recording_began)
