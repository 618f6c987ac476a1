"""Sending a message, again and again where that may help.

An answer can be lost after the server took the message, so a further attempt may make it arrive twice; the
Message-ID of `message` tells that it is one.
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
from otel_ratelimit.reports.mail.conversation import Attempt, Handover
from otel_ratelimit.reports.mail.refusals import is_temporary, nobody_taken, worded

__all__ = ["Refused", "Sent", "SmtpServer", "send"]

_log = logging.getLogger(__name__)

TIMEOUT_SECONDS: Final = 30.0
ATTEMPTS: Final = 5
FIRST_PAUSE_SECONDS: Final = 2.0
LONGEST_PAUSE_SECONDS: Final = 60.0
_UNHEARD: Final = "the server ended the conversation before it was this one's turn"


@dataclass(frozen=True, slots=True)
class Refused:
    """A recipient who does not get the message, and why."""

    address: str
    said: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a message that was taken."""

    accepted: tuple[str, ...]
    """Recipients whom the server accepted; at least one."""
    refused: tuple[Refused, ...]
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
    """Hand `message` to `server` for all in its To, Cc and Bcc.

    What may pass (nothing listens, no answer, a reply 4xx) is tried again, after a pause that doubles from
    one attempt to the next; recipients who were accepted are left out then. What will not pass (a login or a
    certificate that is refused, no STARTTLS, a reply 5xx) is given up at once.

    Args:
        server: the mail server.
        message: as `message` makes it.
        timeout_seconds: how long each step may take: looking the name up, connecting to an address, a reply.
        attempts: how many at most, at least 1.
        wait: called with the seconds of a pause.
        first_pause_seconds: the first pause.
        longest_pause_seconds: which no pause exceeds.

    Raises:
        MailError: no recipient was accepted.
        ValueError: the message has no sender or no recipient, or `attempts` is below 1.
    """
    if attempts < 1:
        raise ValueError(f"{attempts} attempts are none")
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
        _log.warning("%s; next attempt in %g s", post.problem, pause)
        wait(pause)
    return post.result(number)


class _Post:
    """Who has been accepted, who has been refused for good, and who is still pending.

    Attributes:
        pending: for whom an attempt is to be made.
        problem: why there are any; None where there are none.
    """

    def __init__(self, server: SmtpServer, to: Sequence[str]) -> None:
        self.pending = list(to)
        self.problem: MailError | None = None
        self._server = server
        self._accepted: list[str] = []
        self._refused: dict[str, str] = {}
        self._said: dict[str, str] = {}
        """Of those who are pending, at the last attempt."""

    def failed(self, error: MailError) -> None:
        """The attempt came to nothing."""
        self.problem = error
        self._said = dict.fromkeys(self.pending, f"{error.step}: {error.said}")

    def handed_over(self, handover: Handover, number: int) -> None:
        """The server has answered for each recipient, or ended the conversation before it had."""
        said = {address: worded(reply, self._server) for address, reply in handover.refused.items()}
        for_good = {address for address, (code, _) in handover.refused.items() if not is_temporary(code)}
        self._refused |= {address: said[address] for address in said if address in for_good}
        self._accepted += handover.accepted
        done = {*handover.accepted, *for_good}
        self.pending = [address for address in self.pending if address not in done]
        self._said = {address: said.get(address, _UNHEARD) for address in self.pending}
        self.problem = (
            nobody_taken(self._server, self._said, may_pass=True, attempt=number) if self.pending else None
        )

    def result(self, attempts: int) -> Sent:
        """What it all came to.

        Raises:
            MailError: nobody was accepted.
        """
        refused = {**self._refused, **self._said}
        if self._accepted:
            for address, said in refused.items():
                _log.warning(
                    "mail server %s does not take the message for %s: %s", self._server, address, said
                )
            reported = tuple(Refused(address, said) for address, said in refused.items())
            return Sent(tuple(self._accepted), reported, attempts)
        if self.problem is not None and not self._refused:
            raise self.problem
        may_pass = self.problem is not None and self.problem.may_pass
        raise nobody_taken(self._server, refused, may_pass=may_pass, attempt=attempts)


def _envelope(message: EmailMessage) -> tuple[str, list[str]]:
    senders, *others = (
        [address.addr_spec for header in message.get_all(name, []) for address in header.addresses]
        for name in ("From", "To", "Cc", "Bcc")
    )
    recipients = list(dict.fromkeys(address for each in others for address in each))
    if not senders or not recipients:
        raise ValueError("a message needs a sender and a recipient")
    return senders[0], recipients
