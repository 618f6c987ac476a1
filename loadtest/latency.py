"""Milliseconds that a cache saves: predicted from the query log, and measured.

    python loadtest/latency.py [--runs 3] [--reads 20000] [--seconds 165]

A real PostgreSQL answers a trace of reads, through psycopg2 with the product's own capture and query log.
Half of the runs log everything, the others a tenth of the keys. At the same time the same trace goes through
cache-aside loops (GET; on a miss the query, and SET with PX) on Redis and Valkey, with two TTLs. Every way
plays the trace in real time, a little later than the way before: other load on the machine affects all of
them, and other questions come between a question and the same question asked in another way.

The times of a lookup and a store are the means of a smaller loop on each engine, which plays another trace at
the same time: key, GET and unpickling; pickling and SET. Measured before, after or alone, these times would
differ, because the load on the machine would. All ways capture and log their queries; cache-aside logs into
another database.

"calls" is the time saved in calls of PostgreSQL and of the cache, which is what the analysis predicts.
"waited" also includes fetching rows, making cursors and the capture itself, which a hit saves too.

Exits with 1 if a prediction is off by more than a tenth of calls.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg2
from cache_aside import MS, CacheAside, Direct, Shop, Spent, Way
from engines import ENGINES, running_engine
from opentelemetry.sdk.metrics import MeterProvider
from shop import Read, drawn, fill

from otel_ratelimit.cache_advice.analyse import analyze_cache_potential
from otel_ratelimit.cache_advice.result import AtTtl
from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.core.cache_assumptions import Assumptions, Engine
from otel_ratelimit.core.periods import Period
from otel_ratelimit.core.settings import Settings
from otel_ratelimit.demo.workspace import workspace
from otel_ratelimit.policy import builtin_policy
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.embedded import THROW_AWAY, EmbeddedPostgres
from otel_ratelimit.postgres.migrate import upgrade
from otel_ratelimit.postgres.query_day import postgres_query_day
from otel_ratelimit.queries.capture_psycopg2 import CaptureTarget, capture, prepare
from otel_ratelimit.queries.execution import QueryObserver
from otel_ratelimit.runtime.recording import RecordingContext, open_queries

TTLS: Final = (10, 60)
RATES: Final = (1.0, 0.1)
PROMISED: Final = 0.1
FIRST_SECONDS: Final = 10.0
"""The log needs at least this long to find the hot keys. Then the next minute is awaited, for its counts."""
PROBE_SHARE: Final = 0.15
"""Reads of the loops that measure a lookup and a store, as a share of the reads of the other loops."""
MARGIN_SECONDS: Final = 2.0
"""Time for ways that are late to finish."""
APART_SECONDS: Final = 0.2
"""Delay of each way behind the one before."""
EDGE_SECONDS: Final = 2.0
"""Time after the start of a minute until the query logs have begun their windows."""
_SETTINGS: Final = {**THROW_AWAY, "random_page_cost": "1.1"}


def play(parts: Sequence[tuple[Sequence[Read], Way]], apart: float = APART_SECONDS) -> float:
    """Let each way answer its reads at their times; returns the longest delay in seconds.

    Args:
        parts: reads, and the way that answers them.
        apart: delay of each part behind the one before, in seconds.
    """
    events = sorted(
        (read.at + number * apart, number, read) for number, (reads, _) in enumerate(parts) for read in reads
    )
    late = 0.0
    begun = time.perf_counter()
    for at, number, read in events:
        early = at - (time.perf_counter() - begun)
        if early > 0.0:
            time.sleep(early)
        late = max(late, -early)
        parts[number][1].answer(read)
    return late


@contextmanager
def query_log(target: CaptureTarget, url: str, rate: float) -> Iterator[QueryObserver]:
    """The product's query log on the database `url`, without a claim to the capture; flushed at the end.

    Args:
        target: the capture of this process.
        url: a database with the product's tables.
        rate: share of keys to keep.
    """
    worker, database = BackgroundWorker(), Database(url)
    context = RecordingContext(
        settings=Settings(query_sample_rate=rate, hash_key="secret of the load test"),
        policy=builtin_policy().analytics,
        worker=worker,
        meter=MeterProvider().get_meter("loadtest"),
        service=lambda: "loadtest",
    )
    found = capture()
    if found is None:
        raise RuntimeError("unsupported psycopg2 build")
    queries = open_queries(found, database, context)
    target.observer = None
    queries.claim()
    observer = target.observer
    target.observer = None
    if observer is None:
        raise RuntimeError("the query log does not take the target")
    queries.log.tick()  # this reads the secret
    worker.ensure_started()
    try:
        yield observer
    finally:
        target.observer = None
        worker.close()
        queries.close()
        database.close()


def capture_of_this_process() -> CaptureTarget:
    """The target to which connections opened from now on report their queries."""
    target = prepare()
    if target is None:
        raise RuntimeError("unsupported psycopg2 build")
    return target


def since(start: float) -> Period:
    """Whole minutes from that Unix time until now; totals are kept by the minute."""
    begin = datetime.fromtimestamp(start // 60 * 60, UTC)
    minutes = (time.time() - begin.timestamp()) // 60 + 1
    return Period(begin, begin + timedelta(minutes=minutes))


def predicted(url: str, period: Period, assumed: Assumptions, ttl: int) -> AtTtl:
    """The prediction of the analysis from a log."""
    with postgres_query_day(url, period) as day:
        [at] = analyze_cache_potential(day, assumed, ttls=(ttl,)).by_ttl
    return at


class Row(NamedTuple):
    """A prediction and the measurement."""

    engine: Engine
    ttl: int
    rate: float
    hit_ratio: float
    """Predicted, like `saved_ms`."""
    measured_hit_ratio: float
    saved_ms: float
    calls_ms: float
    """Measured, like `waited_ms`; see the function `saved_ms`."""
    waited_ms: float

    @property
    def calls_off(self) -> float:
        """Relative excess of the prediction over the saved time of calls."""
        return self.saved_ms / self.calls_ms - 1.0

    @property
    def waited_off(self) -> float:
        """Relative excess of the prediction over the time that the application saved."""
        return self.saved_ms / self.waited_ms - 1.0


def saved_ms(direct: Spent, aside: Spent) -> tuple[float, float]:
    """Milliseconds saved in calls, and in the application's waiting time."""
    return MS * (direct.calls - aside.calls), MS * (direct.whole - aside.whole)


class Run:
    """One run of all ways.

    Args:
        postgres: the server with the shop's database; each log gets its own database.
        clients: the client of each engine.
        number: number of the run.
        rate: share of the keys that are logged.
    """

    def __init__(
        self, postgres: EmbeddedPostgres, clients: Mapping[Engine, Any], number: int, rate: float
    ) -> None:
        self._clients = clients
        self._number = number
        self._rate = rate
        self._log, self._aside_log = (f"log_{number}", f"aside_log_{number}")
        for name in (self._log, self._aside_log):
            postgres.create_database(name, upgrade)
        self._dsn = postgres.dsn

    def rows(self, reads: int, seconds: float) -> list[Row]:
        """Play, predict and compare."""
        capture = capture_of_this_process()
        with (
            closing(psycopg2.connect(self._dsn("shop"))) as connection,
            query_log(capture, self._dsn(self._log), self._rate) as log,
            query_log(capture, self._dsn(self._aside_log), self._rate) as aside_log,
        ):
            connection.autocommit = True
            shop, start = Shop(connection, capture), _next_minute()
            first = start - time.time()
            # The log learns the hot keys, as it does during a day.
            before = drawn(1_000 + self._number, round(reads * first / seconds), first - MARGIN_SECONDS)
            play([(before, Direct(shop, log))])
            time.sleep(max(start + EDGE_SECONDS - time.time(), 0.0))
            direct, aside = Direct(shop, log), self._asides(shop, aside_log, "run:", TTLS)
            probes = self._asides(shop, aside_log, "probe:", TTLS[:1])
            trace = drawn(self._number, reads, seconds)
            other_trace = drawn(2_000 + self._number, round(PROBE_SHARE * reads), seconds)
            late = play(
                [
                    *((trace, way) for way in (direct, *aside.values())),
                    *((other_trace, way) for way in probes.values()),
                ]
            )
        period, spent = since(start), direct.spent
        print(f"run {self._number}: {reads:,} reads in {seconds:.0f} s, {late:.2f} s late at most")
        print(f"  direct {MS * spent.whole:,.0f} ms, of that execute {MS * spent.execute:,.0f}", end="")
        print(f" (as captured {MS * spent.database:,.0f}), fetch {MS * spent.fetch:,.0f}", flush=True)
        return [
            self._compared(engine, ttl, period, spent, way.spent, probes[engine, TTLS[0]].spent)
            for (engine, ttl), way in aside.items()
        ]

    def _asides(
        self, shop: Shop, log: QueryObserver, prefix: str, ttls: Sequence[int]
    ) -> dict[tuple[Engine, int], CacheAside]:
        return {
            (engine, ttl): CacheAside(shop, log, self._clients[engine], ttl, f"{prefix}{self._number}:{ttl}:")
            for engine, ttl in product(ENGINES, ttls)
        }

    def _compared(
        self, engine: Engine, ttl: int, period: Period, direct: Spent, aside: Spent, probe: Spent
    ) -> Row:
        assumed = Assumptions(engine=engine, lookup_ms=probe.lookup_ms, store_ms=probe.store_ms)
        at = predicted(self._dsn(self._log), period, assumed, ttl)
        print(f"  {engine}, {ttl} s: a lookup took {probe.lookup_ms:.3f} ms in the smaller loop,", end=" ")
        print(
            f"{aside.lookup_ms:.3f} in the run; a store {probe.store_ms:.3f}, {aside.store_ms:.3f};", end=" "
        )
        print(f"database {MS * (direct.database - aside.database):,.0f} ms less,", end=" ")
        print(f"predicted {at.database_saved_ms:,.0f}", flush=True)
        ratios = (at.hit_ratio, aside.hits / aside.reads)
        return Row(engine, ttl, self._rate, *ratios, at.latency_saved_ms, *saved_ms(direct, aside))


def _next_minute() -> float:
    """Unix time of the start of the next minute that is at least `FIRST_SECONDS` away."""
    return ((time.time() + FIRST_SECONDS) // 60 + 1) * 60


def _tell(rows: Sequence[Row]) -> None:
    print(
        f"{'':7} {'TTL s':>5} {'log':>5} {'hits %':>7} {'measured':>8}"
        f" {'saved ms':>9} {'calls':>9} {'off %':>6} {'waited':>9} {'off %':>6}"
    )
    for row in rows:
        print(
            f"{row.engine:7} {row.ttl:5} {row.rate:5.0%} {100 * row.hit_ratio:7.2f}"
            f" {100 * row.measured_hit_ratio:8.2f} {row.saved_ms:9,.0f} {row.calls_ms:9,.0f}"
            f" {100 * row.calls_off:+6.1f} {row.waited_ms:9,.0f} {100 * row.waited_off:+6.1f}",
            flush=True,
        )


def main() -> None:
    """Print a row for each engine, TTL, rate and run."""
    options = argparse.ArgumentParser()
    options.add_argument("--runs", type=int, default=3, help="runs with each log")
    options.add_argument("--reads", type=int, default=20_000)
    options.add_argument("--seconds", type=float, default=165.0)
    given = options.parse_args()
    worst = 0.0
    with ExitStack() as stack:
        scratch = stack.enter_context(workspace(Path(tempfile.gettempdir())))
        postgres = EmbeddedPostgres(scratch / "data", scratch, environ=os.environ, settings=_SETTINGS)
        stack.callback(postgres.stop)
        postgres.start()
        postgres.create_database("shop", fill)
        clients: dict[Engine, Any] = {}
        for kind in ENGINES:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            engine = stack.enter_context(running_engine(kind, folder))
            clients[kind] = stack.enter_context(engine.client())
        for number in range(1, 2 * given.runs + 1):
            rate = RATES[number % len(RATES)]
            rows = Run(postgres, clients, number, rate).rows(given.reads, given.seconds)
            _tell(rows)
            worst = max(worst, *(abs(row.calls_off) for row in rows))
    print(f"worst {100 * worst:.1f} % of calls")
    sys.exit(worst > PROMISED)


if __name__ == "__main__":
    main()
