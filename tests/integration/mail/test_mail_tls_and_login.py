"""TLS and login on the way to the mail server: what is taken, and what is refused."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from mail_to_send import PASSWORD, USER, resolve

from otel_ratelimit.core.errors import SettingsError
from otel_ratelimit.reports.mail import SmtpServer

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
ENCODED = "limits%40example.com:geheim%2F%C3%BC%401"


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
