"""The report as an e-mail: text and HTML as alternatives, marked as automatic (RFC 3834)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Final

from otel_ratelimit.core.smtp_url import SmtpServer
from otel_ratelimit.policy import Report
from otel_ratelimit.policy.report import is_mail_address

NAME: Final = "otel-ratelimit"
"""The display name of the sender, and the local part of its address if none is configured."""

# Not every server accepts 8-bit lines, and smtplib does not check.
_SEVEN_BITS: Final = policy.SMTP.clone(cte_type="7bit")
_DIGEST_BYTES: Final = 8


def sender(report: Report, server: SmtpServer, hostname: str) -> str:
    """The sender: the policy's `from`, else the login if it is an address, else an address at this host.

    Args:
        report: the table `[report]` of the policy.
        server: the mail server.
        hostname: of this machine, from `socket.gethostname`.
    """
    given = (report.sender, server.user, f"{NAME}@{hostname}")
    return next((address for address in given if address and is_mail_address(address)), f"{NAME}@localhost")


def message(
    *,
    sender: str,
    to: Sequence[str],
    subject: str,
    text: str,
    html: str,
    report_date: date,
    source: str,
    now: datetime,
) -> EmailMessage:
    """Make the message; the same report date, source, sender and recipients have the same Message-ID.

    So a message that arrives twice, because the reply to the first attempt was lost, can be recognised.

    Args:
        sender: an address.
        to: addresses, at least one.
        subject: one line.
        text: the plain text.
        html: the same as an HTML document.
        report_date: the day that the report is about.
        source: distinguishes reports to the same recipients, for instance the name of the service.
        now: with its time zone.

    Raises:
        ValueError: there is no recipient, an address is invalid, or the subject has more than one line.
    """
    if not to:
        raise ValueError("a message needs a recipient")
    made = EmailMessage(policy=_SEVEN_BITS)
    made["From"] = Address(NAME, addr_spec=sender)
    made["To"] = [Address(addr_spec=address) for address in to]
    made["Subject"] = subject
    made["Date"] = now
    made["Message-ID"] = _message_id(sender, to, report_date, source)
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(text)
    made.add_alternative(html, subtype="html")
    return made


def _message_id(sender: str, to: Sequence[str], report_date: date, source: str) -> str:
    identity = "\0".join((source, sender, *sorted(to)))
    digest = hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()
    return f"<report.{report_date.isoformat()}.{digest}@{sender.rpartition('@')[2]}>"
