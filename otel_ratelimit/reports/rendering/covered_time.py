"""The time that the sums of a report cover: a day, today so far, or a day since recording began."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from otel_ratelimit.cache_advice import daily_report
from otel_ratelimit.reports.rendering import formatting


@dataclass(frozen=True, slots=True)
class CoveredTime:
    """The time that every sum covers, except those that are called a month's."""

    kind: daily_report.Scale
    span: str
    """`24 h`, `10 min`."""
    began: datetime | None = None
    """When recording began, if that was on this day."""

    @property
    def is_day(self) -> bool:
        """Whether the sums cover a whole day."""
        return self.kind == "day"

    @property
    def per(self) -> str:
        """The words after a sum: `28 ms a day`, `28 ms so far`."""
        return {"day": "a day", "so_far": "so far", "part": "in that time"}[self.kind]

    @property
    def then(self) -> str:
        """The words that say when something happened."""
        return {"day": "on that day", "so_far": "so far", "part": "in that time"}[self.kind]

    @property
    def of_then(self) -> str:
        """The words that say which queries are meant."""
        return {"day": "of that day", "so_far": "so far", "part": "of that time"}[self.kind]

    @property
    def of_day(self) -> str:
        """The words that say how much of the day: `, so far: 10 min of it`; empty for a whole day."""
        if self.is_day:
            return ""
        so_far = ", so far" if self.kind == "so_far" else ""
        since = f", since recording began at {self.began:%H:%M}" if self.began is not None else ""
        return f"{so_far}: {self.span} of it{since}"

    @property
    def statement(self) -> str:
        """A sentence about the covered time, shown once; empty for a whole day."""
        if self.is_day:
            return ""
        start = "So far" if self.began is None else f"Recording began at {self.began:%H:%M}"
        return f"{start}: all sums cover {self.span} and not a day; money is for a month at that rate."

    @property
    def every_day(self) -> str:
        """The assumption of the monthly amounts about every day."""
        if self.is_day:
            return "is like this one"
        return (
            f"goes on like the {self.span} {'so far' if self.kind == 'so_far' else 'since recording began'}"
        )


def covered_time(report: daily_report.DailyCacheReport) -> CoveredTime:
    """The time that the sums of `report` cover."""
    analysis = report.analysis
    seconds = (analysis.period_end - analysis.period_start).total_seconds()
    return CoveredTime(report.scale, formatting.span(seconds), report.recording_began)
