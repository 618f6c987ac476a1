"""The nightly job's mail: sent once, and tried again if the server refuses."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from email import message_from_bytes, policy

import pytest
from aiosmtpd.controller import Controller
from nightly_reports import LAST, REPORT, hourly, kept

from otel_ratelimit.core.errors import DatabaseError, MailError
from otel_ratelimit.reports.job_result import JobResult


class Mailbox:
    def __init__(self):
        self.answer = "250 OK"
        self.messages = []

    async def handle_DATA(self, server, session, envelope):
        if self.answer.startswith("250"):
            self.messages.append(message_from_bytes(envelope.original_content, policy=policy.default))
        return self.answer


class OnAnyPort(Controller):
    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@pytest.fixture
def mailbox():
    return Mailbox()


@pytest.fixture
def smtp(mailbox):
    server = OnAnyPort(mailbox, hostname="127.0.0.1", port=0)
    server.start()
    yield f"smtp://127.0.0.1:{server.port}?starttls=never"
    server.stop()


TO = REPORT + 'to = ["team@example.com"]'


def test_a_run_over_midnight_is_about_the_days_that_were_full_when_it_began(
    database, job, seen, mailbox, smtp, record
):
    record(database, *hourly(datetime(2026, 3, 28, tzinfo=UTC), 48, timedelta(seconds=30)))
    midnight = datetime(2026, 3, 30, tzinfo=UTC)
    second = timedelta(seconds=1)

    [made] = job(database, TO, now=midnight - second, then=midnight + second, smtp=smtp).catch_up().made

    assert made.analysis_date == date(2026, 3, 28)
    [mail] = mailbox.messages
    assert "2026-03-28" in mail["Subject"]
    assert seen.gauges()["otel_ratelimit.cache.hit_potential"] == [made.hit_potential]
    job(database, TO, now=midnight + second, smtp=smtp).catch_up()
    assert sorted(kept(database)) == [made.analysis_date, LAST]


def test_the_last_full_days_report_is_mailed_once(database, job, mailbox, smtp, record):
    record(database, *hourly(datetime(2026, 3, 28, tzinfo=UTC), 48))

    first = job(database, TO, smtp=smtp).catch_up()
    again = job(database, TO, smtp=smtp).catch_up()
    third = job(database, TO, smtp=smtp).run()

    assert first.sent.accepted == ("team@example.com",)
    assert (again.sent, third.sent) == (None, None)
    assert again.mailed_before is not None
    assert third.mailed_before == again.mailed_before
    [mail] = mailbox.messages
    assert "2026-03-29" in mail["Subject"]
    assert len(first.made) == 2
    asked = job(database, TO, smtp=smtp).run(date(2026, 3, 28), mail="always")
    assert asked.sent is not None
    assert "2026-03-28" in mailbox.messages[1]["Subject"]
    assert job(database, TO, smtp=smtp).run(mail="never").sent is None
    assert len(mailbox.messages) == 2


def test_what_may_pass_is_worth_another_attempt():
    def refused(*, may_pass):
        return MailError(server="a", step="b", said="c", remedy="", may_pass=may_pass, attempts=5)

    day = (LAST, DatabaseError("away"))
    assert JobResult(skipped=True).may_pass
    assert JobResult(failed=(day,), mail_error=refused(may_pass=False)).may_pass
    assert JobResult(mail_error=refused(may_pass=True)).may_pass
    assert not JobResult(mail_error=refused(may_pass=False)).may_pass
    assert not JobResult().may_pass


def test_a_mail_server_that_refuses_loses_no_report_and_is_asked_again(
    database, job, mailbox, smtp, seen, record
):
    record(database, datetime(2026, 3, 29, 12, tzinfo=UTC))
    mailbox.answer = "554 no"
    failed = job(database, TO, smtp=smtp).catch_up()
    assert "554 no" in str(failed.mail_error)
    assert not failed.is_well
    assert list(kept(database)) == [LAST]
    # The report is what had to be made, and it was.
    assert "otel_ratelimit.report.last_success" in seen.gauges()

    # A server that refuses for good is not asked again every few minutes, which may lock an account.
    assert not failed.may_pass

    mailbox.answer = "250 OK"
    later = job(database, TO, smtp=smtp).catch_up()

    assert later.made == ()
    assert later.sent is not None
    assert len(mailbox.messages) == 1
