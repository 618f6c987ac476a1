"""Runs the demo's clients against your own job board: `locust -f loadtest/locustfile.py --host URL`.

For example, while `otel-ratelimit demo --port 8000` runs:

    locust -f loadtest/locustfile.py --headless --host http://127.0.0.1:8000

LOADTEST_SECONDS (60), LOADTEST_PEOPLE (20) and LOADTEST_REQUESTS (50,000) bound the load. It goes only to a
server on this machine, unless LOADTEST_ALLOW_REMOTE=1 confirms that the other machine is yours too.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from typing import Any
from urllib.parse import urlsplit

from locust import LoadTestShape, events

from otel_ratelimit.demo.client_addresses import can_bind_other_addresses
from otel_ratelimit.demo.client_reports import ClientReport, Recorder
from otel_ratelimit.demo.personas import Abuser, Person, Probe, Scraper, Visitor

SECONDS = float(os.environ.get("LOADTEST_SECONDS", "60"))
PEOPLE = int(os.environ.get("LOADTEST_PEOPLE", "20"))
REQUESTS = int(os.environ.get("LOADTEST_REQUESTS", "50000"))
ALLOW_REMOTE = os.environ.get("LOADTEST_ALLOW_REMOTE") == "1"
STAGES = 4
"""The number of people grows in this many steps, which shows where limits start to apply."""

__all__ = ["Abuser", "Growing", "Person", "Probe", "Scraper"]


class Growing(LoadTestShape):
    """Grows from a quarter of the people to all of them, then ends."""

    def tick(self) -> tuple[int, float] | None:
        """Users and spawn rate now; None ends the test."""
        elapsed = self.get_run_time()
        if elapsed >= SECONDS or Visitor.recorder.requests >= Visitor.max_requests:
            return None
        stage = min(STAGES, 1 + int(elapsed * STAGES / SECONDS))
        others = Scraper.fixed_count + Abuser.fixed_count + Probe.fixed_count
        return others + max(1, PEOPLE * stage // STAGES), float(PEOPLE)


@events.init.add_listener
def prepare(**_: Any) -> None:
    """Count the answers that clients get, and start one client of each kind that is not a person."""
    Visitor.recorder = Recorder(report, {"person": PEOPLE, "scraper": 1, "abuser": 1, "health probe": 1})
    Visitor.max_requests = REQUESTS
    for visitor in (Scraper, Abuser, Probe):
        visitor.fixed_count = 1


@events.test_start.add_listener
def look_at_the_host(environment: Any, **_: Any) -> None:
    """Refuse to load another machine; on this one every client gets its own address."""
    here = is_loopback(environment.host or "")
    Visitor.bind_addresses = here and can_bind_other_addresses()
    if not here and not ALLOW_REMOTE:
        Visitor.max_requests = 0
        environment.process_exit_code = 2
        print(f"{environment.host!r} is not on this machine; if you may load it, set LOADTEST_ALLOW_REMOTE=1")
        environment.runner.quit()


@events.test_stop.add_listener
def tell(**_: Any) -> None:
    """Print which clients were limited."""
    Visitor.recorder.tell(SECONDS, finished=True)


def report(seen: ClientReport) -> None:
    """Print a line for each kind of client and endpoint that was limited."""
    print(f"{seen.answered} answers, {seen.limited} of them 429, {seen.broken} requests without an answer")
    for tally in sorted(seen.tallies, key=lambda t: -t.limited):
        if tally.limited:
            print(f"  {tally.persona:<14}{tally.endpoint:<40}{tally.limited:>7} of {tally.answered}")


def is_loopback(host: str) -> bool:
    """Whether every address of the URL's host is on this machine."""
    name = urlsplit(host).hostname
    if not name:
        return False
    try:
        found = {info[4][0] for info in socket.getaddrinfo(name, None)}
    except OSError:
        return False
    return all(ipaddress.ip_address(address).is_loopback for address in found)
