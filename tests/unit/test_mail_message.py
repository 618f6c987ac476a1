"""The message that carries the report, and who it comes from."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from otel_ratelimit.policy import Report
from otel_ratelimit.reports.mail import SmtpServer, message, sender

SERVER = SmtpServer(host="mail", port=587)


def made(**changed):
    return message(
        **{
            "sender": "limits@example.com",
            "to": ("team@example.com", "ops@example.com"),
            "subject": "Rate limits",
            "text": "text",
            "html": "<p>html</p>",
            "report_date": date(2026, 11, 23),
            "source": "shop",
            "now": datetime(2026, 11, 24, 0, 15, tzinfo=UTC),
            **changed,
        }
    )


def test_a_source_that_is_no_text_in_utf_8_is_one_too():
    # Python reads OTEL_SERVICE_NAME=caf\xe9 so if UTF-8 is expected.
    assert made(source="caf\udce9")["Message-ID"] != made(source="caf")["Message-ID"]


def test_the_same_report_has_the_same_message_id_whenever_and_however_it_is_worded():
    later = made(
        now=datetime(2026, 11, 25, 9, 0, tzinfo=UTC),
        subject="other",
        text="other",
        to=("ops@example.com", "team@example.com"),
    )
    assert made()["Message-ID"] == later["Message-ID"]


@pytest.mark.parametrize(
    "changed",
    [
        {"report_date": date(2026, 11, 24)},
        {"source": "blog"},
        {"sender": "other@example.com"},
        {"to": ("team@example.com",)},
    ],
)
def test_another_report_has_another_message_id(changed):
    assert made()["Message-ID"] != made(**changed)["Message-ID"]


def test_a_message_id_stays_in_one_piece_however_long_the_domain():
    domain = f"{'a' * 60}.{'b' * 60}.example.com"
    lines = made(sender=f"limits@{domain}").as_bytes().split(b"\r\n")
    (line,) = [line for line in lines if line.startswith(b"Message-ID:")]
    assert line.endswith(f"@{domain}>".encode())


def test_the_date_keeps_its_time_zone():
    now = datetime(2026, 11, 24, 0, 15, tzinfo=timezone(timedelta(hours=1)))
    assert made(now=now)["Date"] == "Tue, 24 Nov 2026 00:15:00 +0100"


@pytest.mark.parametrize(
    "changed",
    [
        {"subject": "Rate limits\r\nBcc: everybody@example.com"},
        {"subject": "Rate limits\nBcc: everybody@example.com"},
        {"sender": "limits@example.com\nBcc: everybody@example.com"},
        {"to": ["team@example.com\r\nBcc: everybody@example.com"]},
        {"to": ["team@example.com, everybody@example.com"]},
        {"to": []},
    ],
)
def test_nothing_gets_into_a_header_that_does_not_belong_there(changed):
    with pytest.raises(ValueError, match=r"linefeed|CR or LF|could be parsed|needs a recipient"):
        made(**changed)


@pytest.mark.parametrize(
    ("given", "user", "hostname", "expected"),
    [
        ("limits@example.com", "login@example.com", "host", "limits@example.com"),
        (None, "login@example.com", "host", "login@example.com"),
        (None, "apikey", "web-1.example.com", "otel-ratelimit@web-1.example.com"),
        (None, "", "web_1", "otel-ratelimit@web_1"),
        (None, "", "two words", "otel-ratelimit@localhost"),
        (None, "", "", "otel-ratelimit@localhost"),
    ],
)
def test_the_sender_is_the_policys_else_the_login_else_this_host(given, user, hostname, expected):
    report = Report(**{"from": given}) if given else Report()
    server = SmtpServer(host="mail", port=587, user=user, password="x")
    assert sender(report, server, hostname) == expected
