"""Files of zones: none where workers inherit their memory, and none that stays beyond the next start."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import waiting
from request_load import ask_each
from variants import quick_first
from waiting import wait_for
from zone_apps import GUNICORN, files_of, workers_of

from otel_ratelimit.storage.zone.zone_files import SHARED_MEMORY

SUPPORT = str(Path(waiting.__file__).parent)
KILLED_SERVER = """
import os, signal, sys
from pathlib import Path
from zone_heads import SIZE, check, prepare
from otel_ratelimit.storage.zone.server import ServerZones

folder, server = Path(sys.argv[1]), os.getpid()
if os.fork():
    signal.pause()
zones = ServerZones(lambda: folder)
memory = zones.memory_for_next(SIZE, prepare, check)
print(len(list(folder.iterdir())), "file", flush=True)
os.kill(server, signal.SIGKILL)
while os.getppid() == server:
    os.sched_yield()
print("ends")
"""
TWO = ("--workers", "2")
SIGNALS = {"a stop": signal.SIGTERM, "an interrupt": signal.SIGINT, "a kill": signal.SIGKILL}


def end(server, number):
    """End the master in this way, and wait until its workers have gone."""
    workers = [psutil.Process(pid) for pid in workers_of(server.process.pid)]
    server.process.send_signal(number)
    server.process.wait(30)
    psutil.wait_procs(workers, timeout=30)


@pytest.mark.parametrize(("way", "ending"), quick_first([("zero-code", "a kill"), ("preload", "a kill")]))
def test_memory_that_workers_inherit_has_no_file(serve, way, ending):
    options = ("--preload",) if way == "preload" else ()
    server = serve(GUNICORN, *TWO, *options, zero_code=way == "zero-code")
    ask_each(server.port, "/many", 2)
    assert files_of(server.process.pid) == []
    end(server, SIGNALS[ending])
    assert files_of(server.process.pid) == []


@pytest.mark.full
@pytest.mark.parametrize("ending", SIGNALS)
def test_the_next_start_removes_the_file_of_a_server_that_has_ended(serve, ending):
    server = serve(GUNICORN, *TWO)
    ask_each(server.port, "/many", 2)
    [name] = files_of(server.process.pid)
    end(server, SIGNALS[ending])
    after = serve(GUNICORN, *TWO)
    assert files_of(server.process.pid) == []
    assert not (SHARED_MEMORY / name).exists()
    assert len(files_of(after.process.pid)) == 1


def test_a_worker_of_a_killed_server_removes_its_file(tmp_path):
    program = [sys.executable, "-c", KILLED_SERVER, str(tmp_path)]
    with subprocess.Popen(
        program, env={**os.environ, "PYTHONPATH": SUPPORT}, stdout=subprocess.PIPE
    ) as server:
        # The worker says so when the file is there, and again when it ends.
        assert server.stdout.read() == b"1 file\nends\n"
    assert server.wait() == -signal.SIGKILL
    wait_for(lambda: not list(tmp_path.iterdir()))


def test_the_file_stays_while_a_single_worker_is_replaced(serve):
    server = serve(GUNICORN, "--workers", "1")
    [worker] = workers_of(server.process.pid)
    [name] = files_of(server.process.pid)
    os.kill(worker, signal.SIGTERM)
    wait_for(lambda: workers_of(server.process.pid) not in ([], [worker]), 30)
    ask_each(server.port, "/many", 1)
    assert files_of(server.process.pid) == [name]
