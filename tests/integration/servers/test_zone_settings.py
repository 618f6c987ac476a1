"""`shared-memory://` in the settings: what `doctor`, `policy check`, the start and a reload say about it."""

import json
import secrets

import flask
import pytest
from click.testing import CliRunner

from otel_ratelimit import RateLimit
from otel_ratelimit.cli import main
from otel_ratelimit.core.errors import SettingsError
from otel_ratelimit.policy import ReloadResult
from otel_ratelimit.runtime.policy_reload import apply_reload
from otel_ratelimit.storage.zone.zone_files import MODE, named_path, zone_folder

URI = "OTEL_RATELIMIT_STORAGE_URI"
FIXED = 'version = 1\n[tiers]\ndefault = "5/minute"\n'
MOVING = 'version = 1\nstrategy = "moving-window"\n[tiers]\ndefault = "5/minute"\n'
CANNOT = "shared-memory:// cannot count by strategy 'moving-window'; use fixed-window or"
COUNTS_ALONE = "with N workers a client may have N times each limit"


@pytest.fixture
def name():
    """The name of a zone; its file is removed after the test."""
    made = f"test-{secrets.token_hex(4)}"
    yield made
    named_path(zone_folder(), made).unlink(missing_ok=True)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """`run(*arguments, uri=None, policy=FIXED)`: exit status, and what the command printed."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments, uri=None, policy=FIXED):
        (tmp_path / "ratelimit.toml").write_text(policy)
        done = CliRunner().invoke(main, arguments, env={URI: uri})
        assert done.exception is None or isinstance(done.exception, SystemExit), done.output
        return done.exit_code, done.output

    return invoke


def storage_findings(run, **given):
    _, output = run("doctor", "--json", **given)
    return [each for each in json.loads(output)["findings"] if each["check"] == "storage"]


def test_doctor_finds_the_memory_and_makes_no_zone(run, name):
    path = named_path(zone_folder(), name)
    [found] = storage_findings(run, uri=f"shared-memory://{name}?capacity=2MB")
    assert found["state"] == "ok"
    assert f"{path} can be made, 2.0 MB" in found["what"]
    assert not path.exists()
    assert [each["state"] for each in storage_findings(run)] == ["ok"]


def test_doctor_does_not_replace_a_zone_in_use(run, name):
    uri = f"shared-memory://{name}?capacity=2MB"
    app = flask.Flask(__name__)
    with_limits = RateLimit(app, policy=None, storage_uri=uri, environ={})
    path = named_path(zone_folder(), name)
    before = path.stat().st_ino
    [found] = storage_findings(run, uri=uri)
    assert (found["state"], f"{path} is there" in found["what"]) == ("ok", True)
    [found] = storage_findings(run, uri=f"shared-memory://{name}?capacity=3MB")
    assert (found["state"], "will be replaced by the next process" in found["what"]) == ("note", True)
    assert "the same capacity" in found["remedy"]
    assert path.stat().st_ino == before
    with_limits.close()


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        (
            "shared-memory://a/b?capacity=x&lock=y&z=1",
            ["no name of a zone", "capacity", "lock", "unknown option"],
        ),
        ("shared-memory://shop?capacity=500000GB", ["are needed"]),
    ],
)
def test_doctor_says_all_that_is_wrong_with_a_uri(run, uri, words):
    findings = storage_findings(run, uri=uri)
    assert {each["state"] for each in findings} == {"wrong"}
    said = json.dumps(findings)
    assert [word for word in words if word not in said] == []


def test_doctor_refuses_a_file_that_others_may_open(run, name):
    path = named_path(zone_folder(), name)
    path.touch()
    path.chmod(0o666)
    [found] = storage_findings(run, uri=f"shared-memory://{name}")
    assert found["state"] == "wrong"
    assert f"its permissions are 0666, and {MODE:04o} are needed" in found["what"]
    assert path.stat().st_size == 0


@pytest.mark.parametrize("uri", ["shared-memory://", "shared-memory://shop", "memcached://127.0.0.1:1"])
def test_a_policy_that_the_store_cannot_count_is_refused_by_policy_check_and_by_doctor(run, uri):
    scheme = uri.partition(":")[0]
    policy = MOVING if scheme == "shared-memory" else MOVING.replace("moving-window", "token-bucket")
    status, said = run("policy", "check", uri=uri, policy=policy)
    assert status == 1
    assert f"{URI}: {scheme}:// cannot count by strategy" in said
    assert "in the policy, or another store" in said
    findings = storage_findings(run, uri=uri, policy=policy)
    assert any("cannot count by strategy" in each["what"] for each in findings if each["state"] == "wrong")
    status, said = run("policy", "check", uri=uri)
    assert (status, said.count("\n")) == (0, 1)


def test_policy_check_says_what_is_wrong_with_the_uri(run):
    status, said = run("policy", "check", uri="shared-memory://shop?capacity=x&size=1")
    assert status == 1
    assert "2 problems found" in said


def test_with_no_uri_moving_windows_are_accepted_and_what_follows_is_said(run, caplog):
    status, said = run("policy", "check", policy=MOVING)
    assert status == 0
    assert "note: " in said
    assert COUNTS_ALONE in said
    [found] = storage_findings(run, policy=MOVING)
    assert (found["state"], COUNTS_ALONE in found["what"]) == ("note", True)
    RateLimit(environ={}, policy="ratelimit.toml").close()
    [line] = [each for each in caplog.messages if COUNTS_ALONE in each]
    assert "the policy counts by moving-window" in line


def test_at_start_an_explicit_zone_refuses_moving_windows(run, name):
    run("policy", "check", policy=MOVING)
    with pytest.raises(SettingsError, match=CANNOT):
        RateLimit(environ={URI: f"shared-memory://{name}?capacity=2MB"}, policy="ratelimit.toml")


def test_a_reload_to_moving_windows_is_refused_and_the_former_policy_stays(run, caplog):
    run("policy", "check")
    app = flask.Flask(__name__)
    app.get("/")(lambda: "ok")
    rate_limit = RateLimit(app, environ={}, policy="ratelimit.toml")
    client = app.test_client()
    assert [client.get("/").status_code for _ in range(3)] == [200] * 3
    run("policy", "check", policy=MOVING)
    parts = rate_limit._opened()
    result = parts.policy.file.reload()
    assert isinstance(result, ReloadResult)
    apply_reload(parts, [app], result)
    [line] = [each for each in caplog.messages if "the changed policy is refused" in each]
    assert CANNOT in line
    assert [client.get("/").status_code for _ in range(3)] == [200, 200, 429]
    rate_limit.close()
