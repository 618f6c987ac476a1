"""Time of the analysis of a day, compared with the time of reading its rows.

    python tests/benchmarks/bench_cache_analysis.py [--rows 10000000] [--repeats 3] [--json FILE]

Promised: ten million rows of `query_logs` in PostgreSQL are read and analysed within 60 s and 512 MiB, the
latter being the most that the analysing process ever held. Every measurement is a process of its own. The
peer reads the same two COPYs over a connection and drops the bytes; what the analysis takes is a multiple of
that.

The day is made by SQL. Nine rows in ten are executions of sampled cold keys, in no order, the key with rank
r coming up in proportion to 1/r. The others are minutes of hot keys, with their buckets; who is hot changes
over the day, so some of the sampled keys are hot at one time and cold at another. Most templates read a table
that is written now and then.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2

from otel_ratelimit.cache_advice.analyse import analyze_cache_potential
from otel_ratelimit.core.periods import Period
from otel_ratelimit.demo.workspace import workspace
from otel_ratelimit.postgres.embedded import EmbeddedPostgres
from otel_ratelimit.postgres.embedded.server import THROW_AWAY
from otel_ratelimit.postgres.migrate import upgrade
from otel_ratelimit.postgres.query_day import postgres_query_day
from otel_ratelimit.postgres.sql_files import statements

PROMISED_SECONDS = 60
PROMISED_BYTES = 512 * 2**20
START = datetime(2026, 3, 28, tzinfo=UTC)
DAY = Period(START, START + timedelta(days=1))
MINUTES = 1_440

DAY_SQL = """
SELECT setseed(0.5);

CREATE TABLE otel_ratelimit.query_logs_20260328 PARTITION OF otel_ratelimit.query_logs
    FOR VALUES FROM ('2026-03-28 00:00Z') TO ('2026-03-29 00:00Z');

-- One key in ten is sampled, and then below a tenth of all: its first 16 bits below 6,553 of 65,536.
CREATE FUNCTION pg_temp.key_of(id bigint) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN id % 10 = 0
        THEN decode(
            lpad(to_hex((hashint8(id) & 2147483647) % 6553), 4, '0') || substr(md5(id::text), 5), 'hex'
        )
        ELSE decode('8' || substr(md5(id::text), 2), 'hex')
    END
$$;

-- Forty templates; a key's is the n-th in proportion to 1/n. The last three write, the one before is
-- volatile.
CREATE TEMP TABLE code AS
SELECT
    n, hashint8(n)::bigint * 4294967296 + n AS hash, n > 37 AS is_write, n = 37 AS volatile,
    CASE WHEN n > 37 THEN 'update' ELSE 'select' END AS op, ARRAY['table_' || n % 12] AS tables
FROM generate_series(1, 40) AS n;
CREATE FUNCTION pg_temp.code_of(id bigint) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT floor(power(41, (hashint8(id + 1) & 1048575) / 1048576.0::double precision))::integer
$$;

INSERT INTO otel_ratelimit.query_logs (
    ts, template_hash, key_hash, n, sample_rate, tier, duration_us, rows, result_bytes, endpoint, trace_id,
    database, op, tables, is_write, in_txn, volatile, status, buckets, process
)
SELECT
    '2026-03-28 00:00Z'::timestamptz + random() * interval '1 day', c.hash, pg_temp.key_of(r.id), 1, 0.1,
    'cold',
    d.us, 1, CASE WHEN d.us >= 1000 OR random() < 0.25 THEN 200 + (hashint8(r.id) & 4095) END,
    '/api/things/<int:id>', md5(r.i::text), 'shop', c.op, c.tables, c.is_write, random() < 0.03, c.volatile,
    CASE WHEN random() < 0.001 THEN '57014' ELSE 'ok' END, NULL, 'host-' || r.i % 4
FROM (
    -- Those of rank below a quarter of the hot ones of a minute are hot all day.
    SELECT i, 10 * floor({hot} / 4.0 * power({cold_rows} * 4.0 / 3.0 / {hot}, random()))::bigint AS id
    FROM generate_series(1, {cold_rows}) AS i
) AS r
JOIN code AS c ON c.n = pg_temp.code_of(r.id)
CROSS JOIN LATERAL (SELECT (120 + 15 * c.n + 400 * -ln(1 - random()))::bigint AS us WHERE r.i > 0) AS d;

-- The key of rank k is executed 2,000 / k^0.9 times a minute; every hour a tenth of them is another one.
INSERT INTO otel_ratelimit.query_logs (
    ts, template_hash, key_hash, n, sample_rate, tier, duration_us, rows, result_bytes, endpoint, trace_id,
    database, op, tables, is_write, in_txn, volatile, status, buckets, process
)
SELECT
    '2026-03-28 00:00Z'::timestamptz + (60 * minute + first) * interval '1 second', c.hash,
    pg_temp.key_of(r.id), b.n, 1, 'hot', 120 + 15 * c.n + 100 * random(), 1,
    CASE WHEN random() < 0.4 THEN 200 + (hashint8(r.id) & 4095) END, '/api/things/<int:id>',
    md5((minute * 10000 + k)::text), 'shop', c.op, c.tables, c.is_write, false, c.volatile, 'ok', b.counts,
    'host-' || k % 4
FROM (
    SELECT
        minute, k, k + CASE WHEN k > {hot} / 3 THEN minute / 60 * {hot} / 10 ELSE 0 END AS id,
        floor(random() * 10)::integer AS first, 2000 / power(k::double precision, 0.9) / 60 AS a_second
    FROM generate_series(0, {minutes} - 1) AS minute, generate_series(1, {hot}) AS k
) AS r
JOIN code AS c ON c.n = pg_temp.code_of(r.id)
CROSS JOIN LATERAL (
    SELECT array_agg(s.n ORDER BY second) AS counts, sum(s.n) AS n
    FROM (
        SELECT
            second,
            -- The first and the last are those of executions.
            greatest(floor(r.a_second + random()), (second IN (0, 59 - first))::integer)::integer AS n
        FROM generate_series(0, 59 - first) AS second
    ) AS s
) AS b;

INSERT INTO otel_ratelimit.query_totals (minute, template_hash, database, n, failed, dropped)
SELECT
    date_trunc('minute', ts), template_hash, database, sum(n / sample_rate)::bigint,
    coalesce(sum(n / sample_rate) FILTER (WHERE status <> 'ok'), 0)::bigint, 0
FROM otel_ratelimit.query_logs
GROUP BY 1, 2, 3;

INSERT INTO otel_ratelimit.query_templates (template_hash, template, operation, tables, first_seen, last_seen)
SELECT hash, 'SELECT * FROM ' || tables[1] || ' WHERE id = ? -- ' || n, op, tables, now(), now() FROM code;

-- Eight of the twelve tables are written, once to 60 times a minute.
INSERT INTO otel_ratelimit.table_writes (minute, database, table_name, op, n)
SELECT
    '2026-03-28 00:00Z'::timestamptz + minute * interval '1 minute', 'shop', 'table_' || n, 'update',
    least(60, 2 ^ n)
FROM generate_series(0, 1439) AS minute, generate_series(0, 7) AS n;
"""


@contextmanager
def server(rows: int) -> Iterator[str]:
    """A database with the day."""
    with workspace(Path(tempfile.gettempdir())) as scratch:
        postgres = EmbeddedPostgres(scratch / "data", scratch, environ=os.environ, settings=THROW_AWAY)
        try:
            postgres.start()
            upgrade(postgres.dsn())
            fill(postgres.dsn(), rows)
            yield postgres.dsn()
        finally:
            postgres.stop()


def fill(url: str, rows: int) -> None:
    hot = max(rows // 10 // MINUTES, 10)
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(DAY_SQL.format(hot=hot, cold_rows=rows - hot * MINUTES, minutes=MINUTES))
        cursor.execute("VACUUM ANALYZE")


# --- one measurement each; run in a process of its own -------------------------------------------


def measure_analysis(url: str) -> dict[str, float]:
    with postgres_query_day(url, DAY) as day:
        found = analyze_cache_potential(day)
    return {"rows": found.sample.rows, "executions": found.executions, "hot_keys": found.sample.hot_keys}


def measure_reading(url: str) -> dict[str, float]:
    """The same two COPYs, and nothing else."""
    sql = statements("query_day")
    asked = {"start": DAY.start, "end": DAY.end, "databases": ["shop"]}
    read = {}
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        for name in ("hot", "cold"):
            with Path(os.devnull).open("wb") as nowhere:
                cursor.copy_expert(cursor.mogrify(sql[name], asked), nowhere)
            read[f"{name}_rows"] = cursor.rowcount
    return read


MEASUREMENTS = {"analysis": measure_analysis, "reading": measure_reading}


def measured(name: str, url: str) -> dict[str, float]:
    begun = time.perf_counter()
    found = MEASUREMENTS[name](url)
    took = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {**found, "seconds": took, "processor_seconds": time.process_time(), "peak_bytes": peak}


# --- all of them, and the table -------------------------------------------------------------------


def run(name: str, url: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", json.dumps([name, url])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(url: str, repeats: int) -> dict[str, Any]:
    """Both in turn."""
    both = [(run("reading", url), run("analysis", url)) for _ in range(repeats)]
    return {
        "rows": both[0][1]["rows"],
        "hot_keys": both[0][1]["hot_keys"],
        "executions": both[0][1]["executions"],
        "reading_seconds": [reading["seconds"] for reading, _ in both],
        "seconds": [analysis["seconds"] for _, analysis in both],
        "processor_seconds": [analysis["processor_seconds"] for _, analysis in both],
        "peak_bytes": [analysis["peak_bytes"] for _, analysis in both],
        "ratio": [analysis["seconds"] / reading["seconds"] for reading, analysis in both],
    }


def report(figures: dict[str, Any], rows: int) -> Iterator[str]:
    repeats = len(figures["seconds"])
    yield f"| {rows:,} rows, {repeats} times | median | lowest to highest | promised of 10,000,000 |"
    yield "|-|-|-|-|"
    yield f"| reading them and dropping the bytes | {_spread(figures['reading_seconds'], 1)} s | |"
    seconds = _spread(figures["seconds"], 1)
    yield f"| reading and analysing them | {seconds} s | at most {PROMISED_SECONDS} s |"
    yield f"| ... as a multiple of reading | {_spread(figures['ratio'], 2)} | |"
    processor = _spread(figures["processor_seconds"], 1)
    yield f"| ... processor time of the analysing process | {processor} s | |"
    peak = [peak / 2**20 for peak in figures["peak_bytes"]]
    yield f"| ... and its peak memory | {_spread(peak, 0)} MiB | at most {PROMISED_BYTES >> 20} MiB |"
    if figures["rows"] != rows:
        raise SystemExit(f"{figures['rows']:,} rows were analysed, of {rows:,} that were made")


def _spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} | {min(values):.{digits}f} to {max(values):.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(*json.loads(options.measure))))
        return
    with server(options.rows) as url:
        figures = measure(url, options.repeats)
    for line in report(figures, options.rows):
        print(line, flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
