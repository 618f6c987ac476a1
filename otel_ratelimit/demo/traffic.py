"""Drives the clients, in a process of its own: importing locust monkey-patches it with gevent.

    python -m otel_ratelimit.demo.traffic http://127.0.0.1:8000 --duration 20

Their observations go to standard output, one JSON object a line (`client_reports.ClientReport`). Time and
number of requests are bounded.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import time

import gevent
import locust
from gevent.event import Event
from locust.env import Environment

from otel_ratelimit.demo.client_addresses import can_bind_other_addresses
from otel_ratelimit.demo.client_reports import ClientReport, Recorder
from otel_ratelimit.demo.personas import CROWDS, Visitor

MAX_REQUESTS = 50_000
TELL_EVERY_SECONDS = 0.5
FINISH_TIMEOUT_SECONDS = 10
"""How long a client may take to finish its current task."""


def main() -> int:
    """Drive the clients for the given time; they finish their tasks, so that all answers are counted."""
    parser = argparse.ArgumentParser(description=f"locust {locust.__version__} drives the demo's clients")
    parser.add_argument("host")
    parser.add_argument("--duration", type=float, default=20.0)
    parser.add_argument("--crowd", choices=CROWDS, default="everyone")
    parser.add_argument("--max-requests", type=int, default=MAX_REQUESTS)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)

    crowd = CROWDS[options.crowd]
    recorder = Recorder(_print, {visitor.persona: count for visitor, count in crowd.items()})
    Visitor.recorder = recorder
    Visitor.max_requests = options.max_requests
    Visitor.bind_addresses = can_bind_other_addresses()
    for visitor, count in crowd.items():
        visitor.fixed_count = count
    environment = Environment(
        user_classes=list(crowd), host=options.host, stop_timeout=FINISH_TIMEOUT_SECONDS, reset_stats=False
    )
    runner = environment.create_local_runner()
    ended = Event()
    gevent.signal_handler(signal.SIGTERM, ended.set)
    begun = time.monotonic()
    runner.start(user_count=sum(crowd.values()), spawn_rate=sum(crowd.values()))
    while not ended.wait(TELL_EVERY_SECONDS):
        elapsed = time.monotonic() - begun
        recorder.tell(elapsed)
        if elapsed >= options.duration or recorder.requests >= options.max_requests:
            break
    runner.quit()
    recorder.tell(time.monotonic() - begun, finished=True)
    return 0


def _print(report: ClientReport) -> None:
    sys.stdout.write(report.to_line() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
