"""E-mail for the nightly report: the message, and sending it through a mail server."""

from otel_ratelimit.reports.mail.mime_message import message, sender
from otel_ratelimit.reports.mail.send_with_retries import RejectedRecipient, Sent, SmtpServer, send

__all__ = ["RejectedRecipient", "Sent", "SmtpServer", "message", "send", "sender"]
