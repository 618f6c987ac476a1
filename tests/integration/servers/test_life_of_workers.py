"""Workers of gunicorn come and go, and are killed: counters stay as long as their server lives."""

import contextlib
import os
import random
import signal

import psutil
import pytest
from request_load import Answers, ask_each, send
from variants import quick_first
from zone_apps import GUNICORN, policy_of, workers_of

LIMIT = 200
POLICY = policy_of(LIMIT)
BOTH = pytest.mark.parametrize("way", quick_first(["by hand", "zero-code"]))
FULL = pytest.mark.full


def allowed_in_all(*all_answers: Answers) -> int:
    assert sum(answers.lost for answers in all_answers) == 0
    return sum(answers.status(200) for answers in all_answers)


@pytest.mark.parametrize(("way", "kills"), quick_first([("by hand", 3), ("by hand", 40), ("zero-code", 40)]))
def test_a_killed_worker_loses_one_count_at_most(serve, way, kills):
    server = serve(GUNICORN, "--workers", "4", zero_code=way == "zero-code", policy=POLICY)
    ask_each(server.port, "/health", 4)
    chance = random.Random(19)
    moments = sorted(chance.sample(range(LIMIT - 20), kills), reverse=True)

    def kill_some(answers: Answers) -> None:
        while moments and answers.status(200) >= moments[-1]:
            moments.pop()
            with contextlib.suppress(ProcessLookupError, IndexError):
                os.kill(chance.choice(workers_of(server.process.pid)), signal.SIGKILL)

    first = send(server.port, "/many", 3 * LIMIT, connections=6, seen=kill_some)
    last = ask_each(server.port, "/many", 4)
    assert not moments
    assert last.status(200) == 0
    # A count of a worker may be lost with its answer: the client has got nothing for it.
    assert LIMIT - kills <= first.status(200) <= LIMIT


@pytest.mark.parametrize(("way", "workers"), quick_first([("by hand", 1), ("by hand", 2), ("zero-code", 1)]))
def test_counters_outlive_workers_that_are_recycled(serve, way, workers):
    options = ("--workers", str(workers), "--max-requests", str(LIMIT // 2))
    server = serve(GUNICORN, *options, zero_code=way == "zero-code", policy=POLICY)
    before = set(workers_of(server.process.pid))
    answers = send(server.port, "/many", LIMIT + 50, connections=2)
    assert allowed_in_all(answers) == LIMIT
    assert answers.workers - before


@BOTH
def test_counters_outlive_workers_that_sighup_replaces(serve, way):
    server = serve(GUNICORN, "--workers", "2", zero_code=way == "zero-code", policy=POLICY)
    before = ask_each(server.port, "/many", 2)
    server.process.send_signal(signal.SIGHUP)

    def are_replaced():
        now = set(workers_of(server.process.pid))
        return len(now) == 2 and not now & before.workers

    server.wait_until(are_replaced, "new workers")
    after = ask_each(server.port, "/many", 2)
    rest = send(server.port, "/many", LIMIT + 100)
    assert not after.workers & before.workers
    assert allowed_in_all(before, after, rest) == LIMIT


@FULL
@BOTH
def test_workers_that_are_added_share_and_those_that_go_take_nothing_with_them(serve, way):
    server = serve(GUNICORN, "--workers", "1", zero_code=way == "zero-code", policy=POLICY)
    answers = [send(server.port, "/many", 100)]
    server.process.send_signal(signal.SIGTTIN)
    answers.append(ask_each(server.port, "/many", 2))
    server.process.send_signal(signal.SIGTTOU)
    server.wait_until(lambda: len(workers_of(server.process.pid)) == 1, "one worker less")
    answers.append(send(server.port, "/many", LIMIT))
    assert allowed_in_all(*answers) == LIMIT


@FULL
@BOTH
def test_a_new_master_counts_for_itself_and_the_old_one_goes_on(serve, way):
    server = serve(GUNICORN, "--workers", "2", "--pid", "pid", zero_code=way == "zero-code", policy=POLICY)
    old = set(workers_of(server.process.pid))
    first = send(server.port, "/many", 100)
    server.process.send_signal(signal.SIGUSR2)
    new_master = server.wait_until(lambda: set(workers_of(server.process.pid)) - old, "a new master").pop()
    try:
        server.wait_until(lambda: len(workers_of(new_master)) == 2, "workers of the new master")
        # Old and new workers answer on one socket.
        then = ask_each(server.port, "/many", 4)
        rest = send(server.port, "/many", 4 * LIMIT)
        last = ask_each(server.port, "/many", 4)
        assert allowed_in_all(first, then, rest, last) == 2 * LIMIT
        of_old = sum(each.by_worker[worker, 200] for each in (first, then, rest, last) for worker in old)
        assert of_old == LIMIT
    finally:
        process = psutil.Process(new_master)
        process.terminate()
        process.wait(30)


@BOTH
def test_a_stopped_worker_stalls_nobody(serve, way):
    server = serve(GUNICORN, "--workers", "3", zero_code=way == "zero-code", policy=POLICY)
    ask_each(server.port, "/health", 3)
    stopped = psutil.Process(workers_of(server.process.pid)[0])
    stopped.suspend()  # it waits for a request, so it does not hold the lock
    try:
        server.wait_until(lambda: stopped.status() == psutil.STATUS_STOPPED, "a stop")
        answers = send(server.port, "/many", LIMIT + 100, connections=2)
        assert allowed_in_all(answers) == LIMIT
        assert stopped.pid not in answers.workers
    finally:
        stopped.resume()
