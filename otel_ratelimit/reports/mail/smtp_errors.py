"""Turns failures of mail servers, TLS and the network into a `MailError` with a remedy."""

from __future__ import annotations

import base64
import smtplib
import socket
import ssl
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeAlias

from otel_ratelimit.core.errors import MailError
from otel_ratelimit.core.secret import Redactor
from otel_ratelimit.core.smtp_url import VARIABLE, SmtpServer, Tls

Reply: TypeAlias = tuple[int, bytes]
"""Code and text (RFC 5321, section 4.2)."""


class Step(StrEnum):
    """A step of sending a message, as error messages name it."""

    TRUST = "reading the trusted certificates"
    LOOK_UP = "looking up the host"
    CONNECT = "connecting"
    GREETING = "waiting for the greeting"
    HELLO = "sending EHLO"
    STARTTLS = "asking for TLS (STARTTLS)"
    TLS = "TLS handshake"
    LOG_IN = "logging in"
    SEND = "sending the message"


_MAX_SAID: Final = 500
_TEMPORARY: Final = range(400, 500)
_WANTS_A_LOGIN: Final = 530
_NAME_MISMATCH: Final = frozenset({62, 64})
_EXPIRED: Final = 10
"""OpenSSL's numbers for certificate errors (`X509_V_ERR_*`)."""

_ASK: Final = "the server calls this temporary; if it persists, ask the server's operator"
_LOGIN: Final = f"the server requires a login: smtp://user:password@host in {VARIABLE}"
_NO_LOGIN: Final = f"remove the login from {VARIABLE} if the server needs none, or use another port"
_REMEDY_IF_SILENT: Final = {
    Step.LOOK_UP: "check the name server",
    Step.CONNECT: "nothing answers there: check host, port and firewall; many networks block port 25",
    Step.GREETING: "if the port uses TLS from the start, as 465 does, write smtps://",
    Step.TLS: "if the port starts without TLS, as 587 and 25 do, write smtp://",
}
_REMEDY_IF_REJECTED: Final = {
    Step.LOOK_UP: "check the host's name",
    Step.CONNECT: "check host and port, and that a mail server listens there",
    Step.GREETING: "check host and port, and whether the server accepts connections from this machine",
    Step.STARTTLS: "ask the server's operator why it rejects the TLS that it offers",
    Step.LOG_IN: f"check user and password in {VARIABLE}; many providers require an app password",
    Step.SEND: "ask the server's operator why it rejects the message",
}


def is_temporary(code: int) -> bool:
    """Whether a reply says that a later attempt may succeed."""
    return code in _TEMPORARY


def mail_error(server: SmtpServer, step: Step, error: OSError, *, seconds: float, attempt: int) -> MailError:
    """The error for an exception of smtplib, ssl or the system at `step`.

    Args:
        server: the mail server.
        step: the step that failed.
        error: the exception.
        seconds: the time-out.
        attempt: its number.
    """
    cause = _cause(error)
    return MailError(
        server=str(server),
        step=step,
        said=_line(_without_secrets(_said(step, cause, seconds), server)),
        remedy=_remedy(server, step, cause),
        may_pass=_may_pass(cause),
        attempts=attempt,
    )


def no_recipient_accepted(
    server: SmtpServer, rejected: Mapping[str, str], *, may_pass: bool, attempt: int
) -> MailError:
    """The error for a message whose recipients were all rejected, with the reply for each."""
    remedy = "check `to` in [report] of the policy file"
    if not server.user:
        remedy += ", and whether the server requires a login before it relays mail"
    return MailError(
        server=str(server),
        step=Step.SEND,
        said="; ".join(f"{address}: {said}" for address, said in rejected.items()),
        remedy=_ASK if may_pass else remedy,
        may_pass=may_pass,
        attempts=attempt,
    )


def reply_line(reply: Reply, server: SmtpServer) -> str:
    """`reply` on one printable line, without the password if the server repeats it."""
    return _line(_without_secrets(_reply(*reply), server))


def _cause(error: OSError) -> OSError:
    """The cause that smtplib hides: it closes the connection and reports only that it was lost."""
    hidden = error.__context__
    lost = isinstance(error, smtplib.SMTPServerDisconnected)
    return hidden if lost and isinstance(hidden, OSError) else error


def _may_pass(cause: OSError) -> bool:
    if isinstance(cause, smtplib.SMTPResponseException):
        return is_temporary(cause.smtp_code)
    if isinstance(cause, smtplib.SMTPException):
        return isinstance(cause, smtplib.SMTPServerDisconnected)
    if isinstance(cause, ssl.SSLError):
        return isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError)  # the server closed the connection
    if isinstance(cause, socket.gaierror):
        return cause.errno == socket.EAI_AGAIN
    return True


def _said(step: Step, cause: OSError, seconds: float) -> str:
    match cause:
        case smtplib.SMTPSenderRefused():
            said = f"the sender {cause.sender}: {_reply(cause.smtp_code, cause.smtp_error)}"
        case smtplib.SMTPResponseException():
            said = _reply(cause.smtp_code, cause.smtp_error)
        case smtplib.SMTPServerDisconnected():
            said = "the server ended the connection"
        case ssl.SSLCertVerificationError():
            said = f"its certificate is not trusted: {cause.verify_message.rstrip('.')}"
        case ssl.SSLError():
            said = cause.reason or str(cause)
        case TimeoutError() if step is not Step.LOOK_UP:
            said = f"no answer within {seconds:g} s"
        case _:
            said = cause.strerror or str(cause) or type(cause).__name__
    return said


def _remedy(server: SmtpServer, step: Step, cause: OSError) -> str:
    match cause:
        case ssl.SSLCertVerificationError():
            return _remedy_for_certificate(cause.verify_code)
        case ssl.SSLError():
            from_the_start = server.tls is Tls.FROM_THE_START
            return _REMEDY_IF_SILENT[Step.TLS] if from_the_start else "the server must offer TLS 1.2 or later"
        case TimeoutError():
            return _REMEDY_IF_SILENT.get(step, "")
        case smtplib.SMTPResponseException():
            return _remedy_for_reply(server, step, cause)
        case smtplib.SMTPNotSupportedError() if step is Step.LOG_IN:
            return _NO_LOGIN
    return _REMEDY_IF_REJECTED.get(step, "")


def _remedy_for_reply(server: SmtpServer, step: Step, reply: smtplib.SMTPResponseException) -> str:
    if is_temporary(reply.smtp_code):
        return _ASK
    if reply.smtp_code == _WANTS_A_LOGIN and not server.user:
        return _LOGIN
    if isinstance(reply, smtplib.SMTPSenderRefused):
        return "set `from` in [report] of the policy file to an address that the server lets you send from"
    return _REMEDY_IF_REJECTED.get(step, "")


def _remedy_for_certificate(verify_code: int) -> str:
    if verify_code in _NAME_MISMATCH:
        return "use the host name that the certificate names"
    if verify_code == _EXPIRED:
        return "ask the server's operator to renew it"
    return "for a private CA add ?ca=/path/to/ca.pem to the URL"


def _reply(code: int, text: bytes | str) -> str:
    said = text.decode(errors="replace") if isinstance(text, bytes) else text
    return f"{code} {said}" if code > 0 else f"not an SMTP reply: {said}"


def _line(text: str) -> str:
    line = "".join(each if each.isprintable() else "?" for each in " ".join(text.split()))
    return line if len(line) <= _MAX_SAID else f"{line[:_MAX_SAID]}..."


def _without_secrets(said: str, server: SmtpServer) -> str:
    """Remove the password, which a server may repeat as it was sent; to be done before text is cut off."""
    password = server.password.reveal()
    if not password:
        return said
    sent = (f"\0{server.user}\0{password}", password)
    return Redactor([*(base64.b64encode(each.encode()).decode() for each in sent), password])(said)
