"""Mail servers that are away, silent, hang up, or whose name is unknown."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest
from aiosmtpd.controller import Controller
from mail_to_send import report, resolve

from otel_ratelimit.demo.ports import quiet_ports

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
SHORT_SECONDS = 0.2
"""A time-out for who is known not to answer."""


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
