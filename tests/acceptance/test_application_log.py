"""The log of a server, for an operator who sees nothing else."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest
from components import MissingError
from variants import quick_first

from otel_ratelimit.core import names

BINARIES = Path(sys.executable).parent
POLICY = """
version = 1
exempt = ["/health"]
[tiers]
default = "5/minute"
[memory]
cleanup_interval = "200ms"
[analytics]
client_addresses = "masked"
"""
APP = """
import flask
{before}
app = flask.Flask(__name__)
{after}

@app.get("/thing")
def thing():
    return "ok"

@app.get("/health")
def health():
    return "ok"
"""
SET_UP = """
import logging.config
logging.config.dictConfig({
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"app": {"format": "from the app: %(name)s %(levelname)s %(message)s"}},
    "handlers": {"app": {"class": "logging.StreamHandler", "formatter": "app"}},
    "root": {"level": "WARNING", "handlers": ["app"]},
})
"""
SERVERS = {
    "uwsgi": (
        str(BINARIES / "uwsgi"),
        *("--http-socket", "127.0.0.1:{port}", "--module", "app:app", "--master", "--die-on-term"),
        *("--need-app", "--virtualenv", sys.prefix, "--enable-threads", "--py-call-osafterfork"),
    ),
    "waitress": (str(BINARIES / "waitress-serve"), "--listen", "127.0.0.1:{port}", "app:app"),
    "flask": (str(BINARIES / "flask"), "run", "--port", "{port}"),
}


def app(before="", after=""):
    return APP.format(before=before, after=after)


def refuse(server, requests):
    """How many of so many requests are refused."""
    return sum(server.get("/thing")[0] == 429 for _ in range(requests))


def ours(server):
    return [line for line in server.log.splitlines() if "otel_ratelimit." in line]


def refused(server):
    """The counts of the lines about refusals."""
    return [int(n) for n in re.findall(r"refused (\d+) requests? of client 127\.0\.0\.0/24", server.log)]


@pytest.mark.parametrize("preload", quick_first([[], ["--preload"]]), ids=["plain", "preload"])
def test_as_shipped_it_says_who_was_refused_and_how_the_memory_stands(serve, preload):
    server = serve("--workers", "2", *preload, policy=POLICY)
    refusals = refuse(server, 40)
    server.wait_until(lambda: refused(server), "a line about refusals")
    server.wait_until(lambda: "by kind of client: ip" in server.log, "a line about memory with keys")
    refusals += refuse(server, 20)
    server.stop()

    assert sum(refused(server)) == refusals >= 40
    [of_thing] = {line.partition("127.0.0.0/24: ")[2].partition(", trace")[0] for line in ours(server)} - {""}
    assert of_thing == "GET /thing, limit 5 per 1 minute, tier default"
    assert re.search(
        r"\[INFO\] otel_ratelimit\.start: rate limits are enforced: policy .*ratelimit\.toml", server.log
    )
    assert re.search(
        r"\[INFO\] otel_ratelimit\.storage\.health: counter store: counters take \d+ bytes of", server.log
    )
    assert re.search(
        r"cleanup removed \d+ expired counters.*counters take \d+ bytes of 50\.0 MB \(0\.0 %\), \d keys;"
        r" warning from 40\.0 MB, critical from 43\.2 MB; keys by endpoint: thing 1",
        server.log,
    )
    assert not [line for line in ours(server) if "127.0.0.1" in line]
    assert "Traceback" not in server.log


@pytest.mark.parametrize("when", quick_first(["after", "before"]))
def test_an_application_that_sets_logging_up_has_each_line_once_and_at_its_level(serve, when):
    server = serve("--threads", "2", policy=POLICY, app=app(**{when: SET_UP}))
    refusals = refuse(server, 9)
    server.stop()
    lines = [line for line in ours(server) if "refused" in line]
    assert [line.partition(" requests")[0] for line in lines] == [
        f"from the app: otel_ratelimit.refusals WARNING refused {refusals}"
    ]
    at_info = [line for line in ours(server) if "INFO" in line]
    assert not [line for line in at_info if when == "before" or "cleanup removed" in line]


def test_json_and_log_records_have_the_trace_of_a_refused_request(serve, telemetry):
    server = serve(
        "--threads",
        "2",
        policy=POLICY,
        environ={"OTEL_RATELIMIT_LOG_FORMAT": "json", "OTEL_LOGS_EXPORTER": "console"},
    )
    refusals = refuse(server, 9)
    server.stop()
    [line] = [
        json.loads(line)
        for line in server.log.splitlines()
        if line.startswith('{"time"') and "otel_ratelimit.refusals" in line
    ]
    assert (line["level"], line["count"], line["client"]) == ("WARNING", refusals, "127.0.0.0/24")
    blocked = {
        span.trace_id for span in telemetry.spans() if span.attributes.get(names.DECISION) == "blocked"
    }
    assert line["trace_id"] in blocked
    # The console exporter writes each record over many lines.
    record = re.search(r'"body": "refused .*?"trace_id": "0x([0-9a-f]{32})"', server.log, re.DOTALL)
    assert record[1] == line["trace_id"]
    assert server.log.count('"body": "refused') == 1


@pytest.mark.full
@pytest.mark.parametrize("name", SERVERS)
def test_other_servers_show_it_too(serve, name):
    if name == "uwsgi" and not (BINARIES / "uwsgi").exists():
        raise MissingError("uWSGI", "make uwsgi (needs gcc)")
    if name != "uwsgi" and importlib.util.find_spec(name) is None:
        raise MissingError(name, f"pip install {name}")
    server = serve(policy=POLICY, command=SERVERS[name])
    refusals = refuse(server, 9)
    server.wait_until(lambda: sum(refused(server)) == refusals, "a line about refusals")
    server.wait_until(lambda: "by kind of client: ip 1" in server.log, "a line about memory with keys")
    server.stop()
    assert refused(server) == [refusals]
    assert server.log.count("counter store: counters take") == 1


def test_by_hand_without_opentelemetry_instrument_it_is_the_same(serve):
    by_hand = "from otel_ratelimit import RateLimit\nRateLimit(app)"
    server = serve(
        policy=POLICY, app=app(after=by_hand), below=(), environ={"OTEL_RATELIMIT_LOG_LEVEL": "warning"}
    )
    refusals = refuse(server, 9)
    server.stop()
    assert refused(server) == [refusals]
    assert not [line for line in ours(server) if "[INFO]" in line]
