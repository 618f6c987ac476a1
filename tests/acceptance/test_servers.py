"""Each server that docs/how-to/servers.md names: limits hold, metrics and rows arrive, it stops in time.

`CELLS` is that page's table, which a test compares.
"""

from __future__ import annotations

import importlib.util
import re
import socket
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
from components import MissingError

from otel_ratelimit.core import names
from otel_ratelimit.postgres import Database

pytestmark = pytest.mark.full

PAGE = Path(__file__).parents[2] / "docs/how-to/servers.md"
BINARIES = Path(sys.executable).parent
STOP_SECONDS = 15.0

POLICY = """
version = 1
exempt = ["/health"]
[tiers]
default = "3/minute"
[analytics]
flush_interval = "1s"
"""
APP = """
import flask, sys

app = flask.Flask(__name__)

@app.get("/thing")
def thing():
    return "ok"

@app.get("/health")
def health():
    return "ok"

if __name__ == "__main__":
    import flask_socketio
    mode, port = sys.argv[1:]
    socketio = flask_socketio.SocketIO(app, async_mode=mode)
    options = {"allow_unsafe_werkzeug": True} if mode == "threading" else {}
    socketio.run(app, port=int(port), **options)
"""
PATCHED = {
    "gevent": "from gevent import monkey\nmonkey.patch_all()\n",
    "eventlet": "import eventlet\neventlet.monkey_patch()\n",
}
GUNICORN = (str(BINARIES / "gunicorn"), "--bind", "127.0.0.1:{port}")
UWSGI = (
    str(BINARIES / "uwsgi"),
    *("--http-socket", "127.0.0.1:{port}", "--module", "app:app", "--master", "--die-on-term", "--need-app"),
    *("--virtualenv", sys.prefix),
)
FLASK = (str(BINARIES / "flask"), "run", "--port", "{port}")
SOCKETIO = (sys.executable, "app.py")


@dataclass(frozen=True)
class Cell:
    """One way to serve. What does not work there is said in the log at start: `says`."""

    name: str
    """The name in the page's table."""
    command: tuple[str, ...]
    needs: str = ""
    patch: str = ""
    metrics: bool = True
    stops: bool = True
    says: str = ""
    is_recycled: bool = False

    @property
    def forks_late(self) -> bool:
        return "--preload" in self.command


def gunicorn(kind: str, *options: str, threads: tuple[str, ...] = ()) -> Cell:
    name = " ".join(["gunicorn", f"`-k {kind}`", *(f"`{option}`" for option in options)])
    arguments = tuple(part for option in options for part in option.split())
    return Cell(
        name.replace("--max-requests 20", "--max-requests"),
        (*GUNICORN, "-k", kind, *threads, *arguments, "app:app"),
        needs="gevent" if kind == "gevent" else "",
        is_recycled="--max-requests 20" in options,
    )


def uwsgi(*options: str, **expected) -> Cell:
    name = " ".join(["uWSGI", *(f"`{option}`" for option in options)])
    return Cell(name, (*UWSGI, *(f"--{option}" for option in options)), needs="uwsgi", **expected)


OTHER_FORK = {
    "metrics": False,
    "says": "uWSGI forks workers without Python's fork hooks",
    # OpenTelemetry waits for a thread that the fork has left behind.
    "stops": False,
}


KINDS = {"sync": (), "gthread": ("--threads", "4"), "gevent": ()}
CELLS = [
    *(
        gunicorn(kind, *options, threads=threads)
        for kind, threads in KINDS.items()
        for options in ([], ["--preload"], ["--max-requests 20"], ["--preload", "--max-requests 20"])
    ),
    uwsgi("py-call-osafterfork", "enable-threads", "lazy-apps"),
    uwsgi("py-call-osafterfork", "enable-threads"),
    uwsgi("py-call-osafterfork", "lazy-apps"),
    uwsgi("py-call-osafterfork"),
    uwsgi("enable-threads", "lazy-apps", **OTHER_FORK),
    uwsgi("enable-threads", **OTHER_FORK),
    Cell(
        "waitress", (str(BINARIES / "waitress-serve"), "--listen", "127.0.0.1:{port}", "app:app"), "waitress"
    ),
    Cell("`flask run`", FLASK),
    Cell("`flask run --debug`", (*FLASK, "--debug")),
    Cell("Flask-SocketIO `threading`", (*SOCKETIO, "threading", "{port}"), "flask_socketio"),
    Cell("Flask-SocketIO `gevent`", (*SOCKETIO, "gevent", "{port}"), "flask_socketio", "gevent"),
    Cell("Flask-SocketIO `eventlet`", (*SOCKETIO, "eventlet", "{port}"), "flask_socketio", "eventlet"),
]


def needed(module: str) -> None:
    if module == "uwsgi":
        if not (BINARIES / module).exists():
            raise MissingError("uWSGI", "make uwsgi (needs gcc)")
    elif importlib.util.find_spec(module) is None:
        raise MissingError(module, f"pip install {re.sub('[._]', '-', module)}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def rows(database):
    reader = Database(database)

    def by_decision():
        return dict(
            reader.rows(
                "SELECT decision, sum(requests)::int FROM otel_ratelimit.rate_limit_usage"
                " WHERE endpoint = '/thing' GROUP BY decision"
            )
        )

    yield by_decision
    reader.close()


def by_decision(telemetry):
    totals = {}
    for point in telemetry.points(names.REQUESTS):
        if point.attributes["http.route"] == "/thing":
            decision = point.attributes[names.DECISION]
            totals[decision] = totals.get(decision, 0) + point.value
    return totals


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: re.sub(r"[^\w-]+", "-", cell.name).strip("-"))
def test_limits_hold_metrics_and_rows_arrive_and_it_stops(serve, telemetry, database, rows, cell):
    for module in filter(None, (cell.needs, cell.patch)):
        needed(module)
    server = serve(
        policy=POLICY,
        app=PATCHED.get(cell.patch, "") + APP,
        command=cell.command,
        environ={
            "OTEL_RATELIMIT_DATABASE_URL": database,
            "OTEL_METRIC_EXPORT_INTERVAL": "60000" if cell.forks_late else "500",
        },
    )
    assert [server.get("/thing")[0] for _ in range(5)] == [200] * 3 + [429] * 2
    expected = {"allowed": 3, "blocked": 2}
    if cell.is_recycled:
        before = server.workers()
        for _ in range(20):
            server.get("/health")
        server.wait_until(lambda: server.workers() and server.workers() != before, "another worker")
        # gunicorn loses a SIGTERM that comes before its worker has set up signals.
        server.wait_until_ready()
    server.wait_until(lambda: rows() == expected, "rows", 15.0)
    if cell.metrics and not cell.forks_late:
        server.wait_until(lambda: by_decision(telemetry) == expected, "metrics", 15.0)
    assert cell.says in server.log
    if not cell.stops:
        server.kill()
        return
    asked = time.monotonic()
    server.stop()
    assert time.monotonic() - asked < STOP_SECONDS
    if cell.metrics:
        assert by_decision(telemetry) == expected
    assert "otel_ratelimit/" not in server.log, "a traceback through our code"


def test_below_gunicorn_the_exporter_for_prometheus_is_refused_in_the_log(serve):
    needed("opentelemetry.exporter.prometheus")
    environ = {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT": str(free_port())}
    for preload in ([], ["--preload"]):
        server = serve(*preload, policy=POLICY, app=APP, environ=environ)
        assert [server.get("/thing")[0] for _ in range(5)] == [200] * 3 + [429] * 2
        assert server.log.count("OTEL_METRICS_EXPORTER=prometheus exports no metrics") == 1
        server.stop()


def test_in_one_process_the_exporter_for_prometheus_works(serve):
    needed("opentelemetry.exporter.prometheus")
    port = free_port()
    environ = {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT": str(port)}
    server = serve(policy=POLICY, app=APP, environ=environ, command=FLASK)
    server.get("/thing")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert b"otel_ratelimit_requests" in answer.read()
    assert "prometheus exports no metrics" not in server.log


def test_the_page_has_a_row_for_each_cell():
    table = PAGE.read_text().split("\n## Which servers\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| (.+?) \| (\w+) \| (\w+) \| (\w+) \| (\w+) \|", table, flags=re.MULTILINE)
    told = {name: answers for name, *answers in rows if name != "server"}
    expected = {
        cell.name: ["yes", "yes" if cell.metrics else "no", "yes", "yes" if cell.stops else "late"]
        for cell in CELLS
    }
    assert told == expected
