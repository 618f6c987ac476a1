"""Sends a message, and tries again where a later attempt may succeed.

A reply can be lost after the server accepted the message, so a further attempt may deliver it twice; both
copies have the same Message-ID, see `message`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Final

from otel_ratelimit.core.errors import MailError
from otel_ratelimit.core.smtp_url import SmtpServer
from otel_ratelimit.reports.mail.smtp_errors import is_temporary, no_recipient_accepted, reply_line
from otel_ratelimit.reports.mail.smtp_session import Attempt, Handover

__all__ = ["RejectedRecipient", "Sent", "SmtpServer", "send"]

_logger = logging.getLogger(__name__)

TIMEOUT_SECONDS: Final = 30.0
ATTEMPTS: Final = 5
FIRST_PAUSE_SECONDS: Final = 2.0
LONGEST_PAUSE_SECONDS: Final = 60.0
_NO_REPLY: Final = "the server closed the connection before it replied for this recipient"


@dataclass(frozen=True, slots=True)
class RejectedRecipient:
    """A recipient who does not get the message, and why."""

    address: str
    said: str


@dataclass(frozen=True, slots=True)
class Sent:
    """The result for a message that the server accepted for at least one recipient."""

    accepted: tuple[str, ...]
    """Recipients whom the server accepted; at least one."""
    rejected: tuple[RejectedRecipient, ...]
    attempts: int


def send(
    server: SmtpServer,
    message: EmailMessage,
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
    attempts: int = ATTEMPTS,
    wait: Callable[[float], None] = time.sleep,
    first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    longest_pause_seconds: float = LONGEST_PAUSE_SECONDS,
) -> Sent:
    """Send `message` through `server` to everyone in its To, Cc and Bcc.

    Temporary failures (nothing listens, no answer, a reply 4xx) are tried again, after a pause that doubles
    from one attempt to the next and without the recipients who were accepted. Permanent failures (a login or
    a certificate that is rejected, no STARTTLS, a reply 5xx) are not tried again.

    Args:
        server: the mail server.
        message: as `message` makes it.
        timeout_seconds: the limit of each step: looking up the name, connecting to an address, a reply.
        attempts: the maximum, at least 1.
        wait: called with the seconds of a pause.
        first_pause_seconds: the first pause.
        longest_pause_seconds: the maximum of a pause.

    Raises:
        MailError: no recipient was accepted.
        ValueError: the message has no sender or no recipient, or `attempts` is below 1.
    """
    if attempts < 1:
        raise ValueError(f"attempts must be at least 1, not {attempts}")
    sender, to = _envelope(message)
    post = _Post(server, to)
    for number in range(1, attempts + 1):
        try:
            handover = Attempt(server, timeout_seconds, number).hand_over(message, sender, post.pending)
        except MailError as error:
            post.failed(error)
        else:
            post.handed_over(handover, number)
        if post.problem is None or not post.problem.may_pass or number == attempts:
            break
        pause = min(first_pause_seconds * 2 ** (number - 1), longest_pause_seconds)
        _logger.warning("%s; next attempt in %g s", post.problem, pause)
        wait(pause)
    return post.result(number)


class _Post:
    """The recipients that were accepted, that were rejected for good, and that are still pending.

    Attributes:
        pending: recipients for the next attempt.
        problem: why there are pending ones; None if there are none.
    """

    def __init__(self, server: SmtpServer, to: Sequence[str]) -> None:
        self.pending = list(to)
        self.problem: MailError | None = None
        self._server = server
        self._accepted: list[str] = []
        self._rejected: dict[str, str] = {}
        self._said: dict[str, str] = {}
        """The replies for the pending recipients at the last attempt."""

    def failed(self, error: MailError) -> None:
        """The attempt failed."""
        self.problem = error
        self._said = dict.fromkeys(self.pending, f"{error.step}: {error.said}")

    def handed_over(self, handover: Handover, number: int) -> None:
        """The server has replied for each recipient, or closed the connection before that."""
        said = {address: reply_line(reply, self._server) for address, reply in handover.rejected.items()}
        for_good = {address for address, (code, _) in handover.rejected.items() if not is_temporary(code)}
        self._rejected |= {address: said[address] for address in said if address in for_good}
        self._accepted += handover.accepted
        done = {*handover.accepted, *for_good}
        self.pending = [address for address in self.pending if address not in done]
        self._said = {address: said.get(address, _NO_REPLY) for address in self.pending}
        self.problem = (
            no_recipient_accepted(self._server, self._said, may_pass=True, attempt=number)
            if self.pending
            else None
        )

    def result(self, attempts: int) -> Sent:
        """The result of all attempts.

        Raises:
            MailError: no recipient was accepted.
        """
        rejected = {**self._rejected, **self._said}
        if self._accepted:
            for address, said in rejected.items():
                _logger.warning("mail server %s rejected recipient %s: %s", self._server, address, said)
            reported = tuple(RejectedRecipient(address, said) for address, said in rejected.items())
            return Sent(tuple(self._accepted), reported, attempts)
        if self.problem is not None and not self._rejected:
            raise self.problem
        may_pass = self.problem is not None and self.problem.may_pass
        raise no_recipient_accepted(self._server, rejected, may_pass=may_pass, attempt=attempts)


def _envelope(message: EmailMessage) -> tuple[str, list[str]]:
    senders, *others = (
        [address.addr_spec for header in message.get_all(name, []) for address in header.addresses]
        for name in ("From", "To", "Cc", "Bcc")
    )
    recipients = list(dict.fromkeys(address for each in others for address in each))
    if not senders or not recipients:
        raise ValueError("a message needs a sender and a recipient")
    return senders[0], recipients
