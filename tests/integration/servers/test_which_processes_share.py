"""Who shares counters: the workers of one server, and no others."""

import os
import signal
import sys

import psutil
import pytest
from request_load import ask_each, send
from variants import quick_first
from waiting import wait_for
from zone_apps import BINARIES, BY_HAND, GUNICORN, ZERO_CODE, files_of, workers_of

from otel_ratelimit.demo.ports import quiet_ports

LIMIT = 10
TWO = ("--workers", "2")
WAYS = quick_first(["by hand", "zero-code"])
BOTH = pytest.mark.parametrize("way", WAYS)
PYTHON = (sys.executable, "app.py", "{port}")
FLASK = (str(BINARIES / "flask"), "run", "--port", "{port}")
RUN = """
import sys

if __name__ == "__main__":
    app.run(port=int(sys.argv[1]))
"""
FORKED = """
import os, signal, socket, sys
from werkzeug.serving import make_server

listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))

def serve():
    from app import app

    server = make_server("127.0.0.1", 0, app, fd=listening.fileno())
    server.serve_forever()

if os.environ["MADE_IN"] == "parent":
    import app
if __name__ == "__main__":
    import multiprocessing

    context = multiprocessing.get_context("fork")
    children = [context.Process(target=serve, daemon=True) for _ in range(2)]
    for child in children:
        child.start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    signal.pause()
"""
TWO_APPS = """
import os
import flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from otel_ratelimit import RateLimit

def make():
    made = flask.Flask(__name__)

    @made.get("/many")
    @made.get("/health")
    def answer():
        return "ok"

    @made.after_request
    def name_worker(response):
        response.headers["X-Worker"] = str(os.getpid())
        return response

    RateLimit(made)
    return made

app = DispatcherMiddleware(make(), {"/second": make()} if os.environ["SECOND_IN"] == "module" else {})
"""
POST_FORK = """
def post_fork(server, worker):
    import app
    app.app.mounts["/second"] = app.make()
"""
EVERYTHING_IMPORTED = """
# Another user may not be allowed to read the interpreter's files.
import contextlib, importlib, json, subprocess, sys

SERVE = '''
import json, sys
import app
app.app.test_client().get("/many")
print(json.dumps([name for name in sys.modules if name not in ("app", "__main__")]))
'''
for name in json.loads(subprocess.check_output([sys.executable, "-c", SERVE])):
    with contextlib.suppress(Exception):
        importlib.import_module(name)
"""
SUPERVISOR = """
import signal, subprocess, sys

ports, *command = sys.argv[1:]
children = [subprocess.Popen([*command, "--bind", f"127.0.0.1:{port}"]) for port in ports.split(",")]

def stop(*_):
    for child in children:
        child.terminate()

signal.signal(signal.SIGTERM, stop)
for child in children:
    child.wait()
"""


def allowed(port, workers=1, path="/many", client="one"):
    """How many requests pass, when each worker was asked."""
    answers = [send(port, path, 2 * LIMIT, [client]), ask_each(port, path, workers, client)]
    assert sum(each.lost for each in answers) == 0
    return sum(each.status(200) for each in answers)


@BOTH
def test_two_servers_of_one_user_count_for_themselves(serve, way):
    servers = [serve(GUNICORN, *TWO, zero_code=way == "zero-code") for _ in range(2)]
    assert [allowed(server.port, 2) for server in servers] == [LIMIT, LIMIT]


@pytest.mark.full
@BOTH
def test_two_programs_of_one_shell_count_for_themselves(serve, way):
    [port] = quiet_ports(1)
    app = (ZERO_CODE if way == "zero-code" else BY_HAND) + RUN
    both = f"{sys.executable} app.py {port} & exec {sys.executable} app.py {{port}}"
    server = serve(("sh", "-c", both), zero_code=way == "zero-code", app=app)
    other = psutil.Process(server.process.pid).children()[0]
    try:
        ask_each(port, "/health", 1)
        assert [allowed(server.port), allowed(port)] == [LIMIT, LIMIT]
    finally:
        other.terminate()


@pytest.mark.full
@pytest.mark.parametrize("options", [(), ("--debug",)])
@BOTH
def test_below_flask_run_the_process_that_serves_counts(serve, way, options):
    server = serve(FLASK, *options, zero_code=way == "zero-code")
    assert allowed(server.port) == LIMIT
    assert files_of(server.process.pid) == []


@pytest.mark.parametrize("made_in", quick_first(["child", "parent"]))
def test_forked_processes_share_wherever_the_application_is_made(serve, made_in):
    environ = {"MADE_IN": made_in, "FORKED": FORKED}
    program = "import os; exec(os.environ['FORKED'])"
    server = serve((sys.executable, "-c", program, "{port}"), environ=environ)
    assert allowed(server.port, 2) == LIMIT


@pytest.mark.full
@BOTH
def test_workers_of_a_daemon_share(serve, way, tmp_path):
    pid_file = tmp_path / "pid"
    options = (*TWO, "--daemon", "--pid", str(pid_file))
    server = serve(GUNICORN, *options, zero_code=way == "zero-code", ready=False)
    assert server.process.wait(60) == 0
    master = wait_for(lambda: pid_file.exists() and int(pid_file.read_text() or 0), 30)
    try:
        assert allowed(server.port, 2) == LIMIT
    finally:
        os.kill(master, signal.SIGTERM)
        wait_for(lambda: not psutil.pid_exists(master), 30)


@pytest.mark.full
@pytest.mark.parametrize("way", ["by hand", "zero-code", "preload"])
def test_workers_that_drop_their_privileges_share_and_other_users_do_not(serve, way):
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    options = (*TWO, *(["--preload"] if way == "preload" else []))
    as_nobody = ("--user", "65534", "--group", "65534", "-c", "imports.py")
    zero_code, files = way == "zero-code", {"imports.py": EVERYTHING_IMPORTED}
    nobody = serve(GUNICORN, *options, *as_nobody, zero_code=zero_code, files=files)
    root = serve(GUNICORN, *options, zero_code=zero_code)
    assert [allowed(server.port, 2) for server in (nobody, root)] == [LIMIT, LIMIT]
    if way == "by hand":
        [name] = files_of(nobody.process.pid)
        assert name.startswith("otel-ratelimit-65534-")


@pytest.mark.parametrize("second_in", quick_first(["module", "post_fork"]))
def test_each_of_two_rate_limits_is_shared_by_the_workers_and_not_with_the_other(serve, second_in):
    in_module = second_in == "module"
    options = TWO if in_module else (*TWO, "--preload", "--config", "gunicorn_hooks.py")
    server = serve(
        GUNICORN,
        *options,
        app=TWO_APPS,
        environ={"SECOND_IN": second_in},
        files={"gunicorn_hooks.py": POST_FORK},
    )
    assert allowed(server.port, 2, "/many") == LIMIT
    assert allowed(server.port, 2, "/second/many") == LIMIT
    assert len(files_of(server.process.pid)) == (2 if in_module else 1)


@pytest.mark.full
@BOTH
def test_servers_of_one_supervisor_count_for_themselves(serve, way):
    ports = quiet_ports(2)
    listed = ",".join(map(str, ports))
    program = (sys.executable, "supervisor.py", listed, GUNICORN[0], "app:app", *TWO)
    server = serve(program, zero_code=way == "zero-code", files={"supervisor.py": SUPERVISOR}, ready=False)
    for port in ports:
        wait_for(lambda port=port: answers(port), 60)
    assert [allowed(port, 2) for port in ports] == [LIMIT, LIMIT]
    assert len(workers_of(server.process.pid)) == 2


def answers(port):
    return send(port, "/health", 1).status(200)
