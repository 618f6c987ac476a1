"""Every snippet of the documentation: Python runs, policies load, commands exist, the rest parses.

A snippet that cannot be run says why, in a comment on the line before it: `<!-- not run: the reason -->`.
"""

from __future__ import annotations

import configparser
import itertools
import json
import re
import shlex
import socket
import subprocess
import textwrap
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace

import click
import flask
import promql_parser
import psycopg2
import pytest
import yaml
from aiosmtpd.controller import Controller

from otel_ratelimit import RateLimit
from otel_ratelimit.cli import main
from otel_ratelimit.core.settings import variable_names
from otel_ratelimit.policy import load_policy

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL
)
NOT_RUN = re.compile(r"<!-- not run: (.+?) -->\s*\Z")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@dataclass(frozen=True)
class Snippet:
    page: str
    line: int
    language: str
    text: str
    reason: str
    """Why it is not run; empty where it is."""

    def __str__(self):
        return f"{self.page}:{self.line}"


def snippets():
    for page in PAGES:
        text = page.read_text()
        for match in FENCE.finditer(text):
            reason = NOT_RUN.search(text[: match.start()])
            yield Snippet(
                str(page.relative_to(ROOT)),
                text[: match.start()].count("\n") + 1,
                match["language"],
                textwrap.dedent(match["text"]),
                reason[1] if reason else "",
            )


ALL = list(snippets())


def of(*languages):
    chosen = [each for each in ALL if each.language in languages and not each.reason]
    return pytest.mark.parametrize("snippet", chosen, ids=str)


def test_every_snippet_is_of_a_language_that_is_checked_here():
    assert len(ALL) > 100
    known = {"python", "toml", "sh", "console", "json", "http", "yaml", "ini", "promql", "sql", "text"}
    known.add("nginx")  # run by test_behind_nginx.py
    assert {each.language for each in ALL} <= known, [str(each) for each in ALL if not each.language]


# --- Python ---------------------------------------------------------------------------------------


def shop():
    app = flask.Flask("shop")
    app.config["SECRET_KEY"] = "not a secret"
    return app


@pytest.fixture
def mail_server():
    class Taken:
        async def handle_DATA(self, _server, _session, _envelope):
            return "250 taken"

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(Taken(), hostname="127.0.0.1", port=port)
    controller.start()
    yield port
    controller.stop()


@pytest.fixture
def surroundings(request, monkeypatch, tmp_path):  # noqa: C901 - a case for each page
    """`surroundings(snippet)`: the names that its page takes for granted."""
    monkeypatch.chdir(tmp_path)
    made = []

    def database():
        url = request.getfixturevalue("database")
        monkeypatch.setenv("OTEL_RATELIMIT_DATABASE_URL", url)
        return url

    def around(snippet):
        app = shop()
        names = {"app": app}
        match Path(snippet.page).stem:
            case "query-templates":
                exec("from otel_ratelimit.queries import hash_query", names)
            case "cache-analysis" | "analytics":
                database()
            case "nightly-report":
                request.getfixturevalue("record")(database(), datetime(2026, 1, 31, 12, tzinfo=UTC))
            case "functions":
                url = database()
                request.getfixturevalue("record")(url, datetime(2026, 1, 31, 12, tzinfo=UTC))
                made.append(RateLimit(app, database_url=url, shadow=True))
            case "queries":
                made.append(RateLimit(app, database_url=database(), shadow=True))
            case "report-mail":
                (tmp_path / "ratelimit.toml").write_text(
                    next(each.text for each in ALL if each.page == snippet.page and each.language == "toml")
                )
                port = request.getfixturevalue("mail_server")
                monkeypatch.setenv("OTEL_RATELIMIT_SMTP_URL", f"smtp://127.0.0.1:{port}?starttls=never")
            case "identity":
                names["verified_subject"] = lambda token: token or None
            case "api":
                names |= {
                    "RateLimit": RateLimit,
                    "request": flask.request,
                    "current_user": SimpleNamespace(is_authenticated=True, role="operator"),
                }
        return names

    yield around
    for each in made:
        each.close()


@of("python")
def test_python_runs(snippet, surroundings, request):
    if snippet.page.endswith("test-your-limits.md"):
        pytest.skip("its files are put together and run by test_testing_plugin.py")
    names = surroundings(snippet)
    text = snippet.text
    if "postgresql://..." in text:
        text = text.replace("postgresql://...", request.getfixturevalue("database"))
    module = ModuleType("snippet")
    module.__dict__.update(names)
    try:
        app = names["app"]
        with app.app_context():
            exec(compile(text, str(snippet), "exec"), module.__dict__)
        if "otel_ratelimit" not in app.extensions:
            RateLimit(app, api_token="0123456789abcdef", shadow=True, environ={})
        # A page may speak of blueprints by their names.
        for name in re.findall(r"""(?:blueprint == |blueprints\[)["'](\w+)["']""", text):
            assert name in app.blueprints
        assert app.test_client().get("/nothing").status_code == 404
    finally:
        limit = names["app"].extensions.get("otel_ratelimit")
        if limit is not None:
            limit.close()


def test_names_of_blueprints_in_the_text_exist():
    app = shop()
    limit = RateLimit(app, environ={})
    try:
        for page in PAGES:
            for name in re.findall(r"""blueprints?(?:\[| == | \(`)["']?([\w-]+)["'`]""", page.read_text()):
                assert name in app.blueprints, page
    finally:
        limit.close()


# --- configuration --------------------------------------------------------------------------------


@of("toml")
def test_a_policy_is_valid(snippet, tmp_path):
    if snippet.text.startswith("# pyproject.toml"):
        assert tomllib.loads(snippet.text)["tool"]
        return
    path = tmp_path / "ratelimit.toml"
    whole = (
        snippet.text if re.search(r"^version", snippet.text, re.MULTILINE) else "version = 1\n" + snippet.text
    )
    path.write_text(whole)
    load_policy(path)


@of("json")
def test_json_parses(snippet):
    json.loads(snippet.text)


@of("http")
def test_an_answer_parses(snippet):
    head, _, body = snippet.text.partition("\n\n")
    first, *fields = head.splitlines()
    assert re.fullmatch(r"HTTP/1\.1 \d{3} [A-Z ]+", first)
    headers = dict(field.split(": ", 1) for field in fields)
    if "json" in headers["Content-Type"]:
        json.loads(body)


@of("yaml")
def test_yaml_parses(snippet):
    assert yaml.safe_load(snippet.text)


@of("ini")
def test_ini_parses(snippet):
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string(snippet.text)
    assert parser.sections()


@of("promql")
def test_promql_parses(snippet):
    for query in snippet.text.split("\n\n"):
        text = "\n".join(line for line in query.splitlines() if not line.startswith("#")).strip()
        if text:
            promql_parser.parse(re.sub(r"\$__\w+", "5m", text))


@of("sql")
def test_sql_is_understood_by_a_migrated_database(snippet, database):
    statements = [part.strip() for part in snippet.text.split(";") if part.strip()]
    connection = psycopg2.extensions.connection(database)
    try:
        cursor = connection.cursor()
        for role in re.findall(r"(?:ROLE|TO) (app|grafana|reporter)\b", snippet.text):
            cursor.execute(f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role}")
        for statement in statements:
            plain = re.sub(r"--[^\n]*", "", statement).strip()
            if re.match(r"(?i)select|with|insert|update|delete", plain):
                cursor.execute(f"EXPLAIN {plain}")
            else:
                cursor.execute(plain)
    finally:
        connection.rollback()
        connection.close()


# --- commands -------------------------------------------------------------------------------------


def shell_of(snippet):
    """The typed lines: in a `console` block, the lines after the prompt and those that they go on with."""
    if snippet.language == "sh":
        return snippet.text
    typed, goes_on = [], False
    for line in snippet.text.splitlines():
        if line.startswith("$ ") or goes_on:
            typed.append(line.removeprefix("$ "))
            goes_on = line.endswith("\\")
    return "\n".join(typed) + "\n"


def commands(text):
    """Each command with its arguments, comments and redirections left out."""
    waiting = ""
    for line in text.replace("\\\n", " ").splitlines():
        waiting += re.sub(r"(?:^|\s)#.*", "", line) + "\n"
        lexer = shlex.shlex(waiting, posix=True, punctuation_chars=True)
        lexer.whitespace_split, lexer.commenters = True, ""
        try:
            tokens = list(lexer)
        except ValueError:  # a quotation goes on in the next line
            continue
        waiting, command = "", []
        for token in [*tokens, ";"]:
            if set(token) <= set(";|&()<>"):
                if command:
                    yield command
                command = []
            else:
                command.append(token)


@of("sh", "console")
def test_the_shell_understands_it(snippet):
    done = subprocess.run(
        ["bash", "-n"], input=shell_of(snippet), capture_output=True, text=True, timeout=20, check=False
    )
    assert not done.returncode, done.stderr


def stands_before_a_command(word):
    return "=" in word or word in {"export", "opentelemetry-instrument", "$"}


def is_ours(word):
    return Path(word).name == "otel-ratelimit"


@of("sh", "console")
def test_our_commands_have_these_options(snippet):
    for words in commands(shell_of(snippet)):
        command, *arguments = [*itertools.dropwhile(stands_before_a_command, words)] or [""]
        if is_ours(command):
            understand(main, arguments)


def understand(command, arguments):
    """Parse like the command line, without running the command."""
    context = click.Context(command, info_name=command.name)
    while isinstance(command, click.Group):
        name, command, arguments = command.resolve_command(context, arguments)
        context = click.Context(command, parent=context, info_name=name)
    command.parse_args(context, list(arguments))


@of("sh", "console")
def test_variables_targets_and_extras_exist(snippet):
    text = shell_of(snippet)
    for name in re.findall(r"\bOTEL_RATELIMIT_\w+", text):
        assert name in variable_names()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"^make ([a-z-]+)", text, re.MULTILINE):
        assert target in targets
    for extras in re.findall(r"otel-ratelimit\[([\w,]+)\]", text):
        assert set(extras.split(",")) <= set(EXTRAS)


def test_an_unknown_option_would_be_seen():
    with pytest.raises(click.NoSuchOption):
        understand(main, ["routes", "app:app", "--no-such"])
    with pytest.raises(click.UsageError):
        understand(main, ["polcy", "check"])
    found = list(commands('a "b c" && otel-ratelimit x  # d\nexport Y=$(openssl rand -hex 32)\n'))
    assert found[0] == ["a", "b c"]
    assert found[1] == ["otel-ratelimit", "x"]
