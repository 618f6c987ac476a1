"""Where memory cannot be shared: it is said once by each process, and counters are in the process.

With an explicit `shared-memory://` the application does not start there.
"""

import os
import re
import subprocess
import sys

import pytest
from components import MissingError, program
from request_load import ask_each, send
from zone_apps import BY_HAND, GUNICORN, policy_of

LIMIT, WORKERS = 10, 2
TINY = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"', "sh")
COUNTS_ALONE = "each process counts in its own memory, so with N workers a client may have N times each limit"
SEVERAL = f"{WORKERS} worker processes each count for themselves, so a client may have {WORKERS} times each"
REQUESTS = "\nclient = app.test_client()\nprint([client.get('/many').status_code for _ in range(12)])\n"
SMALL_ADDRESS_SPACE = """
import resource
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 20_000_000, -1))
"""
NO_FCNTL = """
sys.modules["fcntl"] = None
"""
NO_UNIX = """
import mmap, os
for name in ("fcntl", "resource"):
    sys.modules[name] = None
del mmap.MAP_ANONYMOUS, os.geteuid
"""
FORKED = """
import os
if os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""
IMPORTED = "import otel_ratelimit.runtime.rate_limit, sys\n"


@pytest.fixture
def tiny_dev_shm():
    """Starts a server where /dev/shm has one megabyte."""
    for name, package in (("unshare", "util-linux"), ("mount", "mount")):
        program(name, package)
    if subprocess.run([*TINY, "true"], capture_output=True, check=False).returncode:
        raise MissingError("the right to mount", "run the tests as root")
    return {"below": TINY}


def allowed(server):
    answers = [send(server.port, "/many", 4 * LIMIT), ask_each(server.port, "/many", WORKERS)]
    return sum(each.status(200) for each in answers)


def our_lines(log):
    return re.findall(r"\[(?:WARNING|ERROR|CRITICAL)\] otel_ratelimit\.(?!refusals).*", log)


@pytest.mark.parametrize("way", ["zero-code", "preload"])
def test_workers_that_inherit_their_memory_need_no_room_in_dev_shm(serve, tiny_dev_shm, way):
    options = ["--preload"] if way == "preload" else []
    server = serve(
        GUNICORN, "--workers", str(WORKERS), *options, zero_code=way == "zero-code", **tiny_dev_shm
    )
    assert allowed(server) == LIMIT
    assert "50.0 MB, shared by the 2 workers of this server)" in server.log
    assert "own memory" not in server.log


def test_other_workers_say_once_each_why_they_count_alone(serve, tiny_dev_shm):
    server = serve(GUNICORN, "--workers", str(WORKERS), **tiny_dev_shm)
    assert LIMIT < allowed(server) <= WORKERS * LIMIT
    assert server.log.count(COUNTS_ALONE) == WORKERS
    assert (
        "50.0 MB are needed, and 1.0 MB are free; choose a smaller capacity, or make /dev/shm" in server.log
    )
    assert server.log.count(SEVERAL) == WORKERS
    assert "counters in bounded-memory:// (this process alone)" in server.log
    assert "Traceback" not in server.log


def test_a_smaller_capacity_fits_and_is_shared(serve, tiny_dev_shm):
    policy = policy_of(LIMIT) + '[memory]\ncapacity = "1MB"\nwarning = "0.5MB"\ncritical = "0.8MB"\n'
    server = serve(GUNICORN, "--workers", str(WORKERS), policy=policy, **tiny_dev_shm)
    assert allowed(server) == LIMIT
    assert "1.0 MB, shared by the 2 workers" in server.log


def test_a_server_that_was_told_to_share_does_not_start_without(serve, tiny_dev_shm):
    environ = {"OTEL_RATELIMIT_STORAGE_URI": "shared-memory://shop?capacity=20MB"}
    policy = policy_of(LIMIT).replace("version = 1", 'version = 1\nstrategy = "moving-window"')
    server = serve(GUNICORN, environ=environ, policy=policy, ready=False, **tiny_dev_shm)
    assert server.process.wait(60) != 0
    assert "OTEL_RATELIMIT_STORAGE_URI: shared-memory://" in server.log
    assert "20.0 MB are needed, and 1.0 MB are free" in server.log
    # All that is wrong is said at once.
    assert "cannot count by strategy 'moving-window'" in server.log
    assert "use fixed-window or" in server.log


def run(tmp_path, text, **environ):
    (tmp_path / "ratelimit.toml").write_text(policy_of(LIMIT))
    return subprocess.run(
        [sys.executable, "-c", text],
        env={**os.environ, **environ},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


LACKING = {
    "a small address space": (SMALL_ADDRESS_SPACE, "the system refuses 50.0 MB of address space"),
    "no Unix": (NO_UNIX, "this system has none for forked processes; use Linux or macOS"),
    "no Unix in a worker": (NO_UNIX + FORKED, "this system has no files of one user; use Linux or macOS"),
    "no fcntl in a worker": (NO_FCNTL + FORKED, "this system cannot lock files; use Linux or macOS"),
}


@pytest.mark.parametrize("lacking", LACKING)
def test_where_the_system_gives_no_memory_one_line_says_so(tmp_path, lacking):
    setup, why = LACKING[lacking]
    done = run(tmp_path, f"{IMPORTED}{setup}{BY_HAND}{REQUESTS}")
    assert done.stdout == f"{[200] * LIMIT + [429] * 2}\n", done.stderr
    [line] = our_lines(done.stderr)
    assert COUNTS_ALONE in line
    assert why in line


@pytest.mark.full
@pytest.mark.parametrize("uri", ["shared-memory://", "shared-memory://servers-test?capacity=60MB"])
@pytest.mark.parametrize("lacking", LACKING)
def test_where_the_system_gives_no_memory_an_explicit_zone_is_refused(tmp_path, lacking, uri):
    setup, _ = LACKING[lacking]
    done = run(tmp_path, f"{IMPORTED}{setup}{BY_HAND}{REQUESTS}", OTEL_RATELIMIT_STORAGE_URI=uri)
    assert done.returncode != 0
    assert re.search(r"SettingsError: OTEL_RATELIMIT_STORAGE_URI: shared-memory://.*: .*; \w+", done.stderr)
    assert done.stderr.count("Traceback") == 1
    if lacking == "a small address space":
        assert "address space" in done.stderr
