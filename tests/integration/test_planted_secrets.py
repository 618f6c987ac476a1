"""Secrets in every setting of a whole application, whose servers are away, refuse the login or repeat it."""

from __future__ import annotations

import gc
import json
import logging
import os
import socket
from datetime import UTC, datetime, timedelta

import flask
import pytest
from click.testing import CliRunner
from flask.cli import FlaskGroup
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from psycopg2 import extensions
from shown import ways_to_report, ways_to_show

from otel_ratelimit import RateLimit
from otel_ratelimit.cli import main
from otel_ratelimit.core.errors import DatabaseError, SettingsError, StorageUnavailableError
from otel_ratelimit.core.periods import Period
from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.policy import Cache, parse_policy
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.embedded.supervised_process import Launch
from otel_ratelimit.postgres.migrate import current, upgrade
from otel_ratelimit.postgres.schema_connection import schema_connection
from otel_ratelimit.postgres.schema_page import schema_page
from otel_ratelimit.reports.build_report import build_report

CANARY = "Zq7Canary"
SECRET = "Zq7Canary-of-16-characters"
POLICY = parse_policy('version = 1\n[tiers]\ndefault = "5/minute"\n', "planted.toml")
YESTERDAY = datetime.now(UTC) - timedelta(days=1)
MAX_OBJECTS = 200_000


def planted(storage, database_port):
    return {
        "OTEL_RATELIMIT_STORAGE_URI": storage,
        "OTEL_RATELIMIT_STORAGE_OPTIONS": json.dumps({"client_name": "shop"}),
        "OTEL_RATELIMIT_DATABASE_URL": f"postgresql://me:{SECRET}@127.0.0.1:{database_port}/analytics",
        "OTEL_RATELIMIT_API_TOKEN": f"{SECRET}1,{SECRET}2",
        "OTEL_RATELIMIT_ADMIN_TOKEN": f"{SECRET}3",
        "OTEL_RATELIMIT_HASH_KEY": f"{SECRET}4",
        "OTEL_RATELIMIT_SMTP_URL": f"smtp://me:{SECRET}@127.0.0.1:9",
    }


@pytest.fixture
def closed_port():
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        yield nobody_listens.getsockname()[1]


@pytest.fixture
def environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)

    def plant(variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return plant


@pytest.fixture
def serving(environment, caplog):
    caplog.set_level(logging.DEBUG)
    reader = InMemoryMetricReader()
    made = []

    def serve(variables):
        environment(variables)
        app = flask.Flask("shop")
        app.add_url_rule("/", "index", lambda: "ok")
        rate_limit = RateLimit(app, policy=POLICY, meter_provider=MeterProvider([reader]))
        made.append(rate_limit)
        rate_limit.reader = reader
        return app, rate_limit

    yield serve
    for rate_limit in made:
        rate_limit.close()


def reachable(root):
    """Objects of this package, and those it created, that `root` refers to at any depth."""
    seen, waiting = {}, [root]
    while waiting and len(seen) < MAX_OBJECTS:
        found = waiting.pop()
        if id(found) in seen or isinstance(found, type | str | bytes | int | float):
            continue
        seen[id(found)] = found
        if type(found).__module__.partition(".")[0] not in {"_pytest", "logging", "builtins"} or isinstance(
            found, dict | list | tuple | set
        ):
            waiting += gc.get_referents(found)
    return seen.values()


def is_worth_a_look(found):
    return type(found).__module__.partition(".")[0] in {"otel_ratelimit", "limits", "redis", "flask_limiter"}


def test_nothing_of_a_running_application_shows_a_secret(serving, closed_port, caplog):
    app, rate_limit = serving(planted(f"redis://me:{SECRET}@127.0.0.1:{closed_port}/0", closed_port))
    client = app.test_client()
    assert client.get("/").status_code == 503
    refused = client.get("/api/rate-limit/metrics", headers={"Authorization": f"Bearer {SECRET}3x"})
    answered = client.get("/api/rate-limit/analytics", headers={"Authorization": f"Bearer {SECRET}1"})
    assert (refused.status_code, answered.status_code) == (401, 503)
    rate_limit.analytics.recorder.tick()
    metrics = rate_limit.reader.get_metrics_data().to_json()
    looked_at = [found for found in reachable(rate_limit) if is_worth_a_look(found)]
    assert len(looked_at) > 100
    shown = [f"{type(found)}: {found!r} {found}" for found in looked_at]
    config = CliRunner().invoke(
        FlaskGroup(create_app=lambda: app), ["limiter", "config"], env={"COLUMNS": "500"}
    )
    assert config.exit_code == 0, config.output
    assert f"redis://***@127.0.0.1:{closed_port}/0" in config.output
    assert f"redis://***@127.0.0.1:{closed_port}/0" in caplog.text
    assert "cannot connect to database analytics" in caplog.text
    texts = [*shown, *ways_to_show(rate_limit.settings), metrics, config.output, caplog.text]
    texts += [str(response.headers) + response.get_data(as_text=True) for response in (refused, answered)]
    assert [text[:300] for text in texts if CANARY in text] == []
    rate_limit.close()
    assert CANARY not in caplog.text


@pytest.mark.parametrize(
    "uri",
    [
        f"redis://:{SECRET}/{SECRET}@127.0.0.1:1",
        f"redis://:{SECRET}@127.0.0.1:port",
        f"reddis://:{SECRET}@127.0.0.1",
        f"redis://:{SECRET}@127.0.0.1?socket_timeout={SECRET}",
        f"redis:{SECRET}@127.0.0.1",
    ],
)
@pytest.mark.parametrize("options", ["{}", json.dumps({"password": SECRET, "socket_timeout": 1})])
def test_an_application_that_cannot_start_does_not_say_why_with_a_secret(
    environment, closed_port, uri, options, caplog
):
    environment({**planted(uri, closed_port), "OTEL_RATELIMIT_STORAGE_OPTIONS": options})
    with pytest.raises(SettingsError) as refused:
        RateLimit(flask.Flask("shop"), policy=POLICY)
    assert not [text for text in ways_to_report(refused.value) if CANARY in text]
    assert CANARY not in caplog.text


@pytest.mark.parametrize("family", ["redis", "valkey"])
def test_a_server_that_repeats_the_login_is_not_quoted(serving, running_engine, tmp_path, family, caplog):
    # As servers and proxies do that know no AUTH.
    (tmp_path / "own.conf").write_text('rename-command AUTH ""\n')
    with running_engine("valkey", include=str(tmp_path / "own.conf")) as engine:
        app, rate_limit = serving(planted(f"{family}+unix://me:{SECRET}@{engine.socket}?protocol=2", 1))
        assert app.test_client().get("/").status_code == 503
        window = Window("n|/|60|fixed-window|", 5, 60, Strategy.FIXED_WINDOW, False, "", "")
        with pytest.raises(StorageUnavailableError) as failed:
            rate_limit.api_services(app).store.take([window], "i" * 32, 1, 0.0)
        assert not [text for text in ways_to_report(failed.value) if CANARY in text]
        assert CANARY not in caplog.text
        assert "unknown command" in caplog.text


def test_the_commands_show_no_secret(environment, closed_port, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ratelimit.toml").write_text('version = 1\n[tiers]\ndefault = "5/minute"\n')
    environment(planted(f"redis://me:{SECRET}@127.0.0.1:{closed_port}/0", closed_port))
    commands = [
        ["doctor"],
        ["doctor", "--json"],
        ["policy", "show"],
        ["policy", "check"],
        ["db", "current"],
        ["status", "--url", f"http://127.0.0.1:{closed_port}"],
        ["status", "--url", f"http://me:{SECRET}"],
        ["status", "--url", f"http://me:{SECRET}@127.0.0.1:{closed_port}"],
        ["report", "show"],
        ["report", "run", "--mail"],
    ]
    for command in commands:
        found = CliRunner().invoke(main, command)
        assert found.output, command
        assert CANARY not in found.output + repr(found.exception), command


def test_a_host_that_has_no_address_is_reported_without_the_environment(environment, monkeypatch):
    environment(planted("memory://", 1))

    def unknown(*_):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    # No name server is asked: this one answers as it would.
    monkeypatch.setattr("otel_ratelimit.postgres.host_addresses.addresses_of", unknown)
    database = Database(f"postgresql://me:{SECRET}@nowhere.example/analytics")
    with pytest.raises(DatabaseError, match="cannot be resolved") as refused:
        database.rows("SELECT 1")
    assert not [text for text in ways_to_report(refused.value) if CANARY in text]


def test_a_program_is_launched_without_showing_its_environment(tmp_path):
    launch = Launch(["true"], tmp_path / "log", {"PASSWORD": SECRET}, tmp_path)
    assert CANARY not in repr(launch)


def refused_statement(url):
    with schema_connection(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT nonsense")


@pytest.mark.parametrize("deed", [refused_statement, lambda url: Database(url).rows("SELECT nonsense")])
def test_a_statement_that_is_refused_shows_no_connection_string(postgres, deed):
    url = extensions.make_dsn(postgres.dsn(), password=SECRET, sslpassword=SECRET)
    with pytest.raises(DatabaseError, match="nonsense") as refused:
        deed(Secret(url))
    assert not [text for text in ways_to_report(refused.value) if CANARY in text]


@pytest.mark.parametrize(
    "deed",
    [
        lambda url: Database(url).rows("SELECT 1"),
        upgrade,
        current,
        schema_page,
        lambda url: build_report(
            url, Period(YESTERDAY, YESTERDAY), day=YESTERDAY.date(), zone=UTC, cache=Cache()
        ),
    ],
    ids=["connection", "upgrade", "current", "schema page", "report"],
)
@pytest.mark.parametrize("change", [{"dbname": "nothing_here"}, {"user": "nobody_here"}, {"port": "1"}])
def test_a_server_that_refuses_a_connection_is_quoted_without_the_password(postgres, deed, change):
    url = extensions.make_dsn(postgres.dsn(), **{"password": SECRET, "sslpassword": SECRET, **change})
    with pytest.raises(DatabaseError) as refused:
        deed(Secret(url))
    assert not [text for text in ways_to_report(refused.value) if CANARY in text]
