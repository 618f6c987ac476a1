"""Gain of an index on the hashes of `query_logs` for lookups, and its cost for the writer.

    python tests/benchmarks/bench_query_log_indexes.py [--rows 10000000] [--rounds 40] [--folder /var/tmp]

The rows are those of ten days, a partition each, in the order in which they would have arrived: 400
templates, the n-th in proportion to 1/n, and keys likewise. Asked for are a rare template, the most frequent
one and a rare key, without a further index and with each that might do. For the cost, each partition has
another index, the writer writes batches of a thousand rows to all of them in turn, and the median counts.
WAL is what the server has to write to disk, and what goes to a replica.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg2

from otel_ratelimit.demo.workspace import workspace
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.embedded import EmbeddedPostgres
from otel_ratelimit.postgres.migrate import upgrade
from otel_ratelimit.postgres.query_writer import PostgresQueryWriter
from otel_ratelimit.queries.records import QueryBatch, QueryRow, QueryTemplate

DAYS: Final = 10
BATCH_ROWS: Final = 1_000
TEMPLATES: Final = 400
FIRST_DAY: Final = "2026-05-01"
FIRST_SECOND: Final = 1_777_593_600
"""Midnight of that day, UTC."""
EVERY: Final = {
    "none": "",
    "template_hash": "btree (template_hash)",
    "template_hash, ts": "btree (template_hash, ts)",
    "key_hash": "btree (key_hash)",
    "key_hash, hash": "hash (key_hash)",
    "key_hash, bloom": "brin (key_hash bytea_bloom_ops) WITH (pages_per_range = 32)",
    "template_hash and key_hash, bloom": (
        "btree (template_hash); brin (key_hash bytea_bloom_ops) WITH (pages_per_range = 32)"
    ),
}
FILL: Final = """
CREATE TABLE otel_ratelimit.query_logs_{day} PARTITION OF otel_ratelimit.query_logs
    FOR VALUES FROM ('{date}T00:00Z'::timestamptz) TO ('{date}T00:00Z'::timestamptz + interval '1 day');
INSERT INTO otel_ratelimit.query_logs (
    ts, template_hash, key_hash, n, sample_rate, tier, duration_us, rows, result_bytes, endpoint, trace_id,
    database, op, tables, is_write, in_txn, volatile, status, buckets, process
)
SELECT
    '{date}T00:00Z'::timestamptz + i * interval '1 day' / {rows}, hashint8(t)::bigint * 4294967296 + t,
    decode(md5(floor(power({rows} * 10.0, random()))::bigint || '-' || t), 'hex'), 1, 1, 'cold',
    120 + (random() * 1000)::integer, 1, CASE WHEN random() < 0.25 THEN 200 + (random() * 4000)::integer END,
    '/api/things/' || t % 40, md5(i::text), 'shop', 'select', ARRAY['table_' || t % 12], false, false, false,
    'ok', NULL, 'host-' || i % 4
FROM (
    SELECT i, floor(power({templates} + 1, random()))::bigint AS t FROM generate_series(0, {rows} - 1) AS i
) AS r;
"""
OF_TEMPLATE: Final = """
SELECT date_trunc('hour', ts) AS hour, endpoint, sum(n / sample_rate) AS executions
FROM otel_ratelimit.query_logs
WHERE template_hash = hashint8({number})::bigint * 4294967296 + {number} AND ts >= '{since}'
GROUP BY hour, endpoint
"""
OF_KEY: Final = """
SELECT ts, endpoint, trace_id FROM otel_ratelimit.query_logs
WHERE key_hash = decode('{key}', 'hex') AND ts >= '{since}'
"""


@dataclass(frozen=True)
class Answered:
    """One question, as the server explains it."""

    milliseconds: float
    pages: int
    """Pages of 8 kB, read from memory or from disk."""


@contextmanager
def server(folder: Path, rows: int) -> Iterator[str]:
    """A database with the days; it survives a crash as any other does, so that writing costs what it does."""
    with workspace(folder) as scratch:
        postgres = EmbeddedPostgres(
            scratch / "data", scratch, environ=os.environ, settings={"max_wal_size": "4GB"}
        )
        try:
            postgres.start()
            upgrade(postgres.dsn())
            fill(postgres.dsn(), rows)
            yield postgres.dsn()
        finally:
            postgres.stop()


def day_of(place: int) -> str:
    return f"{FIRST_DAY[:8]}{place + 1:02}"


def fill(url: str, rows: int) -> None:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("SELECT setseed(0.5)")
        cursor.execute(
            "SELECT indexrelid::regclass::text FROM pg_index WHERE"
            " indrelid = 'otel_ratelimit.query_logs'::regclass"
            " AND indexrelid <> 'otel_ratelimit.query_logs_ts'::regclass"
        )
        for (index,) in cursor.fetchall():
            cursor.execute(f"DROP INDEX {index}")
        for place in range(DAYS):
            date = day_of(place)
            cursor.execute(
                FILL.format(day=date.replace("-", ""), date=date, rows=rows // DAYS, templates=TEMPLATES)
            )
        cursor.execute("VACUUM ANALYZE otel_ratelimit.query_logs")


# --- what it brings ----------------------------------------------------------------------------------


def questions(url: str) -> dict[str, str]:
    last, whole = day_of(DAYS - 1), day_of(0)
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT encode(key_hash, 'hex') FROM otel_ratelimit.query_logs WHERE ts >= %s"
            " AND template_hash = hashint8(300)::bigint * 4294967296 + 300 LIMIT 1",
            (last,),
        )
        [(key,)] = cursor.fetchall()
    return {
        "a rare template, the last day": OF_TEMPLATE.format(number=300, since=last),
        "a rare template, ten days": OF_TEMPLATE.format(number=300, since=whole),
        "the most frequent template, the last day": OF_TEMPLATE.format(number=1, since=last),
        "the most frequent template, ten days": OF_TEMPLATE.format(number=1, since=whole),
        "a key, the last day": OF_KEY.format(key=key, since=last),
        "a key, ten days": OF_KEY.format(key=key, since=whole),
    }


def asked(cursor: Any, question: str, times: int = 3) -> Answered:
    """The median of a few times; what had to be read from disk the first time need not be afterwards."""
    found = []
    for _ in range(times):
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {question}")
        [([explained],)] = cursor.fetchall()
        plan = explained["Plan"]
        pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        found.append((explained["Execution Time"], pages))
    return Answered(statistics.median(milliseconds for milliseconds, _ in found), found[-1][1])


def index_bytes(cursor: Any) -> int:
    """Size of all indexes of the days."""
    cursor.execute(
        "SELECT sum(pg_indexes_size(inhrelid))::bigint FROM pg_inherits"
        " WHERE inhparent = 'otel_ratelimit.query_logs'::regclass"
    )
    [(size,)] = cursor.fetchall()
    return int(size)


def reading(url: str) -> dict[str, Any]:
    """By index: seconds to make it, bytes, and how each question is answered."""
    found: dict[str, Any] = {}
    every = questions(url)
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for name, kinds in EVERY.items():
            begun = time.perf_counter()
            for place, kind in enumerate(kinds.split("; ") if kinds else ()):
                cursor.execute(f"CREATE INDEX bench_{place} ON otel_ratelimit.query_logs USING {kind}")
            made = time.perf_counter() - begun
            size = index_bytes(cursor)
            found[name] = {
                "made_seconds": made,
                "bytes": size - found["none"]["bytes"] if found else size,
                "answered": {what: vars(asked(cursor, question)) for what, question in every.items()},
            }
            for place in range(len(kinds.split("; ")) if kinds else 0):
                cursor.execute(f"DROP INDEX otel_ratelimit.bench_{place}")
    return found


# --- what it costs -----------------------------------------------------------------------------------


def batch(place: int, second: float, draw: random.Random) -> QueryBatch:
    rows = []
    for number in range(BATCH_ROWS):
        n = int((TEMPLATES + 1) ** draw.random())
        template = QueryTemplate(
            n << 32, f"SELECT {n}", "select", (f"table_{n % 12}",), is_write=False, volatile=False
        )
        key = draw.randbytes(16)
        rows.append(
            QueryRow(
                ts=FIRST_SECOND + 86_400 * place + second + number / BATCH_ROWS,
                template=template,
                key=key,
                n=1,
                sample_rate=1.0,
                tier="cold",
                duration_us=500,
                rows=1,
                result_bytes=None,
                endpoint=f"/api/things/{n % 40}",
                trace_id=draw.randbytes(16).hex(),
                database="shop",
                in_txn=False,
                status="ok",
                buckets=None,
            )
        )
    return QueryBatch(UUID(bytes=draw.randbytes(16)), "host-1", tuple(rows), (), (), ())


def writing(url: str, rounds: int) -> dict[str, Any]:
    """By index: seconds and bytes of WAL of each batch."""
    names = list(EVERY)
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for place, name in enumerate(names):
            for kind in EVERY[name].split("; ") if EVERY[name] else ():
                day = day_of(place).replace("-", "")
                cursor.execute(f"CREATE INDEX ON otel_ratelimit.query_logs_{day} USING {kind}")
        cursor.execute("CHECKPOINT")
        draw = random.Random(1)
        database = Database(url, statement_seconds=60.0)
        writer = PostgresQueryWriter(database, time.time)
        found: dict[str, Any] = {name: {"seconds": [], "wal": []} for name in names}
        try:
            for turn in range(rounds + 1):
                for place in draw.sample(range(len(names)), len(names)):
                    given = batch(place, turn, draw)
                    cursor.execute("SELECT pg_current_wal_insert_lsn()")
                    [(before,)] = cursor.fetchall()
                    begun = time.perf_counter()
                    writer.write(given)
                    took = time.perf_counter() - begun
                    cursor.execute(
                        "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)::bigint", (before,)
                    )
                    [(wal,)] = cursor.fetchall()
                    if turn:  # the first one touches pages for the first time since the checkpoint
                        found[names[place]]["seconds"].append(took)
                        found[names[place]]["wal"].append(wal)
        finally:
            writer.close()
            database.close()
    return found


def report(read: dict[str, Any], written: dict[str, Any]) -> Iterator[str]:
    every = list(read["none"]["answered"])
    pairs = list(zip(every[::2], every[1::2], strict=True))
    yield "Milliseconds to look up what the last day, and what ten days hold of it (pages read of ten days):"
    yield ""
    yield f"| one index more | MB | made in, s | {' | '.join(day.partition(',')[0] for day, _ in pairs)} |"
    yield "|-|-|-|" + "-|" * len(pairs)
    for name, figures in read.items():
        size = figures["bytes"] / 1e6 if EVERY[name] else 0.0
        answered = figures["answered"]
        cells = [
            f"{answered[day]['milliseconds']:,.1f}, {answered[ten]['milliseconds']:,.1f}"
            f" ({answered[ten]['pages']:,})"
            for day, ten in pairs
        ]
        yield f"| {name} | {size:.0f} | {figures['made_seconds']:.1f} | {' | '.join(cells)} |"
    yield ""
    yield "| one index more | rows/s written, median (middle half) | of none | WAL a row, B |"
    yield "|-|-|-|-|"
    none = statistics.median(written["none"]["seconds"])
    for name, figures in written.items():
        most, middle, least = (BATCH_ROWS / each for each in statistics.quantiles(figures["seconds"], n=4))
        wal = statistics.median(figures["wal"]) / BATCH_ROWS
        share = none * middle / BATCH_ROWS
        yield f"| {name} | {middle:,.0f} ({least:,.0f} to {most:,.0f}) | {share:.2f} | {wal:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="about 3 GB in it")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    with server(options.folder, options.rows) as url:
        read = reading(url)
        written = writing(url, options.rounds)
    for line in report(read, written):
        print(line, flush=True)
    if options.json:
        options.json.write_text(json.dumps({"reading": read, "writing": written}, indent=2) + "\n")


if __name__ == "__main__":
    main()
