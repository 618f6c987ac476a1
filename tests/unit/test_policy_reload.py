from __future__ import annotations

import os
import signal

import pytest

from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.policy import PolicyFile
from otel_ratelimit.runtime.policy_reload import PolicyReloader

POLICY = 'version = 1\n[tiers]\ndefault = "{}"\n'


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "ratelimit.toml"
    path.write_text(POLICY.format("5/minute"))
    return PolicyFile(path)


@pytest.fixture
def worker():
    worker = BackgroundWorker()
    yield worker
    worker.close()


@pytest.fixture
def results():
    return []


@pytest.fixture
def reloader(file, worker, results):
    reloader = PolicyReloader(file, worker, results.append)
    yield reloader
    reloader.close()


@pytest.fixture
def no_terminal(monkeypatch):
    monkeypatch.setattr("os.isatty", lambda _: False)


def outcomes(results):
    return [result.outcome for result in results]


def test_an_unchanged_file_is_not_read_again(reloader, results):
    reloader.look()
    assert results == []


def test_a_changed_file_is_reloaded_once(reloader, file, results):
    file.path.write_text(POLICY.format("50/minute"))
    reloader.look()
    reloader.look()
    assert outcomes(results) == ["reloaded"]
    assert file.policy.tiers["default"] == "50/minute"


def test_a_file_that_is_not_valid_leaves_the_policy(reloader, file, results):
    file.path.write_text("version = 3\n")
    reloader.look()
    assert outcomes(results) == ["refused"]
    assert file.policy.tiers["default"] == "5/minute"


def test_a_vanished_file_leaves_the_policy(reloader, file, results):
    file.path.unlink()
    reloader.look()
    reloader.look()
    assert outcomes(results) == ["refused"]
    assert file.policy.tiers["default"] == "5/minute"


def test_no_thread_is_started_before_it_is_needed(reloader, worker):
    assert not worker.alive


def test_hang_up_reloads_at_once_even_an_unchanged_file(reloader, results, no_terminal):
    assert reloader.listen()
    os.kill(os.getpid(), signal.SIGHUP)
    reloader.look()
    assert outcomes(results) == ["unchanged"]


def test_a_handler_that_was_there_is_called_too_and_put_back(reloader, no_terminal):
    called = []

    def former(number, frame):
        called.append(number)

    before = signal.signal(signal.SIGHUP, former)
    try:
        reloader.listen()
        os.kill(os.getpid(), signal.SIGHUP)
        assert called == [signal.SIGHUP]
        reloader.close()
        assert signal.getsignal(signal.SIGHUP) is former
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_process_on_a_terminal_keeps_its_hang_up(reloader, monkeypatch):
    monkeypatch.setattr("os.isatty", lambda _: True)
    before = signal.getsignal(signal.SIGHUP)
    assert not reloader.listen()
    assert signal.getsignal(signal.SIGHUP) == before
