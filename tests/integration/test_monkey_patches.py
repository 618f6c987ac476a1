"""gevent's and eventlet's patches of the standard library, at every moment: nothing blocks."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import textwrap

import pytest
from variants import quick_first

from otel_ratelimit.postgres import Database

ORDERS = ["first", "after-import", "after-application", "in-fork"]
SCRIPT = """
import json, os, sys
kind, order, url = sys.argv[1:]

def patch():
    if kind == "gevent":
        from gevent import monkey
        monkey.patch_all()
    else:
        import eventlet
        eventlet.monkey_patch()

if order == "first":
    patch()
import flask
from otel_ratelimit import RateLimit
from otel_ratelimit.runtime.instrumentor import RateLimitInstrumentor
RateLimitInstrumentor().instrument(skip_dep_check=True)
if order == "after-import":
    patch()
app = flask.Flask("sample")
app.add_url_rule("/thing", "thing", lambda: "ok")
if order == "after-application":
    patch()
if order == "in-fork":
    child = os.fork()
    if child:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    patch()
    if kind == "gevent":
        from gevent import hub
        hub.reinit()
import threading, time

statuses = []

def ask():
    statuses.append(app.test_client().get("/thing").status_code)

threads = [threading.Thread(target=ask) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
rate_limit = app.extensions["otel_ratelimit"]
# Both at once: on the background thread, and here.
written, ended = [], time.monotonic() + 20
recorder = rate_limit.analytics.recorder
others = [threading.Thread(target=lambda: written.append(recorder.flush())) for _ in range(3)]
for thread in others:
    rate_limit._parts.worker.wake("analytics")
    thread.start()
while any(thread.is_alive() for thread in others):
    time.sleep(0.01)  # lets others run
    assert time.monotonic() < ended, "a flush hangs"
print(json.dumps({"statuses": sorted(statuses), "written": written}), flush=True)
rate_limit.close()
if order == "in-fork":
    os._exit(0)
"""
POLICY = """
version = 1
[tiers]
default = "4/minute"
[analytics]
flush_interval = "1s"
"""


@pytest.mark.parametrize("order", quick_first(ORDERS))
@pytest.mark.parametrize("kind", ["gevent", "eventlet"])
def test_whenever_the_library_is_patched_limits_hold_and_rows_are_written(database, tmp_path, kind, order):
    if importlib.util.find_spec(kind) is None:
        pytest.skip(f"{kind} is not installed: pip install {kind}")
    (tmp_path / "ratelimit.toml").write_text(textwrap.dedent(POLICY))
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script, kind, order, database],
        cwd=tmp_path,
        env={
            "PATH": "/usr/bin:/bin",
            "OTEL_RATELIMIT_DATABASE_URL": database,
            "PYTHONWARNINGS": "ignore",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["statuses"] == [200] * 4 + [429] * 2
    assert found["written"] == [True] * 3
    reader = Database(database)
    try:
        rows = reader.rows(
            "SELECT decision, sum(requests)::int FROM otel_ratelimit.rate_limit_usage GROUP BY decision"
        )
    finally:
        reader.close()
    assert dict(rows) == {"allowed": 4, "blocked": 2}


FORK = """
import os, sys
kind, moment = sys.argv[1:]
if kind == "gevent":
    from gevent import monkey
    monkey.patch_all()
else:
    import eventlet
    eventlet.monkey_patch()
import threading, time
from otel_ratelimit.core.background import BackgroundWorker

runs = []

def until(condition):
    ended = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ended, "a task does not run"
        time.sleep(0.01)

def task():
    runs.append(os.getpid())
    if moment == "within-a-task":
        time.sleep(0.02)

def forked(generation):
    worker.every(3600, "woken", lambda: runs.append("woken"))
    if moment != "before-the-thread":
        until(lambda: runs)
    child = os.fork()
    if child:
        # Its loop must not take what wakes the parent's.
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            runs.clear()
            worker.wake("woken")
            until(lambda: "woken" in runs)
            time.sleep(0.01)
        return
    runs.clear()
    worker.ensure_started()
    until(lambda: len(runs) > 20)
    worker.wake("woken")
    until(lambda: "woken" in runs)
    assert set(runs) == {os.getpid(), "woken"}
    if generation == 1 and kind == "gevent":
        forked(2)
    print("child", generation, len(os.listdir("/proc/self/fd")), flush=True)
    os._exit(0)

worker = BackgroundWorker()
worker.every(0.01, "task", task, start=moment != "before-the-thread")
forked(1)
"""


@pytest.mark.parametrize("moment", quick_first(["while-it-waits", "within-a-task", "before-the-thread"]))
@pytest.mark.parametrize("kind", ["gevent", "eventlet"])
def test_a_child_of_a_fork_has_one_loop_and_ends_that_of_its_parent_in_silence(kind, moment):
    if importlib.util.find_spec(kind) is None:
        pytest.skip(f"{kind} is not installed: pip install {kind}")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, kind, moment],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    found = [line.split() for line in done.stdout.splitlines()]
    # Below eventlet a child shares its parent's epoll until it calls `eventlet.hubs.use_hub()`.
    generations = ["2", "1"] if kind == "gevent" else ["1"]
    assert [line[:2] for line in found] == [["child", generation] for generation in generations]
