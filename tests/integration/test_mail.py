"""Mail through real servers on the loopback: what arrives, what is tried again, what is said if not."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import subprocess
import threading
from datetime import UTC, date, datetime
from email import message_from_bytes, policy
from pathlib import Path
from typing import NamedTuple

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from otel_ratelimit.core.errors import MailError, SettingsError
from otel_ratelimit.demo.ports import quiet_ports
from otel_ratelimit.reports.mail import RejectedRecipient, SmtpServer, message, send

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

USER = "limits@example.com"
PASSWORD = "geheim/ü@1"
ENCODED = "limits%40example.com:geheim%2F%C3%BC%401"
TIMEOUT_SECONDS = 5.0
SHORT_SECONDS = 0.2
"""A time-out for who is known not to answer."""


def report(*to):
    return message(
        sender=USER,
        to=to or ("team@example.com",),
        subject="Rate limits on Monday: 3 % refused, Größe unverändert",
        text="Grüße\n.\nA line of a dot is no end.\nFrom here on\n" + "x" * 2000,
        html="<p>Grüße — ✓</p>",
        report_date=date(2026, 11, 23),
        source="shop",
        now=datetime(2026, 11, 24, 0, 15, tzinfo=UTC),
    )


class Mailbox:
    """What the server was sent, and what it answers to each command; the last answer stays."""

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


class Authority(NamedTuple):
    """A certificate for localhost that is its own authority, and a server's context with it."""

    file: Path
    context: ssl.SSLContext


def make_authority(openssl, folder, *names):
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *(
                openssl,
                "req",
                "-x509",
                "-nodes",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
            ),
            *("-subj", "/CN=a test", "-days", "2", "-keyout", str(key), "-out", str(certificate)),
            *("-addext", f"subjectAltName={','.join(names)}"),
            *("-addext", "keyUsage=critical,digitalSignature,keyCertSign"),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return Authority(certificate, context)


@pytest.fixture(scope="session")
def authority(installed, tmp_path_factory):
    openssl = installed("openssl", "openssl")
    return make_authority(openssl, tmp_path_factory.mktemp("authority"), "DNS:localhost", "IP:127.0.0.1")


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


def test_a_message_arrives_with_its_headers_and_both_parts(plain, mailbox, sent, pauses):
    result = sent(plain, report("team@example.com", "ops@example.com"))
    assert (result.accepted, result.rejected, result.attempts) == (
        ("team@example.com", "ops@example.com"),
        (),
        1,
    )
    received = mailbox.received()
    assert received["From"] == "otel-ratelimit <limits@example.com>"
    assert received["To"] == "team@example.com, ops@example.com"
    assert received["Subject"] == "Rate limits on Monday: 3 % refused, Größe unverändert"
    assert received["Date"].datetime == datetime(2026, 11, 24, 0, 15, tzinfo=UTC)
    assert received["Message-ID"].startswith("<report.2026-11-23.")
    assert received["Auto-Submitted"] == "auto-generated"
    assert received.get_content_type() == "multipart/alternative"
    text, html = received.iter_parts()
    assert text.get_content_type() == "text/plain"
    assert text.get_content().splitlines() == [
        *("Grüße", ".", "A line of a dot is no end.", "From here on"),
        "x" * 2000,
    ]
    assert html.get_content_type() == "text/html"
    assert html.get_content().strip() == "<p>Grüße — ✓</p>"
    assert mailbox.recipients == [["team@example.com", "ops@example.com"]]
    assert pauses == []


def test_what_is_sent_has_short_lines_of_seven_bits(plain, mailbox, sent):
    sent(plain)
    (content,) = mailbox.messages
    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) <= 78


def test_who_is_in_bcc_gets_the_message_and_stands_nowhere_in_it(plain, mailbox, sent):
    mail = report()
    mail["Bcc"] = "boss@example.com"
    sent(plain, mail)
    assert mailbox.recipients == [["team@example.com", "boss@example.com"]]
    assert b"boss" not in mailbox.messages[0]


def test_with_starttls_the_login_goes_through_tls(serve, authority, mailbox, sent):
    port = serve(tls_context=authority.context, require_starttls=True, auth_required=True)
    sent(f"smtp://{ENCODED}@localhost:{port}?ca={authority.file}")
    assert mailbox.logins == [("PLAIN", USER, PASSWORD)]
    assert mailbox.received()["From"].addresses[0].addr_spec == USER


def test_starttls_that_is_offered_is_taken(serve, authority, mailbox, sent):
    port = serve(tls_context=authority.context, require_starttls=True)
    sent(f"smtp://127.0.0.1:{port}?starttls=if-offered&ca={authority.file}")
    assert mailbox.received()


def test_with_tls_from_the_start_all_goes_through_it(serve, authority, mailbox, sent):
    # aiosmtpd knows of TLS by STARTTLS only.
    port = serve(ssl_context=authority.context, auth_required=True, auth_require_tls=False)
    sent(f"smtps://{ENCODED}@127.0.0.1:{port}?ca={authority.file}")
    assert mailbox.logins == [("PLAIN", USER, PASSWORD)]
    assert mailbox.received()


def test_to_the_loopback_a_login_may_go_in_clear(serve, mailbox, sent):
    port = serve(auth_required=True, auth_require_tls=False)
    for option in ("never", "if-offered"):
        sent(f"smtp://{ENCODED}@127.0.0.1:{port}?starttls={option}")
    assert mailbox.logins == [("PLAIN", USER, PASSWORD)] * 2


def test_a_server_without_plain_gets_the_login_another_way(serve, mailbox, sent, failed):
    port = serve(auth_required=True, auth_require_tls=False, auth_exclude_mechanism=["PLAIN"])
    error = failed(f"smtp://{ENCODED}@127.0.0.1:{port}?starttls=never")
    assert "the login is not ASCII" in error.said
    error = failed(f"smtp://me:hunter2@127.0.0.1:{port}?starttls=never")
    assert (error.step, error.said[:3]) == ("logging in", "535")
    assert mailbox.logins == [("LOGIN", "me", "hunter2")]


def test_a_login_that_is_refused_is_given_up_at_once(serve, authority, mailbox, failed, pauses):
    port = serve(tls_context=authority.context, auth_required=True)
    error = failed(f"smtp://limits:hunter2@localhost:{port}?ca={authority.file}")
    assert str(error) == (
        f"mail server localhost:{port}, logging in: 535 5.7.8 Authentication credentials invalid;"
        " check user and password in OTEL_RATELIMIT_SMTP_URL;"
        " many providers require an app password"
    )
    assert (error.may_pass, error.attempts, pauses) == (False, 1, [])
    assert len(mailbox.logins) == 1


def test_a_server_that_knows_no_login_is_told_apart(serve, failed, pauses):
    port = serve()  # without TLS it offers none
    error = failed(f"smtp://{ENCODED}@127.0.0.1:{port}?starttls=never")
    assert (error.step, error.said) == ("logging in", "SMTP AUTH extension not supported by server.")
    assert "remove the login from OTEL_RATELIMIT_SMTP_URL if the server needs none" in error.remedy
    assert pauses == []


def test_a_login_that_is_wanted_and_not_given_is_named(serve, failed, pauses):
    port = serve(auth_required=True, auth_require_tls=False)
    error = failed(f"smtp://127.0.0.1:{port}?starttls=never")
    assert "530 5.7.0 Authentication required" in error.said
    assert "the server requires a login: smtp://user:password@host" in error.remedy
    assert pauses == []


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(serve, authority, mailbox, failed, pauses):
    ports = {
        "smtp": serve(tls_context=authority.context),
        "smtps": serve(ssl_context=authority.context),
    }
    for scheme, port in ports.items():
        error = failed(f"{scheme}://{ENCODED}@localhost:{port}")
        assert error.step == "TLS handshake"
        assert error.said == "its certificate is not trusted: self-signed certificate"
        assert error.remedy == "for a private CA add ?ca=/path/to/ca.pem to the URL"
        assert (error.may_pass, pauses, mailbox.logins) == (False, [], [])


def test_a_certificate_for_another_name_is_not_trusted(serve, installed, tmp_path, failed, pauses):
    other = make_authority(installed("openssl", "openssl"), tmp_path, "DNS:mail.example.com")
    port = serve(tls_context=other.context)
    error = failed(f"smtp://127.0.0.1:{port}?ca={other.file}")
    assert "IP address mismatch" in error.said
    assert (error.remedy, pauses) == ("use the host name that the certificate names", [])


def test_a_file_of_certificates_that_holds_none_is_named(plain, tmp_path, failed, pauses):
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing\n")
    for file, reason in ((tmp_path / "missing.pem", "No such file"), (empty, "")):
        error = failed(f"smtp://127.0.0.1:{plain.port}?ca={file}")
        assert error.step == "reading the trusted certificates"
        assert f"{file}: {reason}" in error.said
        assert "a PEM file with certificates" in error.remedy
    assert pauses == []


def test_without_starttls_nothing_is_sent_where_it_is_required(serve, mailbox, failed, pauses):
    port = serve(auth_require_tls=False)
    error = failed(f"smtp://{ENCODED}@127.0.0.1:{port}")
    assert error.step == "asking for TLS (STARTTLS)"
    assert error.said == "the server does not offer it, so nothing was sent"
    assert "write smtps:// if the port uses TLS from the start" in error.remedy
    assert (pauses, mailbox.logins, mailbox.attempts) == ([], [], 0)


def test_a_password_does_not_cross_the_network_in_clear(serve, mailbox, failed, monkeypatch, pauses):
    port = serve(auth_require_tls=False)
    with pytest.raises(SettingsError, match="would cross the network in clear"):
        SmtpServer.parse(f"smtp://{ENCODED}@mail.example.com?starttls=never")
    elsewhere = SmtpServer.parse(f"smtp://{ENCODED}@mail.example.com:{port}?starttls=if-offered")
    resolve(monkeypatch, "127.0.0.1")
    error = failed(elsewhere)
    assert (error.step, error.said) == (
        "logging in",
        "the server offers no TLS, and a password is not sent in clear text",
    )
    assert (pauses, mailbox.logins) == ([], [])


def test_a_recipient_who_is_refused_does_not_keep_the_others_from_their_mail(
    plain, mailbox, sent, pauses, caplog
):
    mailbox.recipient["gone@example.com"] = ["550 5.1.1 no such mailbox"]
    result = sent(plain, report("team@example.com", "gone@example.com"))
    assert result.accepted == ("team@example.com",)
    assert result.rejected == (RejectedRecipient("gone@example.com", "550 5.1.1 no such mailbox"),)
    assert mailbox.recipients == [["team@example.com"]]
    assert pauses == []
    assert "rejected recipient gone@example.com: 550 5.1.1 no such mailbox" in caplog.text


def test_a_recipient_who_is_put_off_is_tried_again_and_the_others_are_not_mailed_twice(
    plain, mailbox, sent, pauses
):
    mailbox.recipient["grey@example.com"] = ["451 4.7.1 come back later", "250 OK"]
    result = sent(plain, report("team@example.com", "grey@example.com"))
    assert set(result.accepted) == {"team@example.com", "grey@example.com"}
    assert (result.rejected, result.attempts) == ((), 2)
    assert mailbox.recipients == [["team@example.com"], ["grey@example.com"]]
    assert pauses == [2.0]


def test_a_recipient_who_is_put_off_to_the_last_is_reported(plain, mailbox, sent, pauses):
    mailbox.recipient["grey@example.com"] = ["451 4.7.1 come back later"]
    result = sent(plain, report("team@example.com", "grey@example.com"), attempts=3)
    assert result.accepted == ("team@example.com",)
    assert result.rejected == (RejectedRecipient("grey@example.com", "451 4.7.1 come back later"),)
    assert pauses == [2.0, 4.0]


def test_where_every_recipient_is_refused_each_is_named(plain, mailbox, failed, pauses):
    mailbox.recipient = {"a@example.com": ["550 5.1.1 no such mailbox"], "b@example.com": ["554 5.7.1 no"]}
    error = failed(plain, report("a@example.com", "b@example.com"))
    assert str(error) == (
        f"mail server 127.0.0.1:{plain.port}, sending the message:"
        " a@example.com: 550 5.1.1 no such mailbox; b@example.com: 554 5.7.1 no;"
        " check `to` in [report] of the policy file,"
        " and whether the server requires a login before it relays mail"
    )
    assert (error.may_pass, pauses) == (False, [])


def test_one_refused_and_one_put_off_for_ever_are_both_named(plain, mailbox, failed, pauses):
    mailbox.recipient = {"a@example.com": ["550 no"], "b@example.com": ["451 later"]}
    error = failed(plain, report("a@example.com", "b@example.com"), attempts=2)
    assert error.said == "a@example.com: 550 no; b@example.com: 451 later"
    assert (error.may_pass, error.attempts, pauses) == (True, 2, [2.0])
    assert mailbox.attempts == 2


def test_a_sender_who_is_refused_is_given_up_at_once(plain, mailbox, failed, pauses):
    mailbox.sender = ["550 5.7.1 not your address"]
    error = failed(plain)
    assert error.said == "the sender limits@example.com: 550 5.7.1 not your address"
    assert "`from` in [report]" in error.remedy
    assert pauses == []


def test_a_message_that_is_refused_is_given_up_at_once(plain, mailbox, failed, pauses):
    mailbox.content = ["554 5.6.0 looks like spam"]
    error = failed(plain)
    assert error.said == "554 5.6.0 looks like spam"
    assert (error.may_pass, pauses, mailbox.attempts) == (False, [], 1)


def test_a_refusal_for_the_moment_is_followed_by_another_attempt(plain, mailbox, sent, pauses, caplog):
    mailbox.sender = ["451 4.3.0 busy", "250 OK"]
    mailbox.content = ["452 4.3.1 full", "250 OK"]
    result = sent(plain)
    assert (result.attempts, pauses) == (3, [2.0, 4.0])
    assert len(mailbox.messages) == 1
    assert f"mail server 127.0.0.1:{plain.port}, sending the message: " in caplog.text
    assert "451 4.3.0 busy; the server calls this temporary" in caplog.text
    assert "next attempt in 2 s" in caplog.text


def test_every_attempt_sends_the_same_message_id(plain, mailbox, sent):
    mailbox.recipient["grey@example.com"] = ["451 later", "250 OK"]
    sent(plain, report("team@example.com", "grey@example.com"))
    first, second = (message_from_bytes(content)["Message-ID"] for content in mailbox.messages)
    assert first == second


def test_the_pauses_grow_up_to_the_longest(plain, mailbox, failed, pauses):
    mailbox.content = ["451 4.3.0 busy"]
    error = failed(plain, attempts=8)
    assert pauses == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert (error.may_pass, error.attempts) == (True, 8)
    assert "451 4.3.0 busy (tried 8 times); the server calls this temporary" in str(error)


def test_where_nothing_listens_it_is_tried_again_and_then_said(failed, pauses):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        error = failed(f"smtp://127.0.0.1:{port}")
    assert str(error) == (
        f"mail server 127.0.0.1:{port}, connecting: Connection refused (tried 5 times);"
        " check host and port, and that a mail server listens there"
    )
    assert pauses == [2.0, 4.0, 8.0, 16.0]


def test_a_server_that_comes_back_between_attempts_is_met(serve, mailbox, sent, pauses):
    [port] = quiet_ports(1)
    opened = []

    def wait(seconds):
        pauses.append(seconds)
        if not opened:
            listener = Controller(mailbox, hostname="127.0.0.1", port=port)
            listener.start()
            opened.append(listener)

    try:
        assert sent(f"smtp://127.0.0.1:{port}?starttls=never", wait=wait).attempts == 2
    finally:
        for listener in opened:
            listener.stop()
    assert pauses == [2.0]


@contextlib.contextmanager
def scripted(*script, then_silent=False):
    """A server that says each of `script`, the first unasked, and then hangs up or is silent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def talk():
            with contextlib.suppress(OSError):  # the listener was closed
                while True:
                    connection, _ = listener.accept()
                    with connection, connection.makefile("rb") as heard:
                        for index, line in enumerate(script):
                            if index:
                                heard.readline()
                            connection.sendall(line)
                        if then_silent:
                            done.wait(30)

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        done.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.mark.parametrize(
    ("url", "script", "step", "remedy"),
    [
        ("smtp://127.0.0.1:{}", [], "waiting for the greeting", "write smtps://"),
        ("smtps://127.0.0.1:{}", [], "TLS handshake", "write smtp://"),
        ("smtp://127.0.0.1:{}", [b"220 hello\r\n"], "sending EHLO", ""),
        (
            "smtp://127.0.0.1:{}",
            [b"220 hello\r\n", b"250-me\r\n250 STARTTLS\r\n"],
            "asking for TLS (STARTTLS)",
            "",
        ),
        (
            "smtp://127.0.0.1:{}",
            [b"220 hello\r\n", b"250-me\r\n250 STARTTLS\r\n", b"220 go\r\n"],
            "TLS handshake",
            "",
        ),
        (
            "smtp://127.0.0.1:{}?starttls=never",
            [b"220 hello\r\n", b"250 me\r\n"],
            "sending the message",
            "",
        ),
        (
            "smtp://me:hunter2@127.0.0.1:{}?starttls=never",
            [b"220 hello\r\n", b"250-me\r\n250 AUTH PLAIN\r\n"],
            "logging in",
            "",
        ),
    ],
)
def test_a_server_that_falls_silent_is_waited_for_as_long_as_was_said(failed, url, script, step, remedy):
    with scripted(*script, then_silent=True) as port:
        error = failed(url.format(port), timeout_seconds=SHORT_SECONDS, attempts=1)
    assert (error.step, error.said, error.may_pass) == (step, "no answer within 0.2 s", True)
    assert remedy in error.remedy


def test_a_server_that_falls_silent_is_tried_again(failed, pauses):
    with scripted(then_silent=True) as port:
        failed(f"smtp://127.0.0.1:{port}", timeout_seconds=SHORT_SECONDS, attempts=2)
    assert pauses == [2.0]


def test_a_server_that_hangs_up_is_tried_again(failed, pauses):
    with scripted(b"220 hello\r\n") as port:
        error = failed(f"smtp://127.0.0.1:{port}", attempts=2)
    assert error.may_pass
    assert pauses == [2.0]


@pytest.mark.parametrize(
    ("greeting", "said", "tries"),
    [
        (b"421 4.3.2 too many connections\r\n", "421 4.3.2 too many connections", 2),
        (b"554 5.7.1 you are on a list\r\n", "554 5.7.1 you are on a list", 1),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not an SMTP reply: 2.0-OpenSSH_9.2", 1),
        (b"554-no\r\n554 \x1b[31mnever\xff\r\n", "554 no ?[31mnever\ufffd", 1),
    ],
)
def test_a_greeting_that_is_none_is_quoted(failed, pauses, greeting, said, tries):
    with scripted(greeting) as port:
        error = failed(f"smtp://127.0.0.1:{port}", attempts=2)
    assert (error.step, error.said) == ("waiting for the greeting", said)
    assert len(pauses) == tries - 1


def test_a_port_without_tls_from_the_start_is_told_apart(plain, failed, pauses):
    error = failed(f"smtps://127.0.0.1:{plain.port}")
    assert error.step == "TLS handshake"
    assert error.remedy == "if the port starts without TLS, as 587 and 25 do, write smtp://"
    assert pauses == []


def test_a_server_that_takes_its_offer_of_tls_back_is_given_up(failed, pauses):
    with scripted(b"220 hello\r\n", b"250-me\r\n250 STARTTLS\r\n", b"501 5.5.4 not today\r\n") as port:
        error = failed(f"smtp://127.0.0.1:{port}")
    assert (error.step, error.said) == ("asking for TLS (STARTTLS)", "501 5.5.4 not today")
    assert pauses == []


def test_what_a_server_repeats_of_a_login_is_not_shown(failed, pauses):
    repeated = "AG1lAGh1bnRlcjI= aHVudGVyMg== hunter2"  # PLAIN's and LOGIN's way to write it
    with scripted(
        b"220 hello\r\n", b"250-me\r\n250 AUTH PLAIN\r\n", f"535 no {repeated}\r\n".encode()
    ) as port:
        error = failed(f"smtp://me:hunter2@127.0.0.1:{port}?starttls=never")
    assert error.said == "535 no *** *** ***"


def test_a_login_that_is_refused_for_the_moment_is_tried_again(failed, pauses):
    with scripted(
        b"220 hello\r\n", b"250-me\r\n250 AUTH PLAIN\r\n", b"454 4.7.0 directory is away\r\n"
    ) as port:
        error = failed(f"smtp://me:hunter2@127.0.0.1:{port}?starttls=never", attempts=2)
    assert (error.said, pauses) == ("454 4.7.0 directory is away", [2.0])


def test_a_server_that_ends_the_conversation_at_a_recipient_is_tried_again_for_all(failed, pauses):
    with scripted(
        b"220 hello\r\n", b"250 me\r\n", b"250 OK\r\n", b"250 OK\r\n", b"421 4.3.2 going down\r\n"
    ) as port:
        error = failed(
            f"smtp://127.0.0.1:{port}?starttls=never",
            report("a@example.com", "b@example.com"),
            attempts=2,
        )
    assert error.said == (
        "a@example.com: the server closed the connection before it replied for this recipient;"
        " b@example.com: 421 4.3.2 going down"
    )
    assert pauses == [2.0]


def test_a_message_that_was_taken_is_sent_however_the_server_parts(sent):
    replies = [b"220 hello\r\n", b"250 me\r\n", b"250 OK\r\n", b"250 OK\r\n", b"354 go\r\n"]
    with silent_after_data(replies) as port:
        result = sent(f"smtp://127.0.0.1:{port}?starttls=never", timeout_seconds=SHORT_SECONDS)
    assert (result.accepted, result.attempts) == (("team@example.com",), 1)


@contextlib.contextmanager
def silent_after_data(replies):
    """A server that takes one message and never answers QUIT."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def talk():
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as heard:
                for index, line in enumerate(replies):
                    if index:
                        heard.readline()
                    connection.sendall(line)
                while heard.readline() != b".\r\n":
                    pass
                connection.sendall(b"250 taken\r\n")
                done.wait(30)

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        done.set()
        thread.join(10)


def resolve(monkeypatch, *addresses, error=None):
    """From here on the resolver knows `addresses` for every name, and for an address itself."""
    real = socket.getaddrinfo

    def getaddrinfo(host, *arguments, **options):
        if host[0].isdigit() or ":" in host:
            return real(host, *arguments, **options)
        if error is not None:
            raise error
        return [found for address in addresses for found in real(address, *arguments, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_each_address_of_a_host_is_tried(plain, mailbox, sent, monkeypatch):
    resolve(monkeypatch, "127.0.0.9", "127.0.0.1")  # nothing listens at the first
    assert sent(f"smtp://mail.example.com:{plain.port}?starttls=never").attempts == 1
    assert mailbox.received()


def test_a_name_that_is_not_known_is_given_up_at_once(failed, pauses, monkeypatch):
    resolve(monkeypatch, error=socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    error = failed("smtp://mial.example.com")
    assert (error.step, error.said) == ("looking up the host", "Name or service not known")
    assert (error.remedy, pauses) == ("check the host's name", [])


def test_a_name_that_cannot_be_asked_for_is_asked_for_again(failed, pauses, monkeypatch):
    resolve(monkeypatch, error=socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"))
    failed("smtp://mail.example.com", attempts=2)
    assert pauses == [2.0]


def test_a_name_server_that_does_not_answer_is_not_waited_for_longer_than_was_said(failed, monkeypatch):
    answered = threading.Event()

    def getaddrinfo(*_, **__):
        answered.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    error = failed("smtp://mail.example.com", timeout_seconds=SHORT_SECONDS, attempts=1)
    answered.set()
    assert (error.said, error.remedy) == (
        "the name server gave no answer within 0.2 s",
        "check the name server",
    )
    assert error.may_pass


def test_the_machine_introduces_itself_by_its_whole_name_or_its_address(plain, mailbox, sent, monkeypatch):
    for name in ("mail.example.com", "laptop", "a b.c"):
        monkeypatch.setattr(socket, "gethostname", lambda name=name: name)
        sent(plain)
    assert mailbox.introduced == ["mail.example.com", "[127.0.0.1]", "[127.0.0.1]"]


def test_a_message_to_nobody_is_a_mistake_of_the_caller(plain):
    mail = report()
    del mail["To"]
    with pytest.raises(ValueError, match="a sender and a recipient"):
        send(plain, mail)
    with pytest.raises(ValueError, match="attempts must be at least 1, not 0"):
        send(plain, report(), attempts=0)


def test_the_check_of_the_how_to_page_sends_a_message(plain, mailbox, tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs/how-to/report-mail.md").read_text(encoding="utf-8")
    code, table = (page.split(f"```{kind}\n")[1].split("```")[0] for kind in ("python", "toml"))
    (tmp_path / "ratelimit.toml").write_text(table)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTEL_RATELIMIT_SMTP_URL", f"smtp://{plain}?starttls=never")
    exec(code, {})
    assert mailbox.received()["From"].addresses[0].addr_spec == "limits@example.com"
    assert mailbox.recipients == [["team@example.com"]]
    assert "accepted=('team@example.com',), rejected=()" in capsys.readouterr().out
