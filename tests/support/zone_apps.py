"""Applications and commands of servers whose workers share their counters.

Each answer names the worker that gave it, in the header `X-Worker`. A request names its client in `X-Client`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

from otel_ratelimit.storage.zone.zone_files import SHARED_MEMORY

BINARIES: Final = Path(sys.executable).parent
AUTO: Final = (str(BINARIES / "opentelemetry-instrument"),)
GUNICORN: Final = (str(BINARIES / "gunicorn"), "--bind", "127.0.0.1:{port}", "app:app")
UWSGI: Final = (
    str(BINARIES / "uwsgi"),
    *("--http11-socket", "127.0.0.1:{port}", "--module", "app:app", "--virtualenv", sys.prefix),
    *("--master", "--die-on-term", "--need-app", "--disable-logging", "--enable-threads"),
)
WORKERS: Final = 4
_KINDS: Final = {"sync": [], "gthread": ["--threads", "4"], "gevent": []}
_FORKS: Final = ["--py-call-osafterfork"]


def _gunicorn(kind: str, *options: str) -> tuple[Any, ...]:
    return GUNICORN, "--worker-class", kind, *_KINDS[kind], "--workers", str(WORKERS), *options


def _uwsgi(*options: str) -> tuple[Any, ...]:
    return UWSGI, "--processes", str(WORKERS), *options


SERVERS: Final = {
    "sync": _gunicorn("sync"),
    "sync-preload": _gunicorn("sync", "--preload"),
    "gthread": _gunicorn("gthread"),
    "gthread-preload": _gunicorn("gthread", "--preload"),
    "gevent": _gunicorn("gevent"),
    "gevent-preload": _gunicorn("gevent", "--preload"),
    "uwsgi": _uwsgi(*_FORKS),
    "uwsgi-lazy": _uwsgi(*_FORKS, "--lazy-apps"),
    "uwsgi-no-hooks": _uwsgi(),
    "uwsgi-lazy-no-hooks": _uwsgi("--lazy-apps"),
}
"""Servers with so many workers: command and options."""
QUIET: Final = {
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
}
ZERO_CODE: Final = """
import os
import flask

app = flask.Flask(__name__)

@app.get("/many")
@app.get("/few")
@app.get("/health")
def answer():
    return "ok"

@app.after_request
def name_worker(response):
    response.headers["X-Worker"] = str(os.getpid())
    return response
"""
BY_HAND: Final = f"""{ZERO_CODE}
from otel_ratelimit import RateLimit

RateLimit(app)
"""


def policy_of(limit: int, few: int = 10) -> str:
    """A policy: so many requests an hour of a client, and so many of the route `/few`."""
    return f"""
version = 1
key = "header:X-Client"
exempt = ["/health"]
[tiers]
default = "{limit}/hour"
[[routes]]
match = "/few"
limits = "{few}/hour"
"""


def files_of(server: int) -> list[str]:
    """The names of files that the workers of this process share, or have left."""
    return sorted(each.name for each in SHARED_MEMORY.glob(f"otel-ratelimit-*=*-{server}-*"))


def workers_of(server: int) -> list[int]:
    """The process numbers of its children."""
    children = Path(f"/proc/{server}/task/{server}/children").read_text(encoding="ascii")
    return [int(pid) for pid in children.split()]
