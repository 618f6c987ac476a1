"""Makes the reports of days, one process at a time, keeps them, and mails that of the last full day.

Each day is for itself: what was made stays made, whatever happens to the next or to this process. Who comes
later, or again, finds what there is and makes the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
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
from otel_ratelimit.reports.analysed import analysed
from otel_ratelimit.reports.mail import Sent
from otel_ratelimit.reports.mailing import Mailing
from otel_ratelimit.reports.missing_days import missed_days
from otel_ratelimit.reports.recorded import SHORTEST, since_recording_began, why_unknown
from otel_ratelimit.telemetry.reports import ReportTelemetry

_log = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 10.0
STATEMENT_SECONDS: Final = 60.0
FEWER: Final = 0.99
"""A report that rests on fewer of the executions than this share replaces no earlier one."""

MailWhen: TypeAlias = Literal["once", "always", "never"]
"""once: the last full day's, if no mail server has taken it yet."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run did."""

    skipped: bool = False
    """Another process is at it; nothing was done."""
    made: tuple[DailyCacheReport, ...] = ()
    """In the order in which they were made."""
    kept: tuple[date, ...] = ()
    """Days whose earlier report stays, since part of their queries has been deleted."""
    unknown: tuple[str, ...] = ()
    """Why there is no report: no query of the day is known."""
    failed: tuple[tuple[date, Exception], ...] = ()
    """Mostly `DatabaseError`."""
    sent: Sent | None = None
    """What became of the e-mail; None where none was to be sent, or none was taken."""
    mail_error: MailError | None = None
    mailed_before: datetime | None = None
    """When it had been mailed, which is why it was not now."""

    @property
    def is_well(self) -> bool:
        """Whether all was done that was to be done."""
        return not (self.failed or self.mail_error or self.unknown)

    @property
    def may_pass(self) -> bool:
        """Whether what was not done may go well before long: not where a mail server refuses for good."""
        mail_may_pass = self.mail_error is not None and self.mail_error.may_pass
        return self.skipped or bool(self.failed) or mail_may_pass


@dataclass(slots=True)
class _Done:
    made: list[DailyCacheReport] = field(default_factory=list)
    kept: list[date] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    failed: list[tuple[date, Exception]] = field(default_factory=list)


_Days: TypeAlias = Callable[[_Done], tuple[date, ...]]
"""Days to report on; those that cannot be are noted."""


class ReportJob:
    """Everything that a run needs.

    Args:
        url: of the database.
        policy: its `[cache]` and `[report]`.
        mailing: how to mail a report; None for not at all.
        telemetry: told of each run.
        clock: Unix time in seconds.
        tell: told what is being done, a sentence at a time.

    Raises:
        DatabaseError: `url` cannot be understood.
    """

    def __init__(
        self,
        url: str | Secret,
        policy: Policy,
        *,
        mailing: Mailing | None,
        telemetry: ReportTelemetry,
        clock: Clock,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._url = Secret.of(url)
        self._cache = policy.cache
        self._zone = policy.report.zone
        self._mailing = mailing
        self._telemetry = telemetry
        self._clock = clock
        self._tell = tell
        self._database = Database(url, connect_seconds=CONNECT_SECONDS, statement_seconds=STATEMENT_SECONDS)
        self.reports = PostgresCacheReports(self._database)

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def run(self, day: date | None = None, *, mail: MailWhen = "once") -> Outcome:
        """Report on `day`, or on the last full day, anew if it has a report.

        Args:
            day: that has ended in the report's time zone.
            mail: whether its report is mailed; an older day's is with `always` only.

        Raises:
            DatabaseError: the database cannot be used; what went wrong with the day is in the outcome.
            ValueError: `day` has not ended yet.
        """
        wanted, last = self._ended(day)

        def days(done: _Done) -> tuple[date, ...]:
            if self._is_known(wanted, done):
                return (wanted,)
            return ()

        return self._alone(days, wanted if wanted == last or mail == "always" else None, mail)

    def catch_up(self, *, mail: MailWhen = "once") -> Outcome:
        """Report on every full day that has no report yet, the last one first.

        Args:
            mail: whether the last full day's report is mailed.

        Raises:
            DatabaseError: the database cannot be used; what went wrong with a day is in the outcome.
        """

        def days(_done: _Done) -> tuple[date, ...]:
            return missed_days(self._now(), self._zone, self.reports.first_query(), self.reports.reported())

        return self._alone(days, last_full_day(self._now(), self._zone), mail)

    def _alone(self, days: _Days, to_mail: date | None, mail: MailWhen) -> Outcome:
        with self._telemetry.run(), self.reports.alone() as is_alone:
            if not is_alone:
                return Outcome(skipped=True)
            done = _Done()
            for day in days(done):
                self._report_on(day, done)
            outcome = replace(
                self._mailed(to_mail, mail),
                made=tuple(done.made),
                kept=tuple(done.kept),
                unknown=tuple(done.unknown),
                failed=tuple(done.failed),
            )
            self._note(outcome)
            return outcome

    def _report_on(self, day: date, done: _Done) -> None:
        self._tell(f"{day}: reading")
        try:
            with self._telemetry.day(day):
                report = self._concluded(day, local_day(day, self._zone))
                if self._knows_less(report):
                    self._tell(f"{day}: part of its queries has been deleted since; its report stays")
                    done.kept.append(day)
                    return
                self.reports.save(report)
        except DatabaseError as error:
            # The other days are no worse for it.
            done.failed.append((day, error))
            return
        except Exception as error:  # noqa: BLE001 - logged with its trace, and in the outcome
            # Rows that nobody thought of; neither are they. Where it happened, the outcome does not say.
            _log.exception("no report on %s", day)
            done.failed.append((day, error))
            return
        done.made.append(report)
        queries = counted(report.analysis.all_executions, "query", "queries")
        self._tell(f"report of {day} kept; it is of {queries}")

    def _knows_less(self, report: DailyCacheReport) -> bool:
        """Whether there is an earlier report of the same hours that rests on more of the queries."""
        day = report.analysis_date
        known = self.reports.latest(day, day)
        if known is None or known.report.time_zone != report.time_zone:
            return False
        return report.analysis.all_executions < FEWER * known.report.analysis.all_executions

    def of_service(self, service: str, day: date | None = None) -> DailyCacheReport:
        """The report on one service's queries of `day`, or of the last full day; it is kept nowhere.

        Raises:
            DatabaseError: its queries cannot be read.
            ValueError: `day` has not ended yet, no query of it is known, or none of the service ever was.
        """
        wanted, _ = self._ended(day)
        done = _Done()
        if not self._is_known(wanted, done):
            raise ValueError(done.unknown[0])
        return self._concluded(wanted, local_day(wanted, self._zone), service)

    def so_far(self, service: str | None = None) -> DailyCacheReport:
        """The report on today as far as it is, which is kept nowhere.

        Args:
            service: whose queries; None for those of all services.

        Raises:
            DatabaseError: its queries cannot be read.
            ValueError: no query of the service was ever recorded.
        """
        now = self._now()
        today = now.astimezone(self._zone).date()
        start = local_day(today, self._zone).start
        return self._concluded(today, Period(start, max(now, start + SHORTEST)), service)

    def _concluded(self, day: date, period: Period, service: str | None = None) -> DailyCacheReport:
        def tell(what: str) -> None:
            self._tell(f"{day}: {what}")

        recorded = since_recording_began(period, self.reports.recording_began())
        return analysed(
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
        """Whose queries they are; a role that may read queries need not be one that may read requests."""
        reader = PostgresQueryServices(self._database)
        without_service = reader.without_service(period)
        try:
            return QueriesRead(None, tuple(reader.services(period)), without_service)
        except DatabaseError as error:
            self._tell(f"{day}: the services that recorded it cannot be read, and are not named: {error}")
            return QueriesRead(None, (), without_service)

    def _ended(self, day: date | None) -> tuple[date, date]:
        """The day that is meant, and the last that has ended; a `ValueError` for one that has not."""
        last = last_full_day(self._now(), self._zone)
        if day is not None and day > last:
            raise ValueError(f"{day} has not ended yet in {self._zone}; the last full day is {last}")
        return day or last, last

    def _is_known(self, day: date, done: _Done) -> bool:
        unknown = why_unknown(day, self._zone, self.reports.first_query())
        if unknown:
            done.unknown.append(unknown)
        return not unknown

    def _mailed(self, day: date | None, mail: MailWhen) -> Outcome:
        if self._mailing is None or day is None or mail == "never":
            return Outcome()
        stored = self.reports.latest(day, day)
        if stored is None:
            return Outcome()
        if stored.mailed_at is not None and mail == "once":
            return Outcome(mailed_before=stored.mailed_at)
        trend = self.reports.trend(self._mailing.trend_begins(day), day)
        self._tell(f"{day}: mailing the report")
        try:
            with self._telemetry.mail():
                sent = self._mailing.send(stored.report, trend, self._now())
        except MailError as error:
            # The report is kept, and the next run tries again.
            return Outcome(mail_error=error)
        try:
            self.reports.mailed(day)
        except DatabaseError as error:
            _log.warning("the report on %s was mailed, and may be once more: %s", day, error)
        return Outcome(sent=sent)

    def _note(self, outcome: Outcome) -> None:
        last = last_full_day(self._now(), self._zone)
        stored = self.reports.latest(last, last)
        if not outcome.failed:
            self._telemetry.succeeded(self._clock(), stored.report.hit_potential if stored else None)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)
