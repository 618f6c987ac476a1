"""`otel-ratelimit db ...` as an operator types it."""

from __future__ import annotations

import json
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from clocked import NOW
from psycopg2 import extensions

from otel_ratelimit.cli.db import db
from otel_ratelimit.postgres.maintenance import LOCK

VARIABLE = "OTEL_RATELIMIT_DATABASE_URL"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run `otel-ratelimit db` in an empty folder, with no variables but those given."""
    monkeypatch.chdir(tmp_path)
    for name in (VARIABLE, "OTEL_RATELIMIT_POLICY", "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)

    def invoke(*arguments, answer=None, **variables):
        return CliRunner().invoke(db, arguments, input=answer, env=variables)

    return invoke


STEPS = [
    *("0001_rate_limits", "0002_queries", "0003_reports", "0004_query_totals", "0005_report_days"),
    "0006_retention",
    "0007_query_hashes",
    "0008_query_services",
]


def test_up_and_where_it_stands_and_down(run, empty_database):
    named = {VARIABLE: empty_database}
    assert run("current", **named).stdout.startswith("no step carried out yet; pending: 0001_rate_limits, ")
    up = run("upgrade", **named)
    assert (up.exit_code, up.stdout) == (0, f"carried out: {', '.join(STEPS)}\n")
    assert "upgrade 0002_queries" in up.stderr
    assert run("upgrade", **named).stdout == "nothing to do\n"
    assert run("current", **named).stdout == f"{STEPS[-1]}; up to date\n"
    down = run("downgrade", "--revision", "0001", "--yes", **named)
    assert (down.exit_code, down.stdout) == (0, f"undone: {', '.join(reversed(STEPS[1:]))}\n")
    found = json.loads(run("current", "--json", **named).stdout)
    assert found == {
        "revision": "0001_rate_limits",
        "head": STEPS[-1],
        "pending": STEPS[1:],
    }


def test_a_downgrade_says_what_is_lost_and_asks(run, database):
    asked = run("downgrade", "--revision", "0002", "--database-url", database, answer="n\n")
    assert asked.exit_code == 1
    undone = ", ".join(reversed(STEPS[2:]))
    assert f"This undoes {undone}." in asked.stderr
    assert "lost: maintenance_state, service_retention, query_repeats, query_totals, alert" in asked.stderr
    assert run("current", "--database-url", database).stdout == f"{STEPS[-1]}; up to date\n"
    agreed = run("downgrade", "--revision", "0002", "--database-url", database, answer="y\n")
    assert (agreed.exit_code, agreed.stdout.splitlines()[-1]) == (
        0,
        f"undone: {undone}",
    )


@pytest.mark.parametrize("command", ["upgrade", "downgrade", "current", "maintain"])
def test_without_a_database_it_says_how_to_name_one(run, command):
    refused = run(command)
    assert refused.exit_code == 2
    assert "OTEL_RATELIMIT_DATABASE_URL=postgresql://" in refused.stderr


def test_an_embedded_database_runs_as_long_as_the_command(run):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # which any user may enter, if made so
        Path(folder).chmod(0o711)
        url = f"embedded:{folder}/data"
        assert run("upgrade", "--database-url", url).exit_code == 0
        assert "up to date" in run("current", "--database-url", url).output
        assert not (Path(folder) / "data" / "data" / "postmaster.pid").exists()


def test_a_database_that_does_not_answer_is_one_line_and_status_1(run):
    failed = run("upgrade", "--database-url", "postgresql://app:geheim@127.0.0.1:1/shop")
    assert failed.exit_code == 1
    assert failed.stderr.startswith("Error: cannot connect to database shop at 127.0.0.1")
    assert failed.stderr.count("\n") == 1
    assert "geheim" not in failed.output


def test_a_revision_that_does_not_exist_is_wrong_use(run, database):
    refused = run("upgrade", "--revision", "0042", "--database-url", database)
    assert refused.exit_code == 2
    assert "write base, head or one of 0001_rate_limits" in refused.stderr


def test_maintenance_keeps_what_it_is_told_to_keep(run, database, tmp_path):
    def retention(*arguments):
        printed = run("maintain", "--json", "--database-url", database, *arguments)
        assert printed.exit_code == 0, printed.output
        return json.loads(printed.stdout)

    first = retention()
    assert first["retention_seconds"] == 30 * 86_400
    assert len(first["partitions_created"]) == 4
    (tmp_path / "ratelimit.toml").write_text('version = 1\n[analytics]\nretention = "90d"\n')
    assert retention()["retention_seconds"] == 90 * 86_400
    assert retention("--retention", "7d")["retention_seconds"] == 7 * 86_400


def test_maintenance_for_people_is_one_line(run, database):
    printed = run("maintain", "--database-url", database)
    assert printed.stdout == "partitions: 4 created, 0 dropped; rows: 0 moved, 0 deleted\n"


def test_maintenance_that_had_to_put_something_off_has_status_1(run, database):
    with closing(extensions.connection(database)) as reader:
        reader.cursor().execute("SELECT FROM otel_ratelimit.query_logs")
        printed = run("maintain", "--database-url", database)
    assert printed.exit_code == 1
    assert "; postponed: query_logs_" in printed.stdout


def test_maintenance_while_another_process_is_at_it_is_no_failure(run, database):
    with closing(extensions.connection(database)) as other:
        other.cursor().execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        printed = run("maintain", "--database-url", database)
    assert (printed.exit_code, printed.stdout) == (
        0,
        "another process is maintaining the tables; nothing done\n",
    )


def test_maintenance_leaves_old_rows_where_the_clocks_disagree_and_has_status_1(run, clocked):
    clocked.fill([NOW - timedelta(days=30, hours=1), NOW])
    held = run("maintain", "--database-url", clocked.url)
    assert held.exit_code == 1
    assert held.stdout == "partitions: 4 created, 0 dropped; rows: 1 moved, 0 deleted\n"
    assert "no old rows deleted: the clock of this host says " in held.stderr
    assert "that of the database 2026-06-15 10:30 UTC" in held.stderr
    told = json.loads(run("maintain", "--json", "--database-url", clocked.url).stdout)
    assert (told["hold"]["kind"], told["rows_deleted"]) == ("clocks", {})
    done = run("maintain", "--delete-anyway", "--database-url", clocked.url)
    assert (done.exit_code, done.stdout.partition(";")[2]) == (0, " rows: 0 moved, 7 deleted\n")


def test_maintenance_by_hand_respects_what_each_service_keeps(run, clocked):
    now = datetime.now(UTC)
    clocked.set_clock(now)
    for service, retention in (("long", 90), ("short", 7)):
        clocked.fill([now - timedelta(days=6), now - timedelta(days=7, hours=1)], service)
        clocked.maintain(now, service=service, retention=timedelta(days=retention), announce=True)
    assert clocked.left("rate_limit_usage") == 3
    nobody = json.loads(run("maintain", "--json", "--database-url", clocked.url).stdout)
    assert (nobody["service"], clocked.left("rate_limit_usage")) == (None, 3)
    assert nobody["services"] == {"long": 90 * 86_400.0, "short": 7 * 86_400.0}
    both = {"OTEL_SERVICE_NAME": "short"}
    assert run("maintain", "--database-url", clocked.url, **both).exit_code == 0
    assert clocked.left("rate_limit_usage") == 3, "its policy says 30 days, its processes say 7"
    by_hand = ("--retention", "5d", "--service", "short", "--database-url", clocked.url)
    assert run("maintain", *by_hand).exit_code == 0
    assert (clocked.left("rate_limit_usage", "short"), clocked.left("rate_limit_usage", "long")) == (0, 2)
    assert (clocked.left("query_totals", "short"), clocked.left("query_totals", "long")) == (0, 2)


def test_a_retention_for_nobody_is_refused_and_deletes_nothing(run, clocked):
    """Wrong use gives one sentence: several services and none named, or one that nothing is known of."""
    now = datetime.now(UTC)
    clocked.set_clock(now)
    at = "--database-url", clocked.url
    assert run("maintain", "--retention", "5d", *at).exit_code == 0, "nothing is recorded yet"
    clocked.fill([now - timedelta(days=6)], "old")
    lone = json.loads(run("maintain", "--retention", "9d", "--json", *at).stdout)
    assert (lone["service"], lone["services"]) == ("old", {"old": 9 * 86_400.0}), "recorded, not announced"
    clocked.maintain(now, service="shop", retention=timedelta(days=7), announce=True)
    for arguments, variables, said in (
        (
            ("--retention", "5d"),
            {},
            "2 services are recorded here: old, shop; a retention is",
        ),
        (("--retention", "5d", "--service", "nix"), {}, "of a service 'nix'; recorded are old, shop"),
        (("--retention", "5d"), {"OTEL_SERVICE_NAME": "nix"}, "of a service 'nix'; recorded are old, shop"),
        (("--service", "nix"), {}, "of a service 'nix'; recorded are old, shop"),
        (("--retention", "5d", "--service", ""), {"OTEL_SERVICE_NAME": "shop"}, "of a service ''"),
        (("--retention", "5d", "--service", "*"), {}, "of a service '*'"),
    ):
        refused = run("maintain", *arguments, *at, **variables)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert said in refused.stderr
        assert "Usage" not in refused.stderr
    assert clocked.left("rate_limit_usage") == 1
    both = run("maintain", "--retention", "5d", *at, OTEL_SERVICE_NAME="old")
    assert (both.exit_code, clocked.left("rate_limit_usage")) == (0, 0)


def test_maintenance_says_which_table_is_missing_and_has_status_1(run, database):
    with closing(extensions.connection(database)) as other:
        other.autocommit = True
        other.cursor().execute("DROP TABLE otel_ratelimit.table_writes")
    printed = run("maintain", "--database-url", database)
    assert printed.exit_code == 1
    assert "not maintained: table_writes: " in printed.stderr
    assert printed.stdout.startswith("partitions: 4 created")


@pytest.mark.parametrize("wrong", ["soon", "0d", "-1d"])
def test_a_retention_that_is_no_duration_is_wrong_use(run, database, wrong):
    refused = run("maintain", "--retention", wrong, "--database-url", database)
    assert refused.exit_code == 2
    assert "write for instance 30d" in refused.stderr


def test_a_wrong_policy_file_is_named_with_its_line(run, database, tmp_path):
    (tmp_path / "ratelimit.toml").write_text('version = 1\n[analytics]\nretention = "soon"\n')
    refused = run("maintain", "--database-url", database)
    assert refused.exit_code == 1
    assert "ratelimit.toml:3" in refused.stderr
