"""E-mail for the nightly report: the message, and its way to a mail server."""

from otel_ratelimit.mail.message import message, sender
from otel_ratelimit.mail.smtp import Refused, Sent, SmtpServer, send

__all__ = ["Refused", "Sent", "SmtpServer", "message", "send", "sender"]
