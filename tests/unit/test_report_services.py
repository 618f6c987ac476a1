"""A report says whose queries it is of, wherever it is shown."""

from __future__ import annotations

from datetime import date

import pytest

from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.cli.report_run_output import outcome_json, say
from otel_ratelimit.core.smtp_url import SmtpServer
from otel_ratelimit.policy import Report
from otel_ratelimit.reports.job_result import JobResult
from otel_ratelimit.reports.mailer import ReportMailer
from otel_ratelimit.reports.rendering.html_page import page
from otel_ratelimit.reports.rendering.labelled_figures import key_figures
from otel_ratelimit.reports.rendering.mail_subject_and_body import mail_html, mail_text

DAY = date(2026, 1, 31)


@pytest.fixture
def report(cache_report):
    """`report(*services)`: that of a busy day."""
    return lambda *services: cache_report(DAY).model_copy(update={"services": services})


def test_several_are_named_with_the_key_figures(report):
    first = key_figures(report("jobs", "shop"))[0]
    assert (first.name, first.value) == ("Services", "2 together")
    assert first.note.startswith("jobs, shop; one cache would serve all of them")
    for shown in (
        mail_text(report("jobs", "shop"), ()),
        mail_html(report("jobs", "shop"), ()),
        page(report("jobs", "shop"), ()),
    ):
        assert "jobs, shop" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("services", "without", "facts"),
    [
        (("jobs",), 0, [("Service", "jobs", "only its queries count, and writes of all")]),
        (
            ("jobs", "shop"),
            1,
            [
                (
                    "Service",
                    "jobs",
                    "only its queries count, and writes of all; others in this database: shop",
                ),
                (
                    "Left out",
                    "1 execution",
                    "no service is known for them, because an earlier version recorded them",
                ),
            ],
        ),
    ],
)
def test_a_report_of_one_service_says_so_and_what_it_cannot_know(report, services, without, facts):
    narrowed = report(*services).model_copy(update={"service": "jobs", "without_service": without})
    shown = [(fact.name, fact.value, fact.note) for fact in key_figures(narrowed)]
    assert shown[: len(facts)] == facts
    assert "Left out" not in {name for name, *_ in shown[len(facts) :]}
    assert "Service" in page(narrowed, ())


def test_executions_without_a_service_are_in_the_report_of_all(report):
    of_all = report("jobs").model_copy(update={"without_service": 9})
    assert "Left out" not in {fact.name for fact in key_figures(of_all)}


def test_one_is_named_and_none_is_not(report):
    first = key_figures(report("jobs"))[0]
    assert (first.name, first.value) == ("Service", "jobs")
    assert not {"Service", "Services"} & {fact.name for fact in key_figures(report())}


def test_a_name_cannot_steer_a_terminal(report, capsys):
    assert "\x1b" not in str(key_figures(report("a\x1b[2J", "b")))
    say(JobResult(made=(report("a\x1b[2J", "b"),)))
    assert "\x1b" not in capsys.readouterr().out


def test_what_a_run_says_names_them(report, capsys):
    say(JobResult(made=(report("jobs", "shop"), report("jobs"), report())))
    several, one, none = capsys.readouterr().out.splitlines()
    assert several.endswith(" (2 services together: jobs, shop)")
    assert one.endswith(" (service: jobs)")
    assert "service" not in none
    [made] = outcome_json(JobResult(made=(report("jobs", "shop"),)))["made"]
    assert made["services"] == ["jobs", "shop"]


def test_they_are_kept_with_the_report_and_may_be_missing_in_earlier_ones(report):
    kept = report("jobs", "shop").model_dump(mode="json")
    assert DailyCacheReport.model_validate(kept).services == ("jobs", "shop")
    del kept["services"], kept["service"], kept["without_service"]
    assert DailyCacheReport.model_validate(kept).services == ()


@pytest.mark.parametrize(
    ("source", "services", "about"),
    [
        ("", (), "Cache: "),
        ("nightly", (), "Cache for nightly: "),
        ("", ("jobs",), "Cache for jobs: "),
        ("nightly", ("jobs",), "Cache for nightly: "),
        ("jobs", ("jobs", "shop"), "Cache for 2 services: jobs, shop: "),
    ],
)
def test_the_subject_of_the_mail_is_not_of_one_service_where_the_report_is_of_several(
    report, source, services, about
):
    sent = []
    server = SmtpServer.parse("smtp://127.0.0.1:25")
    to = Report.model_validate({"to": ["team@example.com"], "from": "limits@example.com"})
    mailing = ReportMailer(server, to, source, lambda _, message: sent.append(message))
    found = report(*services)
    mailing.send(found, (), found.analysis.period_end)
    assert sent[0]["Subject"].startswith(about)
