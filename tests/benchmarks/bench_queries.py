"""Cost of the capture of queries, in addition to OpenTelemetry's span of psycopg2.

    python tests/benchmarks/bench_queries.py [--rounds 200] [--calls 100] [--json FILE]

One query with a parameter over a Unix socket, with the span only and with the capture, call by call in turn,
so that a machine that is busy is busy for both: what the capture adds is the median of the differences. The
key is sampled out, or recorded; within a request of Flask, where the query is counted for its route too, or
outside of one. Every trace is sampled. The query log is the plugin's own: its background thread writes to the
same PostgreSQL meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from itertools import cycle
from pathlib import Path
from typing import Any

import flask
import psycopg2
from opentelemetry.instrumentation.psycopg2 import Psycopg2Instrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.core.settings import Settings
from otel_ratelimit.demo.workspace import workspace
from otel_ratelimit.policy import builtin_policy
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.embedded import EmbeddedPostgres
from otel_ratelimit.postgres.migrate import upgrade
from otel_ratelimit.queries.capture_psycopg2 import capture, prepare, remove
from otel_ratelimit.queries.execution_key import ExecutionKeys
from otel_ratelimit.runtime.recording import RecordingContext, open_queries

PROMISED_US = {"sampled out": 5.0, "recorded": 15.0}
QUERY = "SELECT id, name, state, owner FROM jobs WHERE id = %s"
JOBS = 10_000
ROUNDS_A_LOG = 20
IDS = cycle(range(1, JOBS + 1))


@contextmanager
def server() -> Iterator[str]:
    with workspace(Path(tempfile.gettempdir())) as scratch:
        postgres = EmbeddedPostgres(scratch / "data", scratch, environ=os.environ)
        try:
            postgres.start()
            upgrade(postgres.dsn())
            with closing(psycopg2.connect(postgres.dsn())) as connection, connection.cursor() as cursor:
                cursor.execute(
                    "CREATE TABLE jobs (id integer PRIMARY KEY, name text, state text, owner text)"
                )
                cursor.execute(
                    "INSERT INTO jobs SELECT i, 'job ' || i, 'open', 'owner ' || i % 100"
                    f" FROM generate_series(1, {JOBS}) AS i"
                )
                connection.commit()
            yield postgres.dsn()
        finally:
            postgres.stop()


@contextmanager
def query_log(url: str, rate: float) -> Iterator[None]:
    """The plugin's query log, keeping `rate` of the keys and no hot ones."""
    worker, database = BackgroundWorker(), Database(url)
    context = RecordingContext(
        settings=Settings(query_sample_rate=rate, hash_key="secret of the benchmark"),
        policy=builtin_policy().analytics,
        worker=worker,
        meter=MeterProvider().get_meter("bench"),
        service=lambda: "bench",
    )
    queries = open_queries(capture(), database, context)
    queries.claim()
    queries.log.tick()  # which learns the secret
    worker.ensure_started()
    try:
        yield
    finally:
        worker.close()
        queries.close()
        database.close()


def timed(cursor: Any, number: int) -> float:
    """Microseconds of a call of `execute`."""
    begun = time.perf_counter_ns()
    cursor.execute(QUERY, (number,))
    return (time.perf_counter_ns() - begun) / 1e3


def pairs(span_only: Any, captured: Any, calls: int) -> list[tuple[float, float]]:
    """The same queries with the span only and captured, either first in turn."""
    found = []
    for turn in range(calls):
        number = next(IDS)
        if turn % 2:
            first = timed(span_only, number)
            found.append((first, timed(captured, number)))
        else:
            second = timed(captured, number)
            found.append((timed(span_only, number), second))
    return found


def measure(url: str, rounds: int, calls: int) -> dict[str, Any]:
    """The ways in turn."""
    instrumentor = Psycopg2Instrumentor()
    instrumentor.instrument(tracer_provider=TracerProvider(), skip_dep_check=True)
    prepare()
    # One connection for all: where the server's process happens to run makes more of a difference than we do.
    connection = psycopg2.connect(url)
    connection.autocommit = True
    span_only, captured = connection.cursor_factory(connection), connection.cursor()
    request = flask.Flask(__name__).test_request_context("/")
    places: dict[str, Callable[[], AbstractContextManager[Any]]] = {
        "": nullcontext,
        ", in a request": lambda: request,
    }
    found: dict[str, list[list[tuple[float, float]]]] = {}
    try:
        for _ in range(max(rounds // ROUNDS_A_LOG, 1)):
            for what, rate in (("sampled out", 0.0), ("recorded", 1.0)):
                for place, entered in places.items():
                    with query_log(url, rate), entered():
                        pairs(span_only, captured, calls)
                        found.setdefault(what + place, []).extend(
                            pairs(span_only, captured, calls) for _ in range(ROUNDS_A_LOG)
                        )
    finally:
        instrumentor.uninstrument()
        remove()
        connection.close()
    return {way: summary(rounds_of) for way, rounds_of in found.items()}


def summary(rounds: list[list[tuple[float, float]]]) -> dict[str, float]:
    span, captured = (
        sorted(both) for both in zip(*(pair for calls in rounds for pair in calls), strict=True)
    )
    medians = [statistics.median(with_it - without for without, with_it in calls) for calls in rounds]
    low, middle, high = statistics.quantiles(medians, n=4)
    late = int(len(span) * 0.99)
    return {
        "span_us": statistics.median(span),
        "captured_us": statistics.median(captured),
        "added_us": middle,
        "low_us": low,
        "high_us": high,
        "span_p99_us": span[late],
        "captured_p99_us": captured[late],
    }


def report(figures: dict[str, Any]) -> Iterator[str]:
    yield "| a query | span, p50 µs | captured | added | middle half of rounds | promised | p99: the same |"
    yield "|-|-|-|-|-|-|-|"
    for way, found in figures.items():
        promised = PROMISED_US[way.partition(",")[0]]
        late = found["span_p99_us"], found["captured_p99_us"]
        yield (
            f"| {way} | {found['span_us']:.1f} | {found['captured_us']:.1f} | {found['added_us']:.1f}"
            f" | {found['low_us']:.1f} to {found['high_us']:.1f} | at most {promised:.0f}"
            f" | {late[0]:.1f}, {late[1]:.1f}, {late[1] - late[0]:.1f} |"
        )


def collisions(executions: int) -> tuple[int, float]:
    """Keys that two different executions share, and microseconds a key."""
    keys = ExecutionKeys(b"secret of the benchmark")
    contexts = [f"shop\0role {number}".encode() for number in range(10)]
    # By their first byte, so that memory holds the bytes alone.
    found = [bytearray() for _ in range(256)]
    begun = time.perf_counter()
    for number in range(executions):
        key = keys.key(contexts[number % 10], b"SELECT * FROM jobs WHERE id = %d" % (number // 10))
        found[key[0]] += key
    took = time.perf_counter() - begun
    unique = sum(len({bytes(part[at : at + 16]) for at in range(0, len(part), 16)}) for part in found)
    return executions - unique, took / executions * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--executions", type=int, default=10_000_000, help="to look for collisions among")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    with server() as url:
        figures = measure(url, options.rounds, options.calls)
    for line in report(figures):
        print(line, flush=True)
    found, each = collisions(options.executions)
    figures["keys"] = {"executions": options.executions, "collisions": found, "us": each}
    print(f"\n{options.executions:,} different executions: {found} collisions of keys; {each:.2f} µs a key")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
