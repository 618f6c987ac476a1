"""Mail through real servers on the loopback: what arrives, at whom, and what is tried again."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path

import pytest
from mail_to_send import report

from otel_ratelimit.reports.mail import RejectedRecipient, send

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")


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
    page = (Path(__file__).parents[3] / "docs/how-to/report-mail.md").read_text(encoding="utf-8")
    code, table = (page.split(f"```{kind}\n")[1].split("```")[0] for kind in ("python", "toml"))
    (tmp_path / "ratelimit.toml").write_text(table)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTEL_RATELIMIT_SMTP_URL", f"smtp://{plain}?starttls=never")
    exec(code, {})
    assert mailbox.received()["From"].addresses[0].addr_spec == "limits@example.com"
    assert mailbox.recipients == [["team@example.com"]]
    assert "accepted=('team@example.com',), rejected=()" in capsys.readouterr().out
