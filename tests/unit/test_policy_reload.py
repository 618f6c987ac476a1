from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

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


@pytest.fixture
def former(no_terminal):
    """The numbers of signals that reach a handler which was there before."""
    called = []
    before = signal.signal(signal.SIGHUP, lambda number, _frame: called.append(number))
    yield called
    signal.signal(signal.SIGHUP, before)


def hang_up():
    os.kill(os.getpid(), signal.SIGHUP)


@pytest.mark.parametrize("first", [0, 1])
def test_two_may_be_closed_in_any_order(file, worker, results, former, first):
    handler = signal.getsignal(signal.SIGHUP)
    both = [PolicyReloader(file, worker, results.append) for _ in range(2)]
    for each in both:
        assert each.listen()
    hang_up()
    for each in both:
        each.look()
    assert outcomes(results) == ["unchanged"] * 2
    assert former == [signal.SIGHUP]
    both.pop(first).close()
    hang_up()
    both[0].look()
    assert outcomes(results) == ["unchanged"] * 3
    both[0].close()
    assert signal.getsignal(signal.SIGHUP) is handler


def test_the_next_hang_up_takes_out_what_another_thread_has_closed(file, worker, results, former):
    handler = signal.getsignal(signal.SIGHUP)
    installed = set()
    for _ in range(3):
        reloader = PolicyReloader(file, worker, results.append)
        assert reloader.listen()
        installed.add(signal.getsignal(signal.SIGHUP))
        thread = threading.Thread(target=reloader.close)
        thread.start()
        thread.join()
    assert len(installed) == 1
    hang_up()
    assert former == [signal.SIGHUP]
    assert signal.getsignal(signal.SIGHUP) is handler
    hang_up()
    assert former == [signal.SIGHUP] * 2


def test_a_handler_that_was_put_above_ours_is_called_and_stays(file, worker, results, former):
    first, second = (PolicyReloader(file, worker, results.append) for _ in range(2))
    first.listen()
    ours, above = signal.getsignal(signal.SIGHUP), []

    def applications(number, frame):
        above.append(number)
        ours(number, frame)

    signal.signal(signal.SIGHUP, applications)
    second.listen()
    hang_up()
    assert above == former == [signal.SIGHUP]
    first.close()
    second.close()
    assert signal.getsignal(signal.SIGHUP) is applications
    hang_up()
    assert above == former == [signal.SIGHUP] * 2


CLOSED_BY_A_THREAD = """
import os, signal, sys, threading
from pathlib import Path
from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.policy import PolicyFile
from otel_ratelimit.runtime.policy_reload import PolicyReloader
signal.signal(signal.SIGHUP, signal.SIG_DFL)
reloader = PolicyReloader(PolicyFile(Path(sys.argv[1])), BackgroundWorker(), print)
assert reloader.listen()
thread = threading.Thread(target=reloader.close)
thread.start()
thread.join()
os.kill(os.getpid(), signal.SIGHUP)
print("goes on", flush=True)
"""


def test_a_hang_up_that_nobody_listens_to_any_more_ends_the_process(file):
    ended = subprocess.run(
        [sys.executable, "-c", CLOSED_BY_A_THREAD, file.path],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (-signal.SIGHUP, b"")
