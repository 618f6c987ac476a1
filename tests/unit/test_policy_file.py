"""A policy file that changes: what is valid comes into force, anything else leaves what was."""

from __future__ import annotations

import logging
import os

import pytest

from otel_ratelimit.core.errors import PolicyError
from otel_ratelimit.policy import PolicyFile, builtin_policy, load_policy, parse_policy, policy_hash

FIRST = 'version = 1\n[tiers]\ndefault = "5/minute"\n'
SECOND = 'version = 1\n[tiers]\ndefault = "6/minute"\n'


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "ratelimit.toml"
    path.write_text(FIRST)
    return path


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, "otel_ratelimit.policy.policy_file")
    return caplog


def test_a_file_that_cannot_be_used_is_no_policy_file(path):
    path.write_text("version = 2\n")
    with pytest.raises(PolicyError, match=r"ratelimit\.toml:1: version"):
        PolicyFile(path)
    path.unlink()
    with pytest.raises(PolicyError, match="No such file"):
        PolicyFile(path)


def test_a_change_is_seen_and_comes_into_force(path, log):
    file = PolicyFile(path)
    assert not file.changed()
    path.write_text(SECOND + "# longer\n")
    assert file.changed()
    result = file.reload()
    assert (result.outcome, result.problems) == ("reloaded", ())
    assert result.policy_hash == policy_hash(file.policy) == policy_hash(parse_policy(SECOND, "x"))
    assert not file.changed()
    assert log.messages == [f"policy {path} reloaded"]


def test_the_same_text_in_another_file_is_unchanged(path, log):
    file = PolicyFile(path)
    other = path.with_name("other.toml")
    other.write_text(FIRST)
    other.replace(path)
    assert file.changed()
    assert file.reload().outcome == "unchanged"
    assert log.messages == []


def test_another_file_of_the_same_time_is_a_change(path):
    file = PolicyFile(path)
    before = path.stat()
    other = path.with_name("other.toml")
    other.write_text(SECOND)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    assert path.stat().st_size == before.st_size
    assert file.changed()


def test_a_refused_file_leaves_the_policy_and_is_logged_once(path, log):
    file = PolicyFile(path)
    before = file.policy
    path.write_text('version = 1\n[tiers]\ndefault = "6/minuet"\n')
    results = [file.reload() for _ in range(3)]
    assert [result.outcome for result in results] == ["refused"] * 3
    assert results[0].policy_hash == policy_hash(before)
    assert "did you mean 'minute'?" in str(results[0].problems[0])
    assert file.policy is before
    (message,) = log.messages
    assert "the previous one stays in force" in message
    assert f"{path}:3: tiers.default: '6/minuet'" in message


def test_another_mistake_is_logged_again_and_so_is_the_same_after_a_good_file(path, log):
    file = PolicyFile(path)
    bad, worse = "version = 2\n", "version = 3\n"
    for text in (bad, worse, worse, FIRST, worse, SECOND, worse):
        path.write_text(text)
        file.reload()
    refused = [record for record in log.records if record.levelno == logging.ERROR]
    assert len(refused) == 4


def test_a_vanished_file_is_refused_once_and_found_again(path, log):
    file = PolicyFile(path)
    path.unlink()
    assert file.changed()
    assert [file.reload().outcome for _ in range(2)] == ["refused", "refused"]
    assert len(log.messages) == 1
    path.write_text(SECOND)
    assert file.changed()
    assert file.reload().outcome == "reloaded"
    assert file.policy.tiers["default"] == "6/minute"


@pytest.mark.parametrize(
    "content",
    [
        b"\xff",
        b"x = " + b"[" * 5000,
        b"x = " + b"9" * 5000,
        b"#" * 1_000_001,
        b"\0",
        b"[[routes]]\ntier = []\n",
    ],
    ids=["not UTF-8", "deep", "digits", "huge", "NUL", "shape"],
)
def test_no_content_makes_a_reload_raise(path, content):
    file = PolicyFile(path)
    path.write_bytes(content)
    assert file.reload().outcome == "refused"


def test_a_directory_in_the_place_of_the_file_is_refused(path):
    file = PolicyFile(path)
    path.unlink()
    path.mkdir()
    assert file.reload().outcome == "refused"


def test_each_place_knows_where_it_stands(path):
    path.write_text('version = 1\nexempt = [\n  "/a",\n  "/b",\n]\n\n[[clients]]\nmatch = "user:x"\n')
    policy = load_policy(path)
    assert policy.origin("exempt[1]") == "exempt[1] (ratelimit.toml:4)"
    assert policy.origin("clients[0]") == "clients[0] (ratelimit.toml:7)"
    assert policy.origin("routes[0]") == "routes[0]"
    assert builtin_policy().origin("exempt[0]") == "exempt[0]"
