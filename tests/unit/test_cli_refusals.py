"""An error that is caused by the environment of a command is one sentence, without the usage."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from otel_ratelimit.cli import main

VARIABLES = ("DATABASE_URL", "API_TOKEN", "POLICY", "SMTP_URL")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in an empty folder and without variables."""
    monkeypatch.chdir(tmp_path)
    for name in VARIABLES:
        monkeypatch.delenv(f"OTEL_RATELIMIT_{name}", raising=False)
    return lambda *arguments: CliRunner().invoke(main, arguments)


def commands(group, path=()):
    """Every command below `group`, as it is typed."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


USES_THE_DATABASE = [
    path for path, command in commands(main) if any(each.name == "database_url" for each in command.params)
]


def test_there_are_commands_of_the_database():
    assert ("scheduler",) in USES_THE_DATABASE
    assert len(USES_THE_DATABASE) >= 8


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        *((path, "no database is named; set OTEL_RATELIMIT_DATABASE_URL=") for path in USES_THE_DATABASE),
        (("status",), "no token is given; set OTEL_RATELIMIT_API_TOKEN"),
        (("policy", "check"), "there is no ./ratelimit.toml and OTEL_RATELIMIT_POLICY is not set"),
        (("report", "run", "--mail"), "--mail is not possible: "),
        (("policy", "suggest", "--output", "."), ". exists; name another file"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, tuple) else "",
)
def test_what_the_surroundings_do_not_allow_is_said_without_the_usage(run, arguments, said):
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert f"Error: {said}" in refused.stderr
    assert "Usage" not in refused.stderr
    assert "--help" not in refused.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("policy", "check", "--nonsense"),
        ("report", "run", "--date", "soon"),
        ("report", "run", "--backfill", "--date", "2026-01-31"),
        ("db", "maintain", "--retention", "soon"),
    ],
    ids=" ".join,
)
def test_what_is_typed_wrongly_has_the_usage_above(run, arguments):
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert refused.stderr.startswith("Usage: ")


@pytest.mark.parametrize("command", ["check", "show"])
def test_a_policy_file_that_is_named_and_missing_is_not_blamed_on_the_environment(run, command):
    refused = run("policy", command, "nix.toml")
    assert refused.exit_code == 1
    assert refused.stderr.startswith(
        "nix.toml: cannot be read: No such file or directory; name a policy file"
    )
    assert "OTEL_RATELIMIT_POLICY" not in refused.stderr


@pytest.mark.parametrize("given", ["0d", "0"])
def test_a_retention_of_nothing_is_said_as_it_is(run, given):
    refused = run("db", "maintain", "--retention", given)
    assert f"'{given}' must be longer than zero" in refused.stderr
