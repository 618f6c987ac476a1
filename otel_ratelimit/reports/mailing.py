"""The report of a day as an e-mail to those whom the policy names."""

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
from otel_ratelimit.reports.rendering.report_mail import mail_html, mail_text, subject

TREND: Final = timedelta(days=13)
"""With the day itself, two weeks."""


class Mailing:
    """Who gets the report, and how.

    Args:
        server: the mail server.
        addressed: the policy's `[report]`, with somebody in `to`.
        source: the service that sends it, empty where it has no name; stands in the subject, if alone.
        hand_over: sends a message; raises `MailError` where nobody gets it.
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
        """The first day that the report of `day` is compared with."""
        return day - TREND

    def send(self, report: DailyCacheReport, trend: Sequence[DayInBrief], now: datetime) -> Sent:
        """Mail `report`.

        Raises:
            MailError: nobody gets it.
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
        """Whose queries it is of; who sends it is only one of several services."""
        services = report.services
        if len(services) > 1:
            return f"{len(services)} services: {named(services)}"
        return self._source or named(services)


def mailing_of(server: SmtpServer | None, addressed: Report, source: str) -> Mailing | None:
    """None where there is no mail server, or nobody to mail to."""
    return Mailing(server, addressed, source) if server is not None and addressed.to else None
