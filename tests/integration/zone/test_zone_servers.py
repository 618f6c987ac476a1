"""Workers of real servers: gunicorn in several forms, and multiprocessing."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_for

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="workers are known on Linux only"
)

SUPPORT = Path(__file__).parents[2] / "support"
APP = """
import json, os
from pathlib import Path
from zone_heads import SIZE, add_one, check, prepare
from otel_ratelimit.storage.zone.server import ServerZones

zones = ServerZones(lambda: Path(os.environ["ZONES"]))

def app(environ, start_response):
    raise NotImplementedError
"""
OPEN = "found = zones.memory_for_next(SIZE, prepare, check)\n"
CONFIG = """
import fcntl, json, os
from pathlib import Path
import served

if os.environ["FORM"] == "reserved":
    served.zones.reserve()

def post_worker_init(worker):
    with open(os.environ["LINES"], "a") as lines:
        fcntl.flock(lines, fcntl.LOCK_EX)  # one worker at a time counts
        count = served.add_one(served.found.memory)
        lines.write(json.dumps([served.found.origin, str(served.found.path), count]) + "\\n")
"""
FORMS = {
    "files": ([], "server"),
    "reserved": ([], "reserved"),
    "preload": (["--preload"], "own"),
    "daemon": (["--daemon"], "server"),
    "gthread": (["--worker-class", "gthread", "--threads", "2"], "server"),
    "nobody": (["--user", "65534", "--group", "65534"], "server"),
}


@pytest.mark.parametrize("form", FORMS)
def test_all_workers_of_gunicorn_share_also_those_that_come_later(form, shared_folder, tmp_path):
    options, origin = FORMS[form]
    if form == "nobody" and os.geteuid() != 0:
        pytest.skip("only root can become another user")
    folder = shared_folder / "app"
    folder.mkdir()
    (folder / "zones").mkdir()
    (folder / "zones").chmod(0o1777)
    (folder / "lines").touch(0o666)
    (folder / "lines").chmod(0o666)
    # The configuration is read in the master. So the application opens its zone in a module of its own.
    (folder / "served.py").write_text(APP)
    (folder / "opened.py").write_text(f"import served\nfrom served import *\n{OPEN}served.found = found\n")
    (folder / "config.py").write_text(CONFIG)
    pid_file = folder / "pid"
    command = [sys.executable, "-m", "gunicorn", "--workers", "3", "--bind", f"unix:{folder / 'socket'}"]
    server = subprocess.Popen(
        [*command, "--config", folder / "config.py", "--pid", pid_file, *options, "opened:app"],
        env={
            **os.environ,
            "PYTHONPATH": f"{SUPPORT}:{folder}",
            "ZONES": str(folder / "zones"),
            "LINES": str(folder / "lines"),
            "FORM": form,
        },
        cwd=folder,
        stderr=(tmp_path / "log").open("wb"),
    )

    def found():
        return [json.loads(line) for line in (folder / "lines").read_text().splitlines()]

    try:
        wait_for(lambda: len(found()) == 3 and pid_file.exists(), 30)
        master = int(pid_file.read_text())
        os.kill(master, signal.SIGTTIN)  # one worker more
        wait_for(lambda: len(found()) == 4, 30)
        if form != "preload":
            os.kill(master, signal.SIGHUP)  # three new workers replace all
            wait_for(lambda: len(found()) == 7, 30)
        lines = found()
        assert {line[0] for line in lines} == {origin}
        assert len({line[1] for line in lines}) == 1
        assert sorted(line[2] for line in lines) == list(range(1, len(lines) + 1))
        assert len(list((folder / "zones").iterdir())) == (origin == "server")
    finally:
        if pid_file.exists():
            os.kill(int(pid_file.read_text()), signal.SIGTERM)
            wait_for(lambda: not pid_file.exists(), 30)
        server.terminate()
        server.wait(60)


@pytest.mark.parametrize(
    ("method", "origins", "counts"),
    [
        ("fork", {"server"}, [1, 2, 3]),
        ("forkserver", {"server"}, [1, 2, 3]),
        ("spawn", {"own"}, [1, 1, 1]),
    ],
)
def test_workers_of_multiprocessing_share_unless_they_are_started_as_programs(
    shared_folder, program_output, tmp_path, method, origins, counts
):
    (tmp_path / "work.py").write_text(f"""{APP}
def work(_):
    {OPEN}    return found.origin, add_one(found.memory)
""")
    program = """
        import json, multiprocessing, os, sys
        os.environ["ZONES"] = sys.argv[2]
        sys.path.insert(0, sys.argv[3])
        import work
        if __name__ == "__main__":
            context = multiprocessing.get_context(sys.argv[1])
            found = []
            for _ in range(3):
                with context.Pool(1) as pool:
                    found += pool.map(work.work, [0])
            print(json.dumps(found))
    """
    found = program_output(program, method, shared_folder, tmp_path)
    assert {origin for origin, _ in found} == origins
    assert [count for _, count in found] == counts
