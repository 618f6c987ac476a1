"""Makes the reports of days, one process at a time, saves them, and mails the one of the last full day.

Days are independent: a saved report stays saved, whatever happens to the next day or to this process. A later
run finds what exists and makes the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Final, Literal, TypeAlias

from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.cache_advice.number_format import counted
from otel_ratelimit.core.clock import Clock
from otel_ratelimit.core.days import last_full_day, local_day
from otel_ratelimit.core.errors import DatabaseError, MailError
from otel_ratelimit.core.periods import Period
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.core.services import QueriesRead, queries_read
from otel_ratelimit.policy import Policy
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.cache_reports import PostgresCacheReports
from otel_ratelimit.postgres.query_services import PostgresQueryServices
from otel_ratelimit.reports.build_report import build_report
from otel_ratelimit.reports.job_result import DayResults, JobResult
from otel_ratelimit.reports.mailer import ReportMailer
from otel_ratelimit.reports.missing_days import missing_days
from otel_ratelimit.reports.recorded_period import MIN_LENGTH, since_recording_began, why_unknown
from otel_ratelimit.telemetry.reports import ReportTelemetry

_logger = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 10.0
STATEMENT_SECONDS: Final = 60.0
MIN_SHARE_TO_REPLACE: Final = 0.99
"""A report never replaces an earlier one if it covers less than this share of its executions."""

MailWhen: TypeAlias = Literal["once", "always", "never"]
"""once: the last full day's report, unless a mail server has already accepted it."""
_Days: TypeAlias = Callable[[DayResults], tuple[date, ...]]
"""The days to report on; days without a possible report are noted in the results."""


class ReportJob:
    """Makes, saves and mails reports.

    Args:
        url: of the database.
        policy: its `[cache]` and `[report]` are used.
        mailer: mails a report; None to mail nothing.
        telemetry: records each run.
        clock: Unix time in seconds.
        tell: called with sentences about the progress.

    Raises:
        DatabaseError: `url` is not a valid database URL.
    """

    def __init__(
        self,
        url: str | Secret,
        policy: Policy,
        *,
        mailer: ReportMailer | None,
        telemetry: ReportTelemetry,
        clock: Clock,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._url = Secret.of(url)
        self._cache = policy.cache
        self._zone = policy.report.zone
        self._mailer = mailer
        self._telemetry = telemetry
        self._clock = clock
        self._tell = tell
        self._database = Database(url, connect_seconds=CONNECT_SECONDS, statement_seconds=STATEMENT_SECONDS)
        self.reports = PostgresCacheReports(self._database)

    def close(self) -> None:
        """Close the connections to the database."""
        self._database.close()

    def run(self, day: date | None = None, *, mail: MailWhen = "once") -> JobResult:
        """Report on `day`, or on the last full day; a report that exists is made again.

        Args:
            day: a day that has ended in the report's time zone.
            mail: whether its report is mailed; an older day's report is mailed with `always` only.

        Raises:
            DatabaseError: the database cannot be used; errors of the day itself are in the result.
            ValueError: `day` has not ended yet.
        """
        wanted, last = self._ended(day)

        def days(done: DayResults) -> tuple[date, ...]:
            if self._is_known(wanted, done):
                return (wanted,)
            return ()

        to_mail = wanted if wanted == last or mail == "always" else None
        return self._run_exclusively(days, last, to_mail, mail)

    def catch_up(self, *, mail: MailWhen = "once") -> JobResult:
        """Report on every full day that has no report yet, the last one first.

        A day that ends meanwhile belongs to the next run.

        Args:
            mail: whether the last full day's report is mailed.

        Raises:
            DatabaseError: the database cannot be used; errors of single days are in the result.
        """
        now = self._now()
        last = last_full_day(now, self._zone)

        def days(_done: DayResults) -> tuple[date, ...]:
            return missing_days(now, self._zone, self.reports.first_query(), self.reports.reported())

        return self._run_exclusively(days, last, last, mail)

    def _run_exclusively(self, days: _Days, last: date, to_mail: date | None, mail: MailWhen) -> JobResult:
        with self._telemetry.run(), self.reports.exclusive() as is_exclusive:
            if not is_exclusive:
                return JobResult(skipped=True)
            done = DayResults()
            for day in days(done):
                self._report_on(day, done)
            result = done.with_mail(self._mailed(to_mail, mail))
            self._note(result, last)
            return result

    def _report_on(self, day: date, done: DayResults) -> None:
        self._tell(f"{day}: reading queries")
        try:
            with self._telemetry.day(day):
                report = self._concluded(day, local_day(day, self._zone))
                if self._knows_less(report):
                    self._tell(f"{day}: some of its queries have been deleted since; its report is kept")
                    done.kept.append(day)
                    return
                self.reports.save(report)
        except DatabaseError as error:
            # The other days go on.
            done.failed.append((day, error))
            return
        except Exception as error:
            # An unexpected row, for instance; the other days go on. The result has no traceback, the log has.
            _logger.exception("no report was made for %s", day)
            done.failed.append((day, error))
            return
        done.made.append(report)
        queries = counted(report.analysis.all_executions, "query", "queries")
        self._tell(f"report of {day} saved; it covers {queries}")

    def _knows_less(self, report: DailyCacheReport) -> bool:
        """Whether there is an earlier report of the same hours that covers more of the queries."""
        day = report.analysis_date
        known = self.reports.latest(day, day)
        if known is None or known.report.time_zone != report.time_zone:
            return False
        return report.analysis.all_executions < MIN_SHARE_TO_REPLACE * known.report.analysis.all_executions

    def of_service(self, service: str, day: date | None = None) -> DailyCacheReport:
        """The report on one service's queries of `day`, or of the last full day; it is not saved.

        Raises:
            DatabaseError: its queries cannot be read.
            ValueError: `day` has not ended yet, or no query is recorded for it or for the service.
        """
        wanted, _ = self._ended(day)
        done = DayResults()
        if not self._is_known(wanted, done):
            raise ValueError(done.unknown[0])
        return self._concluded(wanted, local_day(wanted, self._zone), service)

    def so_far(self, service: str | None = None) -> DailyCacheReport:
        """The report on today so far; it is not saved.

        Args:
            service: whose queries; None for those of all services.

        Raises:
            DatabaseError: its queries cannot be read.
            ValueError: no query of the service was ever recorded.
        """
        now = self._now()
        today = now.astimezone(self._zone).date()
        start = local_day(today, self._zone).start
        return self._concluded(today, Period(start, max(now, start + MIN_LENGTH)), service)

    def _concluded(self, day: date, period: Period, service: str | None = None) -> DailyCacheReport:
        def tell(what: str) -> None:
            self._tell(f"{day}: {what}")

        recorded = since_recording_began(period, self.reports.recording_began())
        return build_report(
            self._url,
            recorded,
            day=day,
            zone=self._zone,
            cache=self._cache,
            whose=self._of_all(day, recorded) if service is None else self._of_one(recorded, service),
            tell=tell,
        )

    def _of_one(self, period: Period, service: str) -> QueriesRead:
        return queries_read(PostgresQueryServices(self._database), period, service)

    def _of_all(self, day: date, period: Period) -> QueriesRead:
        """The services of all queries; a role that may read queries may still not read requests."""
        reader = PostgresQueryServices(self._database)
        without_service = reader.without_service(period)
        try:
            return QueriesRead(None, tuple(reader.services(period)), without_service)
        except DatabaseError as error:
            self._tell(f"{day}: its services cannot be read, so the report does not name them: {error}")
            return QueriesRead(None, (), without_service)

    def _ended(self, day: date | None) -> tuple[date, date]:
        """The wanted day and the last full day; raises `ValueError` for a day that has not ended."""
        last = last_full_day(self._now(), self._zone)
        if day is not None and day > last:
            raise ValueError(f"{day} has not ended yet in {self._zone}; the last full day is {last}")
        return day or last, last

    def _is_known(self, day: date, done: DayResults) -> bool:
        unknown = why_unknown(day, self._zone, self.reports.first_query())
        if unknown:
            done.unknown.append(unknown)
        return not unknown

    def _mailed(self, day: date | None, mail: MailWhen) -> JobResult:
        if self._mailer is None or day is None or mail == "never":
            return JobResult()
        stored = self.reports.latest(day, day)
        if stored is None:
            return JobResult()
        if stored.mailed_at is not None and mail == "once":
            return JobResult(mailed_before=stored.mailed_at)
        trend = self.reports.trend(self._mailer.trend_begins(day), day)
        self._tell(f"{day}: mailing the report")
        try:
            with self._telemetry.mail():
                sent = self._mailer.send(stored.report, trend, self._now())
        except MailError as error:
            # The report is saved, and the next run tries again.
            return JobResult(mail_error=error)
        try:
            self.reports.mailed(day)
        except DatabaseError as error:
            _logger.warning(
                "the report of %s was mailed, but that could not be noted, so it may be mailed again: %s",
                day,
                error,
            )
        return JobResult(sent=sent)

    def _note(self, result: JobResult, last: date) -> None:
        stored = self.reports.latest(last, last)
        if not result.failed:
            self._telemetry.succeeded(self._clock(), stored.report.hit_potential if stored else None)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)
