"""A mail server with a mailbox, and sending with pauses that are noted and not made."""

from __future__ import annotations

import logging
from email import message_from_bytes, policy

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from mail_to_send import PASSWORD, USER, report

from otel_ratelimit.core.errors import MailError
from otel_ratelimit.reports.mail import SmtpServer, send

TIMEOUT_SECONDS = 5.0


class Mailbox:
    """The mails that the server received, and its answers to each command; the last answer stays."""

    def __init__(self):
        self.messages = []
        self.recipients = []
        self.sender = ["250 OK"]
        self.recipient = {}
        self.content = ["250 OK"]
        self.attempts = 0
        self.logins = []
        self.introduced = []

    def received(self):
        (content,) = self.messages
        return message_from_bytes(content, policy=policy.default)

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        session.host_name = hostname
        self.introduced.append(hostname)
        return responses

    async def handle_MAIL(self, server, session, envelope, address, options):
        self.attempts += 1
        answer = next_of(self.sender)
        if answer.startswith("250"):
            envelope.mail_from = address
        return answer

    async def handle_RCPT(self, server, session, envelope, address, options):
        answer = next_of(self.recipient.get(address, ["250 OK"]))
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server, session, envelope):
        answer = next_of(self.content)
        if answer.startswith("250"):
            self.messages.append(envelope.original_content)
            self.recipients.append(envelope.rcpt_tos)
        return answer

    def authenticate(self, server, session, envelope, mechanism, login):
        self.logins.append((mechanism, login.login.decode(), login.password.decode()))
        known = (login.login, login.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=known, handled=False)


def next_of(answers):
    return answers.pop(0) if len(answers) > 1 else answers[0]


class Server(Controller):
    """On a port that the system chooses."""

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@pytest.fixture
def mailbox():
    return Mailbox()


@pytest.fixture
def serve(mailbox):
    """`serve(**options)`: a running server's port."""
    running = []

    def start(**options):
        options = {"hostname": "127.0.0.1", "auth_exclude_mechanism": ["LOGIN"], **options}
        server = Server(mailbox, port=0, authenticator=mailbox.authenticate, **options)
        server.start()
        running.append(server)
        return server.port

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def plain(serve):
    """The port of a server without TLS and login."""
    return SmtpServer.parse(f"smtp://127.0.0.1:{serve()}?starttls=never")


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def sent(pauses):
    """`sent(server, message)`, with pauses that are noted and not made."""

    def send_(server, mail=None, **options):
        options = {"timeout_seconds": TIMEOUT_SECONDS, "wait": pauses.append, **options}
        server = SmtpServer.parse(server) if isinstance(server, str) else server
        return send(server, report() if mail is None else mail, **options)

    return send_


@pytest.fixture
def failed(sent, caplog):
    """`failed(server, ...)`: the error, in which and in whose log the password is not."""
    caplog.set_level(logging.DEBUG, "otel_ratelimit")

    def fail(*arguments, **options):
        with pytest.raises(MailError) as caught:
            sent(*arguments, **options)
        told = f"{caught.value!s} {caught.value.said} {caplog.text} {caught.getrepr(style='native')}"
        assert PASSWORD not in told
        assert "hunter2" not in told
        return caught.value

    return fail
