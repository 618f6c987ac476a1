"""Counts of four workers under load: each server must allow as many requests as the limits say, to the unit.

    PYTHONPATH=tests/support python loadtest/shared_counts.py [--each 60000] [MODE ...]

Half of the requests are of one client on one limit; the other half are of 1,000 clients. Each limit allows
half of what is sent. Exit status 1 if any count is not the limit.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from http_servers import Server
from request_load import Answers, ask_each, send
from zone_apps import AUTO, BY_HAND, QUIET, SERVERS, WORKERS, ZERO_CODE, policy_of

CLIENTS = 1_000
SENDERS = 2
CONNECTIONS = 8


def load(port: int, path: str, number: int, clients: int, sender: int) -> Answers:
    """Answers to the requests of one process that sends."""
    names = [f"client-{at}" for at in range(clients)]
    half = len(names) * sender // SENDERS
    return send(port, path, number // SENDERS, names[half:] + names[:half], CONNECTIONS)


def sent(port: int, path: str, number: int, clients: int) -> Answers:
    """Answers to `number` requests, in all."""
    with multiprocessing.get_context("fork").Pool(SENDERS) as pool:
        parts = pool.starmap(load, [(port, path, number, clients, sender) for sender in range(SENDERS)])
    return Answers(
        sum((part.by_client for part in parts), Counter()),
        sum((part.by_worker for part in parts), Counter()),
        sum(part.lost for part in parts),
    )


def run(mode: str, way: str, each: int) -> bool:
    """Measure one server, print a line, and return whether its counts are exact."""
    requests = WORKERS * each
    limit, few = requests // 4, requests // 4 // CLIENTS
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "app.py").write_text(BY_HAND if way == "by hand" else ZERO_CODE, encoding="utf-8")
        (folder / "ratelimit.toml").write_text(policy_of(limit, few), encoding="utf-8")
        command, *options = SERVERS[mode]
        below = () if way == "by hand" else AUTO
        server = Server(folder, [*below, *command, *options], QUIET)
        try:
            server.wait_until_ready()
            ask_each(server.port, "/health", WORKERS)
            began = time.monotonic()
            one = sent(server.port, "/many", requests // 2, 1)
            keys = sent(server.port, "/few", requests // 2, CLIENTS)
            seconds = time.monotonic() - began
        finally:
            server.stop()
    wrong = [client for client in range(CLIENTS) if keys.allowed_to(f"client-{client}") != few]
    lost = one.lost + keys.lost
    exact = one.status(200) == limit and not wrong and not lost
    print(
        f"{mode:20} {way:10} {requests} requests, {lost} lost: {one.status(200)} of {limit} on one limit by"
        f" {len(one.workers)} workers, {keys.status(200)} of {few * CLIENTS} on {CLIENTS} keys,"
        f" {len(wrong)} keys wrong; {requests / seconds:.0f} requests/s  {'exact' if exact else 'WRONG'}",
        flush=True,
    )
    return exact


def main() -> int:
    """Run all modes, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=60_000, help="requests for each of the four workers")
    parser.add_argument("modes", nargs="*", metavar="MODE", help=f"of {', '.join(SERVERS)}")
    given = parser.parse_args()
    results = [
        run(mode, way, given.each) for mode in given.modes or SERVERS for way in ("zero-code", "by hand")
    ]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
