"""The report's summary as an e-mail: text and HTML as alternatives, marked as a program's (RFC 3834)."""

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
"""What a mailbox shows beside the sender's address, and stands before the @ where there is no address."""

# Not every server takes lines of eight bits, and smtplib does not ask.
_SEVEN_BITS: Final = policy.SMTP.clone(cte_type="7bit")
_DIGEST_BYTES: Final = 8


def sender(report: Report, server: SmtpServer, hostname: str) -> str:
    """Who the report comes from: the policy's `from`, else the login if that is an address, else this host.

    Args:
        report: the policy's table.
        server: where it is sent through.
        hostname: of this machine, as `socket.gethostname` has it.
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
    """A message; the same report date, source, sender and recipients have the same Message-ID.

    So a message that arrives twice, because the answer to the first attempt was lost, can be told to be one.

    Args:
        sender: an address.
        to: addresses, at least one.
        subject: one line.
        text: for who reads text only.
        html: the same as a document.
        report_date: the day that the report is about.
        source: tells apart reports that go to the same people; for instance the service's name.
        now: with its time zone.

    Raises:
        ValueError: there is no recipient, an address is none, or the subject has more than one line.
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
    told_apart_by = "\0".join((source, sender, *sorted(to)))
    digest = hashlib.blake2b(
        told_apart_by.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES
    ).hexdigest()
    return f"<report.{report_date.isoformat()}.{digest}@{sender.rpartition('@')[2]}>"
