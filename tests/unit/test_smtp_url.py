"""Which mail server is meant, and what is said of a URL that means none; never with the password."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ratelimit.core.errors import SettingsError
from otel_ratelimit.core.settings import Settings, settings_from
from otel_ratelimit.core.smtp_url import SmtpServer, Tls, smtp_url_problems


@pytest.mark.parametrize(
    ("url", "server"),
    [
        (
            "smtp://me:secret@mail.example.com",
            SmtpServer(host="mail.example.com", port=587, user="me", password="secret"),
        ),
        (
            "smtps://me:secret@Mail.Example.com/",
            SmtpServer(
                host="mail.example.com", port=465, tls=Tls.FROM_THE_START, user="me", password="secret"
            ),
        ),
        ("smtp://mail:25?starttls=never", SmtpServer(host="mail", port=25, tls=Tls.NEVER)),
        ("smtp://mail?starttls=if-offered", SmtpServer(host="mail", port=587, tls=Tls.IF_OFFERED)),
        ("smtp://mail?starttls=required", SmtpServer(host="mail", port=587, tls=Tls.REQUIRED)),
        ("smtp://mail:?", SmtpServer(host="mail", port=587)),
        (
            "smtps://[2001:db8::1]:2465?ca=/etc/ssl/our%20own%2Bca.pem",
            SmtpServer(
                host="2001:db8::1",
                port=2465,
                tls=Tls.FROM_THE_START,
                ca_file=Path("/etc/ssl/our own+ca.pem"),
            ),
        ),
        (
            "smtp://me%40example.com:%25%2F%3F%23%40%3A%5B%20%C3%BC+@mail",
            SmtpServer(host="mail", port=587, user="me@example.com", password="%/?#@:[ ü+"),
        ),
        (
            "smtp://me:a:b@c@mail",
            SmtpServer(host="mail", port=587, user="me", password="a:b@c"),
        ),
        (
            "smtp://me:secret@127.0.0.1:25?starttls=never",
            SmtpServer(host="127.0.0.1", port=25, tls=Tls.NEVER, user="me", password="secret"),
        ),
        (
            "smtp://me:secret@[::1]:25?starttls=never",
            SmtpServer(host="::1", port=25, tls=Tls.NEVER, user="me", password="secret"),
        ),
    ],
)
def test_a_url_names_a_server(url, server):
    assert SmtpServer.parse(url) == server
    assert list(smtp_url_problems(url)) == []


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("mail.example.com:587", r"cannot be understood; write smtp://user:password@host:587 .*%40"),
        ("http://me:hunter2@mail", "cannot be understood"),
        ("hunter2", "cannot be understood"),
        ("smtp://me:hunter2/x@mail", "cannot be understood"),
        ("smtp://me:hunter2?x@mail", "cannot be understood"),
        ("smtp://me:hunter2#x@mail", "cannot be understood"),
        ("smtp://me:[hunter2@mail", "cannot be understood"),
        ("smtp://me:hunter2℀@mail", "cannot be understood"),
        ("smtp://me:hunter2 x@mail", "cannot be understood"),
        ("smtp://me:hunter2\r\nx@mail", "cannot be understood"),
        ("smtp://", "names no host; write smtp://"),
        ("smtp://me:hunter2@", "names no host"),
        ("smtp://:587", "names no host"),
        ("smtp://..", "neither a name nor an address"),
        (f"smtp://{'a' * 64}.example", "neither a name nor an address"),
        ("smtp://me:hunter2", "the port is not a number from 1 to 65535"),
        ("smtp://mail:0", "the port is not a number from 1 to 65535"),
        ("smtp://mail:65536", "the port is not a number"),
        ("smtp://mail:²", "the port is not a number"),
        (f"smtp://mail:{'9' * 5000}", "the port is not a number"),
        ("smtp://mail/inbox", "something after the host and the port"),
        ("smtp://mail#x", "something after the host and the port"),
        ("smtp://me@mail", "a login without a password; write user:password@, or neither"),
        ("smtp://me:@mail", "a login without a password"),
        ("smtp://:hunter2@mail", "a login without a user"),
        ("smtp://me:hunter2%@mail", "not followed by two hexadecimal digits; write %25"),
        ("smtp://me:hunter2%0x@mail", "not followed by two hexadecimal digits"),
        ("smtp://me:hunter2%FC@mail", "a character that no login can"),
        ("smtp://me:hunter2%00@mail", "a character that no login can"),
        ("smtp://me:hunter2@mail?starttls=never", "would cross the network in clear; take starttls=never"),
        ("smtp://mail?startls=never", "unknown option 'startls'; did you mean 'starttls'"),
        ("smtp://mail?verify=no", "unknown option 'verify'; known are ca, starttls"),
        ("smtp://mail?ca=/a&ca=/b", "the option 'ca' is there twice"),
        ("smtp://mail?starttls=no", "starttls='no' is not known; use required, if-offered, never"),
        ("smtp://mail?starttls", "starttls='' is not known"),
        ("smtps://mail?starttls=required", "smtps:// has TLS from the start, and no STARTTLS"),
        ("smtp://mail?ca=", "ca names no file"),
        ("smtp://mail?ca=%00", "ca names no file"),
        ("smtp://mail?ca=/a&starttls=never", "no certificate is looked at"),
    ],
)
def test_what_names_none_is_told_with_what_would_be_right_and_without_the_password(url, complaint):
    with pytest.raises(SettingsError, match=complaint) as caught:
        settings_from({"OTEL_RATELIMIT_SMTP_URL": url})
    assert "hunter2" not in str(caught.value)
    assert all(problem.where == "OTEL_RATELIMIT_SMTP_URL" for problem in caught.value.problems)


def test_everything_that_is_wrong_is_told_at_once_beside_other_variables():
    url = "smtp://me@mail:x/y?ca=&starttls=off&what=ever"
    with pytest.raises(SettingsError) as caught:
        settings_from({"OTEL_RATELIMIT_SMTP_URL": url, "OTEL_RATELIMIT_SHADOW": "maybe"})
    assert len(caught.value.problems) == 7


@given(st.text(alphabet="smtp:/@?#[]%&=.0a ü\0\n", max_size=30), st.sampled_from(["", "smtp://", "smtps://"]))
def test_whatever_is_written_it_is_a_server_or_problems_and_no_password_is_shown(text, scheme):
    url = f"{scheme}me:hunter2{text}@mail"
    problems = list(smtp_url_problems(url))
    assert problems or SmtpServer.parse(url).host
    assert "hunter2" not in "".join(map(str, problems))


def test_neither_the_server_nor_the_settings_show_the_password():
    settings = settings_from({}, {"smtp_url": "smtp://me:hunter2@mail"})
    assert settings.smtp_server is not None
    assert settings.smtp_server.password == "hunter2"
    shown = (repr(settings), repr(settings.smtp_server), str(settings.smtp_server), f"{settings.smtp_server}")
    assert not any("hunter2" in text for text in shown)
    assert str(settings.smtp_server) == "mail:587"
    assert str(SmtpServer.parse("smtps://[::1]")) == "[::1]:465"


def test_without_the_variable_there_is_no_server():
    assert Settings().smtp_server is None


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("mail", False),
    ],
)
def test_loopback_is_what_stays_on_the_machine(host, loopback):
    assert SmtpServer(host=host, port=25).is_loopback is loopback
