"""What mail servers, TLS and the network say when something is refused, and what would help then."""

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
    """What is being done, as a message names it."""

    TRUST = "reading the certificates to trust"
    LOOK_UP = "looking up the host"
    CONNECT = "connecting"
    GREETING = "waiting for the greeting"
    HELLO = "introducing ourselves (EHLO)"
    STARTTLS = "asking for TLS (STARTTLS)"
    TLS = "agreeing on TLS"
    LOG_IN = "logging in"
    SEND = "handing over the message"


_MAX_SAID: Final = 500
_TEMPORARY: Final = range(400, 500)
_WANTS_A_LOGIN: Final = 530
_NAME_MISMATCH: Final = frozenset({62, 64})
_EXPIRED: Final = 10
"""As OpenSSL numbers what can be wrong with a certificate (`X509_V_ERR_*`)."""

_ASK: Final = "the server calls this temporary; if it stays so, ask who runs it"
_LOGIN: Final = f"the server wants a login: smtp://user:password@host in {VARIABLE}"
_NO_LOGIN: Final = f"take the login out of {VARIABLE} if the server wants none, or name a port with one"
_SILENT: Final = {
    Step.LOOK_UP: "check the name server",
    Step.CONNECT: "nothing answers there: check host, port and firewall; many networks keep port 25 closed",
    Step.GREETING: "if the port has TLS from the start, as 465 has, write smtps://",
    Step.TLS: "if the port begins without TLS, as 587 and 25 do, write smtp://",
}
_REFUSED: Final = {
    Step.LOOK_UP: "check the host's name",
    Step.CONNECT: "check host and port, and that a mail server listens there",
    Step.GREETING: "check host and port, and whether the server lets this machine in",
    Step.STARTTLS: "ask who runs the server why it refuses TLS that it offers",
    Step.LOG_IN: f"check user and password in {VARIABLE}; many providers want a password made for programs",
    Step.SEND: "ask who runs the server what it does not like about the message",
}


def is_temporary(code: int) -> bool:
    """Whether a reply says that the same may go well later."""
    return code in _TEMPORARY


def mail_error(server: SmtpServer, step: Step, error: OSError, *, seconds: float, attempt: int) -> MailError:
    """The error for what smtplib, ssl or the system raised at `step`.

    Args:
        server: the one spoken to.
        step: what was being done.
        error: what was raised.
        seconds: the time-out.
        attempt: which one it was.
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


def nobody_taken(
    server: SmtpServer, refused: Mapping[str, str], *, may_pass: bool, attempt: int
) -> MailError:
    """The error for a message of which every recipient was refused, with what was said of each."""
    remedy = "check `to` in [report] of the policy file"
    if not server.user:
        remedy += ", and whether the server wants a login before it passes mail on to others"
    return MailError(
        server=str(server),
        step=Step.SEND,
        said="; ".join(f"{address}: {said}" for address, said in refused.items()),
        remedy=_ASK if may_pass else remedy,
        may_pass=may_pass,
        attempts=attempt,
    )


def worded(reply: Reply, server: SmtpServer) -> str:
    """`reply` on one line, fit to be logged, and without the password if the server repeats it."""
    return _line(_without_secrets(_reply(*reply), server))


def _cause(error: OSError) -> OSError:
    """What smtplib hides behind a connection that was lost: it closes the connection and says only that."""
    hidden = error.__context__
    lost = isinstance(error, smtplib.SMTPServerDisconnected)
    return hidden if lost and isinstance(hidden, OSError) else error


def _may_pass(cause: OSError) -> bool:
    if isinstance(cause, smtplib.SMTPResponseException):
        return is_temporary(cause.smtp_code)
    if isinstance(cause, smtplib.SMTPException):
        return isinstance(cause, smtplib.SMTPServerDisconnected)
    if isinstance(cause, ssl.SSLError):
        return isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError)  # the other side hung up
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
            return _SILENT[Step.TLS] if from_the_start else "the server has to offer TLS 1.2 or later"
        case TimeoutError():
            return _SILENT.get(step, "")
        case smtplib.SMTPResponseException():
            return _remedy_for_reply(server, step, cause)
        case smtplib.SMTPNotSupportedError() if step is Step.LOG_IN:
            return _NO_LOGIN
    return _REFUSED.get(step, "")


def _remedy_for_reply(server: SmtpServer, step: Step, reply: smtplib.SMTPResponseException) -> str:
    if is_temporary(reply.smtp_code):
        return _ASK
    if reply.smtp_code == _WANTS_A_LOGIN and not server.user:
        return _LOGIN
    if isinstance(reply, smtplib.SMTPSenderRefused):
        return "name as `from` in [report] of the policy file whom the server lets send"
    return _REFUSED.get(step, "")


def _remedy_for_certificate(verify_code: int) -> str:
    if verify_code in _NAME_MISMATCH:
        return "name the host as its certificate does"
    if verify_code == _EXPIRED:
        return "ask who runs the server to renew it"
    return "a private CA is named with ?ca=/path/to/ca.pem"


def _reply(code: int, text: bytes | str) -> str:
    said = text.decode(errors="replace") if isinstance(text, bytes) else text
    return f"{code} {said}" if code > 0 else f"no reply of a mail server: {said}"


def _line(text: str) -> str:
    line = "".join(each if each.isprintable() else "?" for each in " ".join(text.split()))
    return line if len(line) <= _MAX_SAID else f"{line[:_MAX_SAID]}..."


def _without_secrets(said: str, server: SmtpServer) -> str:
    """Servers may repeat what they were sent, as it was sent; so this comes before anything is cut off."""
    password = server.password.reveal()
    if not password:
        return said
    sent = (f"\0{server.user}\0{password}", password)
    return Redactor([*(base64.b64encode(each.encode()).decode() for each in sent), password])(said)
