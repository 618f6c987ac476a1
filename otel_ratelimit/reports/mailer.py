"""Mails the report of a day to the recipients that the policy names."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from email.message import EmailMessage
from typing import Final

from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.cache_advice.stored_reports import DayInBrief
from otel_ratelimit.core.services import named
from otel_ratelimit.policy import Report
from otel_ratelimit.reports.mail import Sent, SmtpServer, message, send, sender
from otel_ratelimit.reports.rendering.mail_subject_and_body import mail_html, mail_text, subject

TREND: Final = timedelta(days=13)
"""Two weeks, the day of the report included."""


class ReportMailer:
    """Mails reports to the recipients of one policy.

    Args:
        server: the mail server.
        addressed: the policy's `[report]`, with at least one address in `to`.
        source: the service that sends it, empty if it has no name; in the subject if it is the only one.
        hand_over: sends a message; raises `MailError` if no recipient is accepted.
    """

    def __init__(
        self,
        server: SmtpServer,
        addressed: Report,
        source: str,
        hand_over: Callable[[SmtpServer, EmailMessage], Sent] = send,
    ) -> None:
        self._server = server
        self._addressed = addressed
        self._source = source
        self._hand_over = hand_over

    @staticmethod
    def trend_begins(day: date) -> date:
        """The first day of the trend in the report of `day`."""
        return day - TREND

    def send(self, report: DailyCacheReport, trend: Sequence[DayInBrief], now: datetime) -> Sent:
        """Mail `report`.

        Raises:
            MailError: no recipient was accepted.
        """
        made = message(
            sender=sender(self._addressed, self._server, socket.gethostname()),
            to=self._addressed.to,
            subject=subject(report, self._about(report)),
            text=mail_text(report, trend),
            html=mail_html(report, trend),
            report_date=report.analysis_date,
            source=self._source,
            now=now,
        )
        return self._hand_over(self._server, made)

    def _about(self, report: DailyCacheReport) -> str:
        """The service or services whose queries the report covers; the sender may be one of several."""
        services = report.services
        if len(services) > 1:
            return f"{len(services)} services: {named(services)}"
        return self._source or named(services)


def report_mailer(server: SmtpServer | None, addressed: Report, source: str) -> ReportMailer | None:
    """The mailer; None without a mail server or without recipients."""
    return ReportMailer(server, addressed, source) if server is not None and addressed.to else None
