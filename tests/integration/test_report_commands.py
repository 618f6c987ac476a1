"""`otel-ratelimit report ...` and `scheduler` as an operator types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from clocked import NOW
from psycopg2 import extensions

from otel_ratelimit.cli import main

VARIABLE = "OTEL_RATELIMIT_DATABASE_URL"
TODAY = NOW.replace(hour=0, minute=0)
"""By the clock of `clocked`, so that no midnight comes while a test runs."""
COMMAND = (sys.executable, "-c", "from otel_ratelimit.cli import main; main()")
PATIENCE_SECONDS = 60.0


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run `otel-ratelimit` in an empty folder, with no variables but those given."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)

    def invoke(*arguments, **variables):
        return CliRunner().invoke(main, arguments, env=variables)

    return invoke


@pytest.fixture
def recorded(database, record):
    """`recorded(days_ago, executions=600)`: queries of that day, 30 s apart, of three keys."""

    def write(days_ago, executions=600, today=TODAY):
        start = today - timedelta(days=days_ago)
        record(database, *(start + place * timedelta(seconds=30) for place in range(executions)), keys=3)

    return write


def day(days_ago):
    return (TODAY - timedelta(days=days_ago)).date().isoformat()


def query(url, statement):
    with closing(extensions.connection(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def test_a_day_is_reported_on_and_shown(run, clocked, tmp_path, recorded):
    named = {VARIABLE: clocked.url}
    nothing = run("report", "show", **named)
    assert (nothing.exit_code, nothing.stdout) == (1, "")
    assert "there is no report; `otel-ratelimit report run` makes one" in nothing.stderr
    of_then = run("report", "show", "--date", "2026-01-31", **named)
    said = "there is no report of 2026-01-31; `otel-ratelimit report run --date 2026-01-31` makes one"
    assert (of_then.exit_code, of_then.stderr.splitlines()[-1]) == (1, said)
    recorded(days_ago=1)

    made = run("report", "run", **named)

    assert made.exit_code == 0, made.output
    assert made.stdout.startswith(f"{day(1)}: a cache would ")
    assert f"{day(1)}: reading" in made.stderr
    shown = run("report", "show", **named)
    assert shown.exit_code == 0
    assert "SELECT * FROM jobs WHERE id = ?" in " ".join(shown.stdout.split())
    found = json.loads(run("report", "show", "--json", **named).stdout)
    assert found["report"]["analysis"]["all_executions"] == 600
    assert [each["analysis_date"] for each in found["trend"]] == [day(1)]
    assert found["mailed_at"] is None
    page = tmp_path / "report.html"
    written = run("report", "show", "--html", str(page), **named)
    assert (written.exit_code, written.stdout) == (0, "")
    assert "<!doctype html>" in page.read_text(encoding="utf-8").lower()
    assert run("report", "show", "--html", "-", **named).stdout.strip() == page.read_text().strip()


def test_the_days_to_report_on_are_those_of_the_databases_clock(run, clocked, recorded):
    """A host 40 days ahead would report on days that have not been, and never again on those days."""
    noon = datetime.now(UTC).replace(hour=12) - timedelta(days=40)
    clocked.set_clock(noon)
    recorded(days_ago=1, today=noon)
    made = run("report", "run", "--backfill", **{VARIABLE: clocked.url})
    assert made.exit_code == 0, made.output
    reported = clocked.run(
        "SELECT analysis_date::text, total_queries FROM otel_ratelimit.cache_analysis_daily"
    )
    assert reported == [((noon - timedelta(days=1)).date().isoformat(), 600)]
    assert made.stderr.count("days are those of the database") == 1


def test_a_terminal_without_a_querys_characters_shows_their_escapes_and_a_page_is_utf_8(
    database, clocked, run, recorded
):
    recorded(days_ago=1)
    query(
        database, 'UPDATE otel_ratelimit.query_templates SET template = \'SELECT "größe", "検索" FROM jobs\''
    )
    run("report", "run", **{VARIABLE: clocked.url})

    def shown(*arguments):
        process = started("report", "show", *arguments, url=clocked.url, PYTHONIOENCODING="latin-1")
        return process.communicate(timeout=PATIENCE_SECONDS)

    tables, said = shown()
    assert 'SELECT "größe", "\\u691c\\u7d22" FROM jobs' in tables, said
    page, said = shown("--html", "-")
    assert "検索" in page.encode("latin-1").decode(), said


def test_what_is_made_can_be_read_by_a_machine(run, clocked, recorded):
    recorded(days_ago=2)
    found = json.loads(run("report", "run", "--backfill", "--json", **{VARIABLE: clocked.url}).stdout)
    assert [made["date"] for made in found["made"]] == [day(1), day(2)]
    assert found["made"][0]["reason"] == "there was no query on that day"
    assert (found["skipped"], found["failed"], found["mail_error"]) == (False, [], None)
    again = run("report", "run", "--backfill", **{VARIABLE: clocked.url})
    assert (again.exit_code, again.stdout) == (0, "nothing to do: every full day has a report\n")


def test_on_the_first_day_there_is_only_so_far(run, database, clocked, recorded):
    recorded(days_ago=0, executions=3)
    named = {VARIABLE: clocked.url}
    for _ in range(2):
        made = run("report", "run", **named)
        assert (made.exit_code, made.stdout) == (1, "")
        assert f"no query is recorded for {day(1)}; the first one ran at {day(0)}" in made.stderr
        assert "`otel-ratelimit report show --so-far`" in made.stderr
    assert run("report", "run", "--backfill", **named).exit_code == 0
    shown = json.loads(run("report", "show", "--so-far", "--json", **named).stdout)
    assert shown["report"]["analysis_date"] == day(0)
    assert query(database, REPORTED) == [(0,)]


def test_which_policy_is_used_is_said(run, clocked, tmp_path, recorded):
    recorded(days_ago=1)
    named = {VARIABLE: clocked.url}
    said = "no policy file, so the built-in prices apply; days of UTC; no e-mail: [report] to is empty"
    assert run("report", "run", **named).stderr.splitlines()[0] == said
    so_far = run("report", "show", "--so-far", **named).stderr.splitlines()[0]
    assert so_far == "no policy file, so the built-in prices apply; days of UTC"
    (tmp_path / "ratelimit.toml").write_text("version = 1\n[report]\nto = ['team@example.com']\n")
    said = "policy: ratelimit.toml; days of UTC; no e-mail: OTEL_RATELIMIT_SMTP_URL is not set"
    assert run("report", "run", **named).stderr.splitlines()[0].replace(f"{tmp_path}/", "") == said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--date", "2026-02-30"), "2026-02-30"),
        (("run", "--date", "yesterday"), "'yesterday' is not a day; write for instance 2026-01-31"),
        (("show", "--so-far", "--date", "2026-01-01"), "give one of them"),
        (("run", "--mail"), "--mail is not possible: [report] to is empty"),
        (("run", "--date", "2999-01-01"), "2999-01-01 has not ended yet in UTC; the last full day is"),
        (("run", "--date", "2026-01-01", "--backfill"), "give one of them"),
        (("show", "--json", "--html", "x.html"), "give one of them"),
        (("show", "--days", "0"), "0 is not in the range"),
    ],
)
def test_wrong_use_says_what_would_be_right(run, database, arguments, said):
    found = run("report", *arguments, **{VARIABLE: database})
    assert found.exit_code == 2
    assert said in found.stderr


def test_a_day_that_has_not_ended_is_refused_without_the_usage(run, database):
    found = run("report", "run", "--date", "9999-01-01", **{VARIABLE: database})
    assert found.exit_code == 2
    assert "Error: 9999-01-01 has not ended yet in UTC; the last full day is " in found.stderr
    assert "Usage" not in found.stderr
    assert "days are those of the database" not in found.stderr, "the clocks agree"


def test_a_database_that_cannot_be_used_is_one_sentence(run, empty_database):
    for arguments in (("run",), ("run", "--backfill"), ("show",)):
        found = run("report", *arguments, **{VARIABLE: empty_database})
        assert found.exit_code == 1
        assert "the database is missing tables that this version needs" in found.stderr
        assert "otel-ratelimit db upgrade" in found.stderr
        away = run("report", *arguments, **{VARIABLE: "postgresql://127.0.0.1:1/x"})
        assert (away.exit_code, away.stderr.count("Error: cannot connect")) == (1, 1)
        assert "refused; check host and port" in away.stderr
    assert run("report", "run").exit_code == 2


def test_a_wrong_policy_is_said_with_its_line(run, database, tmp_path):
    (tmp_path / "ratelimit.toml").write_text("version = 1\n[cache]\nengine = 'memcached'\n")
    found = run("report", "run", **{VARIABLE: database})
    assert found.exit_code == 1
    assert "ratelimit.toml:3: cache.engine" in found.stderr


def test_the_policys_prices_and_zone_are_used(run, database, clocked, tmp_path, recorded):
    (tmp_path / "ratelimit.toml").write_text(
        "version = 1\n[report]\ntime_zone = 'Asia/Tokyo'\n[cache]\ncurrency = 'EUR'\n"
        "value_of_saved_millisecond = 0.001\n"
        "[[cache.prices]]\nname = 'ours'\nkind = 'self-hosted'\nmonth = 12.5\n"
    )
    recorded(days_ago=2, executions=2_880)
    recorded(days_ago=1, executions=2_880)
    assert run("report", "run", "--backfill", **{VARIABLE: clocked.url}).exit_code == 0
    found = query(
        database,
        "SELECT monthly_cost::text, currency, time_zone, worthwhile FROM otel_ratelimit.cache_analysis_daily"
        f" WHERE analysis_date = '{day(1)}'",
    )
    assert found == [("12.50", "EUR", "Asia/Tokyo", True)]


def started(*arguments, url, **variables):
    environ = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    return subprocess.Popen(
        [*COMMAND, *arguments],
        env={**environ, VARIABLE: url, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding=variables.get("PYTHONIOENCODING"),
    )


def wait_for(url, statement, expected):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while query(url, statement) != expected:
        assert time.monotonic() < deadline, f"never {expected}"
        time.sleep(0.02)


REPORTED = "SELECT count(*)::int FROM otel_ratelimit.cache_analysis_daily"
WAITING = (
    "SELECT count(*)::int FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
CONNECTIONS = (
    "SELECT array_agg(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND backend_type = 'client backend'"
)
OTHERS = (
    "SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database()"
    " AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND pid <> ALL (ARRAY{known})"
)


@pytest.mark.full
def test_processes_at_once_make_each_day_once(database, clocked, recorded):
    for days_ago in (1, 2, 3):
        recorded(days_ago)
    several = [started("report", "run", "--backfill", "--json", url=clocked.url) for _ in range(3)]
    outcomes = [json.loads(process.communicate(timeout=PATIENCE_SECONDS)[0]) for process in several]
    assert sorted(made["date"] for outcome in outcomes for made in outcome["made"]) == [
        day(3),
        day(2),
        day(1),
    ]
    assert query(database, REPORTED) == [(3,)]


@pytest.mark.full
def test_one_that_is_killed_leaves_the_work_to_the_next(database, clocked, run, recorded):
    recorded(days_ago=1)
    [(known,)] = query(database, CONNECTIONS)
    with closing(extensions.connection(database)) as other:
        with other.cursor() as cursor:
            cursor.execute("LOCK TABLE otel_ratelimit.cache_analysis_daily IN SHARE MODE")
        killed = started("report", "run", url=clocked.url)
        wait_for(database, WAITING, [(1,)])
        killed.kill()
        killed.communicate()
    # The server may still carry out statements that were already sent.
    wait_for(database, OTHERS.format(known=known), [(0,)])
    query(database, "DELETE FROM otel_ratelimit.cache_analysis_daily")

    assert run("report", "run", **{VARIABLE: clocked.url}).exit_code == 0
    assert query(database, REPORTED) == [(1,)]


def read_until(process, words):
    said = ""
    while words not in said:
        line = process.stderr.readline()
        assert line, f"ended after {said!r}"
        said += line
    return said


@pytest.mark.full
def test_the_scheduler_makes_what_was_missed_and_stays_until_it_is_stopped(database, clocked, recorded):
    recorded(days_ago=2)
    processes = [started("scheduler", url=clocked.url)]
    try:
        first = read_until(processes[0], "next run at")
        processes.append(started("scheduler", url=clocked.url))
        second = read_until(processes[1], "next run at")
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        ended = [process.communicate(timeout=PATIENCE_SECONDS) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert all("stopped" in stderr for _, stderr in ended)
    assert "every day at 00:15 UTC, and missing reports now" in first
    assert f"{day(2)}: reading" in first
    assert "reading" not in second
    assert query(database, REPORTED) == [(2,)]


def test_a_run_started_by_opentelemetry_is_a_trace_with_gauges(clocked, recorded):
    recorded(days_ago=1)
    environ = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    done = subprocess.run(
        [Path(sys.executable).parent / "opentelemetry-instrument", *COMMAND, "report", "run"],
        env={
            **environ,
            VARIABLE: clocked.url,
            "OTEL_TRACES_EXPORTER": "console",
            "OTEL_METRICS_EXPORTER": "console",
            "OTEL_LOGS_EXPORTER": "none",
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    assert '"name": "otel_ratelimit.report"' in done.stdout
    assert '"name": "otel_ratelimit.report.last_success"' in done.stdout
    # Our own statements are no spans.
    assert "otel_ratelimit.query_logs" not in done.stdout
