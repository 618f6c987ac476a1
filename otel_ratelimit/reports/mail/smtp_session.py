"""One attempt to send a message to a mail server, from the name lookup to the last reply.

smtplib speaks the protocol on a socket that is opened here, because smtplib itself looks up names, also the
name of this machine, without a deadline.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import re
import smtplib
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Final, NamedTuple

from otel_ratelimit.core.dns import addresses_of
from otel_ratelimit.core.errors import MailError
from otel_ratelimit.core.smtp_url import VARIABLE, SmtpServer, Tls
from otel_ratelimit.reports.mail.smtp_errors import Reply, Step, mail_error

_READY: Final = 220
_LOGGED_IN: Final = 235
_DOMAIN: Final = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")


class Handover(NamedTuple):
    """The recipients of a message that were accepted, and the replies for the others."""

    accepted: tuple[str, ...]
    rejected: Mapping[str, Reply]
    """Incomplete if the server closed the connection."""


class _SmtpSession(NamedTuple):
    smtp: smtplib.SMTP
    encrypted: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt; each failure in it is a `MailError`.

    Args:
        server: the mail server.
        seconds: the limit of each step.
        number: of the attempt, from 1.
    """

    server: SmtpServer
    seconds: float
    number: int

    def hand_over(self, message: EmailMessage, sender: str, to: Sequence[str]) -> Handover:
        """Send `message` to the server, for the recipients `to`.

        Raises:
            MailError: the server did not accept it, for another reason than its recipients.
        """
        context = self._context()
        with contextlib.ExitStack() as opened:
            session = self._encrypted(self._connected(context, opened), context, opened)
            self._log_in(session)
            with self._step(Step.SEND):
                try:
                    # Not send_message, which writes >From if a line of the text begins with From.
                    rejected = session.smtp.sendmail(sender, list(to), _as_sent(message))
                except smtplib.SMTPRecipientsRefused as error:
                    return Handover((), error.recipients)
            # The server has accepted the message; an error while closing changes nothing.
            with contextlib.suppress(OSError):
                session.smtp.quit()
            return Handover(tuple(address for address in to if address not in rejected), rejected)

    def _context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.server.ca_file)
        except OSError as error:
            raise self._error(
                Step.TRUST,
                f"{self.server.ca_file}: {error.strerror or error}",
                f"?ca= in {VARIABLE} must name a PEM file with certificates",
            ) from error

    def _connected(self, context: ssl.SSLContext, opened: contextlib.ExitStack) -> _SmtpSession:
        with self._step(Step.LOOK_UP):
            addresses = addresses_of(self.server.host, self.seconds)
        with self._step(Step.CONNECT):
            connection = opened.enter_context(self._first_that_answers(addresses))
        from_the_start = self.server.tls is Tls.FROM_THE_START
        if from_the_start:
            connection = self._wrapped(connection, context, opened)
        smtp = self._smtp_on(connection, opened)
        with self._step(Step.GREETING):
            code, said = smtp.getreply()
            if code != _READY:
                raise smtplib.SMTPConnectError(code, said)
        self._introduce(smtp)
        return _SmtpSession(smtp, from_the_start)

    def _encrypted(
        self, session: _SmtpSession, context: ssl.SSLContext, opened: contextlib.ExitStack
    ) -> _SmtpSession:
        """The connection, with TLS as the URL demands."""
        if session.encrypted or self.server.tls is Tls.NEVER:
            return session
        if not session.smtp.has_extn("starttls"):
            if self.server.tls is Tls.IF_OFFERED:
                return session
            raise self._error(
                Step.STARTTLS,
                "the server does not offer it, so nothing was sent",
                "use a port that offers it, or write smtps:// if the port uses TLS from the start",
            )
        with self._step(Step.STARTTLS):
            code, said = session.smtp.docmd("STARTTLS")
            if code != _READY:
                raise smtplib.SMTPResponseException(code, said)
        if session.smtp.sock is None:  # only after `close`
            raise self._error(Step.STARTTLS, "the connection was closed", may_pass=True)
        connection = self._wrapped(session.smtp.sock, context, opened)
        # A new session: nothing that was received in clear text may count (RFC 3207, section 4.2).
        smtp = self._smtp_on(connection, opened)
        self._introduce(smtp)
        return _SmtpSession(smtp, encrypted=True)

    def _log_in(self, session: _SmtpSession) -> None:
        if not self.server.user:
            return
        if not session.encrypted and not self.server.is_loopback:
            raise self._error(
                Step.LOG_IN,
                "the server offers no TLS, and a password is not sent in clear text",
                f"use a port with TLS in {VARIABLE}, or remove the login",
            )
        with self._step(Step.LOG_IN):
            _log_in(session.smtp, self.server.user, self.server.password.reveal())

    def _introduce(self, smtp: smtplib.SMTP) -> None:
        with self._step(Step.HELLO):
            smtp.ehlo_or_helo_if_needed()

    def _first_that_answers(self, addresses: Sequence[str]) -> socket.socket:
        failed = OSError("the host has no address")
        for address in addresses:
            try:
                return socket.create_connection((address, self.server.port), self.seconds)
            except OSError as error:
                failed = error
        raise failed

    def _wrapped(
        self, connection: socket.socket, context: ssl.SSLContext, opened: contextlib.ExitStack
    ) -> ssl.SSLSocket:
        with self._step(Step.TLS):
            return opened.enter_context(context.wrap_socket(connection, server_hostname=self.server.host))

    def _smtp_on(self, connection: socket.socket, opened: contextlib.ExitStack) -> smtplib.SMTP:
        smtp = smtplib.SMTP(local_hostname=_own_name(connection), timeout=self.seconds)
        smtp.sock = connection
        opened.callback(smtp.close)
        return smtp

    @contextlib.contextmanager
    def _step(self, step: Step) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # No cause: the server's reply may contain the password.
            raise mail_error(self.server, step, error, seconds=self.seconds, attempt=self.number) from None

    def _error(self, step: Step, said: str, remedy: str = "", *, may_pass: bool = False) -> MailError:
        return MailError(
            server=str(self.server),
            step=step,
            said=said,
            remedy=remedy,
            may_pass=may_pass,
            attempts=self.number,
        )


def _log_in(smtp: smtplib.SMTP, user: str, password: str) -> None:
    # smtplib tries one mechanism after the other, each of which counts as a failed login, and encodes as
    # ASCII. PLAIN is UTF-8 (RFC 4616), and is protected by TLS or by the loopback.
    if "PLAIN" in smtp.esmtp_features.get("auth", "").upper().split():
        secret = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        code, said = smtp.docmd("AUTH", f"PLAIN {secret}")
        if code != _LOGGED_IN:
            raise smtplib.SMTPAuthenticationError(code, said)
        return
    if smtp.has_extn("auth") and not f"{user}{password}".isascii():
        raise smtplib.SMTPNotSupportedError(
            "the login is not ASCII, and the server does not offer AUTH PLAIN"
        )
    smtp.login(user, password)


def _own_name(connection: socket.socket) -> str:
    """The name for EHLO: this machine's if it is fully qualified, else its address (RFC 5321, 4.1.3)."""
    name = socket.gethostname()
    if _DOMAIN.fullmatch(name):
        return name
    address = str(connection.getsockname()[0]).partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _as_sent(message: EmailMessage) -> bytes:
    """The message as it is transmitted, without the recipients in Bcc."""
    sent = copy.copy(message)
    del sent["Bcc"]
    return sent.as_bytes(policy=message.policy.clone(linesep="\r\n", mangle_from_=False))
