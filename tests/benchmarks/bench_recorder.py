"""Cost of recording: on the request's thread, in the database, and under a flood.

    python tests/benchmarks/bench_recorder.py [--rounds 200] [--batches 1000] [--seconds 30] [--json FILE]

A real PostgreSQL (the wheel's, over a Unix socket, with its commits synchronous and its data synced to
disk); the recorder as the plugin puts it together, its background thread included.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from otel_ratelimit.analytics.records import Batch, Violation
from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.core.counter_store import WindowState
from otel_ratelimit.core.decision import Decision, DecisionKind
from otel_ratelimit.core.identity import Identity
from otel_ratelimit.core.route_plan import KeySpec, RoutePlan, Strategy, Window
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.core.settings import Settings
from otel_ratelimit.demo.workspace import workspace
from otel_ratelimit.policy import builtin_policy
from otel_ratelimit.postgres import Database, PostgresAnalyticsWriter
from otel_ratelimit.postgres.embedded import EmbeddedPostgres
from otel_ratelimit.postgres.migrate import upgrade
from otel_ratelimit.runtime.analytics import Analytics
from otel_ratelimit.runtime.analytics_database import AnalyticsDatabase
from otel_ratelimit.runtime.recording import RecordingContext, join_analytics

PROMISED_RECORD_US = 20.0
PROMISED_INSERT_MS = 5.0
RATE = 10_000
THREADS = 4
CLIENTS = {"1 client": 1, "100 clients": 100, "1,000,000 clients": 1_000_000}
WINDOWS = (
    Window("p", 10, 60, Strategy.FIXED_WINDOW, False, "10 per 1 minute", "10-per-minute"),
    Window("q", 50, 3600, Strategy.FIXED_WINDOW, False, "50 per 1 hour", "50-per-hour"),
)
PLAN = RoutePlan("ai", "POST", "/api/ai", "expensive", False, KeySpec("ip"), WINDOWS, 1, "closed", "")
ALLOWED_STATES = (WindowState(3, 7, 30.0, 0.0), WindowState(9, 41, 900.0, 0.0))
BLOCKED_STATES = (WindowState(10, 0, 30.0, 30.0), WindowState(9, 41, 900.0, 0.0))


def decision(outcome: DecisionKind, client: int, at: float) -> Decision:
    states = BLOCKED_STATES if outcome is DecisionKind.BLOCKED else ALLOWED_STATES
    address = f"10.{client >> 16 & 255}.{client >> 8 & 255}.{client & 255}"
    return Decision(
        outcome, PLAN, WINDOWS, states, Identity("i" + "0" * 32, "ip", address, None), 0, at, 1e-5
    )


@contextmanager
def recording(url: str) -> Iterator[Analytics]:
    worker = BackgroundWorker()
    context = RecordingContext(
        settings=Settings(),
        policy=builtin_policy().analytics,
        worker=worker,
        meter=MeterProvider().get_meter("bench"),
        service=lambda: "bench",
        user_agent=lambda: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
    )
    analytics = join_analytics(AnalyticsDatabase(Secret.of(url), os.environ), context)
    worker.ensure_started()
    try:
        yield analytics
    finally:
        worker.close()
        analytics.close()


def microseconds(call: Callable[[], object], rounds: int, calls: int = 200) -> list[float]:
    """Per call, one figure a round."""
    found = []
    for _ in range(rounds):
        begun = time.perf_counter()
        for _ in range(calls):
            call()
        found.append((time.perf_counter() - begun) / calls * 1e6)
    return found


def measure_record(url: str, rounds: int) -> dict[str, Any]:
    """The sink on the request's thread, below a recorded span; the thread writes meanwhile."""
    tracer = TracerProvider().get_tracer("bench")
    found = {}
    with recording(url) as analytics, tracer.start_as_current_span("request"):
        for outcome in (DecisionKind.ALLOWED, DecisionKind.BLOCKED):
            clients = iter(range(10_000_000))

            def record(outcome: DecisionKind = outcome, clients: Iterator[int] = clients) -> None:
                analytics(decision(outcome, next(clients) % 500, time.time()))

            def prepare(outcome: DecisionKind = outcome, clients: Iterator[int] = clients) -> None:
                decision(outcome, next(clients) % 500, time.time())

            without = statistics.median(microseconds(prepare, rounds))
            each = [figure - without for figure in microseconds(record, rounds)]
            found[outcome.value] = {
                "median_us": statistics.median(each),
                "p95_us": statistics.quantiles(each, n=20)[-1],
            }
    return found


def measure_insert(url: str, batches: int) -> dict[str, Any]:
    database = Database(url)
    writer = PostgresAnalyticsWriter(database, lambda: "bench")
    now = time.time()
    first = Violation(
        now, now, "/api/ai", "POST", "", None, "t", "10 per 1 minute", 10, 60, 10, "curl", "0" * 32, False
    )
    milliseconds = []
    for number in range(batches):
        violations = tuple(replace(first, client=f"10.0.{number % 256}.{n}") for n in range(10))
        begun = time.perf_counter()
        writer.write(Batch(uuid4(), violations, ()))
        milliseconds.append((time.perf_counter() - begun) * 1e3)
    database.close()
    ranked = statistics.quantiles(milliseconds, n=100)
    return {"median_ms": statistics.median(milliseconds), "p99_ms": ranked[98]}


def resident() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


def measure_flood(url: str, clients: int, seconds: float) -> dict[str, Any]:
    """`RATE` violations a second from several threads; then what the database counts."""
    database = Database(url)
    database.rows("TRUNCATE otel_ratelimit.rate_limit_analytics, otel_ratelimit.rate_limit_usage")
    grown: list[int] = []
    with recording(url) as analytics:
        begun = time.monotonic()
        ended: list[float] = []

        def shoot(offset: int) -> None:
            for number in range(offset, int(seconds * RATE), THREADS):
                while (early := begun + number / RATE - time.monotonic()) > 0:
                    time.sleep(early)
                analytics(decision(DecisionKind.BLOCKED, number % clients, time.time()))
            ended.append(time.monotonic())

        threads = [threading.Thread(target=shoot, args=(offset,)) for offset in range(THREADS)]
        for thread in threads:
            thread.start()
        time.sleep(min(5.0, seconds / 3))  # the buffers have filled
        before = resident()
        while any(thread.is_alive() for thread in threads):
            grown.append(resident() - before)
            time.sleep(0.5)
        took = max(ended) - begun
    [(rows, total)] = database.rows("SELECT count(*), sum(n) FROM otel_ratelimit.rate_limit_analytics")
    [(usage,)] = database.rows("SELECT sum(requests) FROM otel_ratelimit.rate_limit_usage")
    database.close()
    sent = int(seconds * RATE)
    return {
        "sent": sent,
        "per_second": sent / took,
        "rows": rows,
        "recorded": int(total),
        "usage": int(usage),
        "dropped": analytics.recorder.state.dropped,
        "grown_bytes": max(grown, default=0),
    }


@contextmanager
def migrated_database() -> Iterator[str]:
    with workspace(Path(tempfile.gettempdir())) as scratch:
        server = EmbeddedPostgres(scratch / "data", scratch, environ=os.environ)
        try:
            server.start()
            upgrade(server.dsn())
            yield server.dsn()
        finally:
            server.stop()


def report(options: argparse.Namespace, figures: dict[str, Any]) -> Iterator[str]:
    """The table's lines as they become known; fills `figures`."""
    with migrated_database() as url:
        yield "| recording, on the request's thread | median µs | p95 of the rounds |"
        yield "|-|-|-|"
        figures["record"] = measure_record(url, options.rounds)
        for outcome, title in (("allowed", "a request that is allowed"), ("blocked", "a violation")):
            found = figures["record"][outcome]
            promised = f" (promised: at most {PROMISED_RECORD_US:.0f})" if outcome == "blocked" else ""
            yield f"| {title}{promised} | {found['median_us']:.1f} | {found['p95_us']:.1f} |"
        insert = figures["insert"] = measure_insert(url, options.batches)
        yield ""
        yield (
            f"insert of a batch of 10, {options.batches:,} times: median {insert['median_ms']:.2f} ms, p99"
            f" {insert['p99_ms']:.2f} ms (promised: median below {PROMISED_INSERT_MS:.0f})"
        )
        yield ""
        title = f"{RATE:,} violations a second for {options.seconds:.0f} s"
        yield f"| {title} | sent | in the database | rows | dropped | memory grew |"
        yield "|-|-|-|-|-|-|"
        for title, clients in CLIENTS.items():
            flood = figures[title] = measure_flood(url, clients, options.seconds)
            counts = f"{flood['sent']:,} | {flood['recorded']:,} | {flood['rows']:,} | {flood['dropped']}"
            reached = f"{flood['per_second']:,.0f}/s reached"
            yield f"| {title} ({reached}) | {counts} | {flood['grown_bytes'] / 1e6:.1f} MB |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--batches", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each flood")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    for line in report(options, figures):
        print(line, flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
