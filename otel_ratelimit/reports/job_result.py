"""The result of one run of the report job."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime

from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.core.errors import MailError
from otel_ratelimit.reports.mail import Sent


@dataclass(frozen=True, slots=True)
class JobResult:
    """The result of one run."""

    skipped: bool = False
    """Another process is making reports; nothing was done."""
    made: tuple[DailyCacheReport, ...] = ()
    """In the order in which they were made."""
    kept: tuple[date, ...] = ()
    """Days whose earlier report was kept, because some of their queries have been deleted."""
    unknown: tuple[str, ...] = ()
    """Why there is no report: no query is recorded for the day."""
    failed: tuple[tuple[date, Exception], ...] = ()
    """Mostly `DatabaseError`."""
    sent: Sent | None = None
    """The result of the e-mail; None if none was due, or if the server accepted no recipient."""
    mail_error: MailError | None = None
    mailed_before: datetime | None = None
    """When it was mailed before, if that is why it was not mailed now."""

    @property
    def is_well(self) -> bool:
        """Whether everything that was due was done."""
        return not (self.failed or self.mail_error or self.unknown)

    @property
    def may_pass(self) -> bool:
        """Whether a later attempt may succeed; not if a mail server rejected the message for good."""
        mail_may_pass = self.mail_error is not None and self.mail_error.may_pass
        return self.skipped or bool(self.failed) or mail_may_pass


@dataclass(slots=True)
class DayResults:
    """The results of the days of a run, collected while it lasts; see `JobResult`."""

    made: list[DailyCacheReport] = field(default_factory=list)
    kept: list[date] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    failed: list[tuple[date, Exception]] = field(default_factory=list)

    def with_mail(self, mail: JobResult) -> JobResult:
        """The result of the run.

        Args:
            mail: the result of mailing alone.
        """
        return replace(
            mail,
            made=tuple(self.made),
            kept=tuple(self.kept),
            unknown=tuple(self.unknown),
            failed=tuple(self.failed),
        )
