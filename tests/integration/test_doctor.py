"""`otel-ratelimit doctor` where something is missing."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from redis import Redis

from otel_ratelimit.cli import main

POLICY = 'version = 1\n[tiers]\ndefault = "5/minute"\n'


@pytest.fixture
def doctor(monkeypatch, tmp_path):
    """`doctor(**environ)`: exit status, and findings by name."""
    monkeypatch.chdir(tmp_path)

    def run(**environ):
        for name in ("DATABASE_URL", "POLICY", "STORAGE_URI", "STORAGE_OPTIONS"):
            monkeypatch.delenv(f"OTEL_RATELIMIT_{name}", raising=False)
        done = CliRunner().invoke(main, ["doctor", "--json"], env=environ)
        said = json.loads(done.stdout)
        assert said["ok"] is (done.exit_code == 0)
        found = {}
        for finding in said["findings"]:
            found.setdefault(finding["check"], []).append(finding)
        return done.exit_code, found

    return run


def wrong(found):
    return {name for name, findings in found.items() if any(each["state"] == "wrong" for each in findings)}


def test_with_nothing_set_nothing_is_wrong(doctor):
    status, found = doctor()
    assert status == 0
    assert found["policy"][0]["state"] == found["database"][0]["state"] == "note"


def test_with_everything_set_all_is_well(doctor, tmp_path, database):
    (tmp_path / "ratelimit.toml").write_text(POLICY)
    status, found = doctor(OTEL_RATELIMIT_DATABASE_URL=database)
    assert status == 0
    assert found["policy"][0]["state"] == found["database"][0]["state"] == "ok"


def test_redis_is_asked(doctor, redis):
    assert doctor(OTEL_RATELIMIT_STORAGE_URI=redis.uri)[0] == 0
    redis.stop()
    status, found = doctor(OTEL_RATELIMIT_STORAGE_URI=redis.uri)
    assert status == 1
    assert wrong(found) == {"storage"}


@pytest.mark.parametrize(
    ("environ", "check", "words"),
    [
        ({"OTEL_METRICS_EXPORTER": "promotheus"}, "metrics", "'promotheus' is not installed"),
        ({"OTEL_TRACES_EXPORTER": "console,zipkin-x"}, "traces", "'zipkin-x' is not installed"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "logs", "not installed"),
        ({"OTEL_RATELIMIT_POLICY": "none.toml"}, "policy", "No such file"),
        ({"OTEL_RATELIMIT_STORAGE_URI": "reddis://h"}, "storage", "names no known store"),
        ({"OTEL_RATELIMIT_DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "database", "cannot connect"),
        ({"OTEL_RATELIMIT_SHADOW": "maybe"}, "settings", "neither true nor false"),
        ({"OTEL_RATELIMIT_POLCY": "x"}, "settings", "did you mean"),
        ({"OTEL_RATELIMIT_TRUSTED_PROXIES": "garbage"}, "settings", "is not a network"),
        ({"OTEL_RATELIMIT_TRUSTED_HOPS": "99"}, "settings", "is not a number of proxies"),
        ({"OTEL_RATELIMIT_PROXY_HEADER": "Forwarded"}, "settings", "has no effect"),
        ({"OTEL_RATELIMIT_REQUIRED": "true"}, "policy", "the application does not start"),
        ({"OTEL_RATELIMIT_STORAGE_OPTIONS": '{"db": 1}'}, "storage", "takes no options"),
    ],
)
def test_what_is_wrong_is_named(doctor, environ, check, words):
    status, found = doctor(**environ)
    assert status == 1
    assert check in wrong(found)
    assert any(words in finding["what"] for finding in found[check]), found[check]


def test_a_database_without_tables_is_wrong(doctor, empty_database):
    status, found = doctor(OTEL_RATELIMIT_DATABASE_URL=empty_database)
    assert status == 1
    assert "otel-ratelimit db upgrade" in found["database"][0]["remedy"]


def test_what_is_switched_off_is_noted(doctor):
    status, found = doctor(
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="flask, otel_ratelimit", OTEL_METRICS_EXPORTER="none"
    )
    assert status == 0
    assert found["instrumentor"][0]["state"] == found["metrics"][0]["state"] == "note"


@pytest.mark.parametrize(
    ("environ", "check", "words"),
    [
        ({"OTEL_TRACES_EXPORTER": ""}, "traces", "no traces are exported"),
        ({"OTEL_LOGS_EXPORTER": " None"}, "logs", "no logs are exported"),
        ({"OTEL_SDK_DISABLED": "True"}, "metrics", "no metrics are exported"),
        ({"OTEL_RATELIMIT_ENABLED": "false"}, "settings", "nothing is limited"),
        ({"OTEL_RATELIMIT_SHADOW": "false"}, "policy", "the built-in policy is enforced"),
        ({"OTEL_RATELIMIT_REQUIRED": "true", "OTEL_RATELIMIT_SHADOW": "true"}, "policy", "only observed"),
    ],
)
def test_what_works_and_may_not_be_meant_is_noted(doctor, environ, check, words):
    status, found = doctor(**environ)
    assert status == 0
    assert [finding["state"] for finding in found[check]] == ["note"]
    assert words in found[check][0]["what"]


def test_a_policy_that_only_observes_is_noted(doctor, tmp_path):
    (tmp_path / "ratelimit.toml").write_text(POLICY)
    _, found = doctor(OTEL_RATELIMIT_SHADOW="true")
    assert found["policy"][0]["state"] == "note"


def test_an_empty_protocol_is_the_default_one(doctor):
    assert doctor(OTEL_EXPORTER_OTLP_PROTOCOL="")[0] == 0


def test_a_working_directory_that_is_gone_is_named(doctor, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert wrong(doctor()[1]) == {"policy"}


def test_the_store_is_asked_with_the_options_of_the_application(doctor, redis):
    Redis.from_url(redis.uri).config_set("requirepass", "geheimnis")
    uri = {"OTEL_RATELIMIT_STORAGE_URI": redis.uri}
    assert doctor(**uri, OTEL_RATELIMIT_STORAGE_OPTIONS='{"password": "geheimnis"}')[0] == 0
    _, found = doctor(**uri, OTEL_RATELIMIT_STORAGE_OPTIONS='{"password": "falsch"}')
    assert "AuthenticationError" in found["storage"][0]["what"]
    _, found = doctor(**uri, OTEL_RATELIMIT_STORAGE_OPTIONS='{"pasword": "geheimnis"}')
    assert found["storage"][0]["remedy"] == "did you mean password?"
    assert "geheimnis" not in json.dumps(found)


def test_no_secret_is_printed(doctor):
    _, found = doctor(
        OTEL_RATELIMIT_STORAGE_URI="redis://:geheimnis@127.0.0.1:1",
        OTEL_RATELIMIT_DATABASE_URL="postgresql://u:geheimnis@127.0.0.1:1/x",
    )
    assert wrong(found) >= {"storage", "database"}
    assert "geheimnis" not in json.dumps(found)
