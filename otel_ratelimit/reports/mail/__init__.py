"""E-mail for the nightly report: the message, and its way to a mail server."""

from otel_ratelimit.reports.mail.message import message, sender
from otel_ratelimit.reports.mail.smtp import Refused, Sent, SmtpServer, send

__all__ = ["Refused", "Sent", "SmtpServer", "message", "send", "sender"]
