"""The demo says whether its workers have one count."""

from __future__ import annotations

import pytest

from otel_ratelimit.core import names
from otel_ratelimit.demo.received_telemetry import Point
from otel_ratelimit.demo.shared_count import shared_count

LIMITS = "5/hour; 20/day"


def point(decision, value, route="/api/scrape", method="POST"):
    attributes = {
        names.DECISION: decision,
        names.HTTP_ROUTE: route,
        names.HTTP_REQUEST_METHOD: method,
    }
    return Point(attributes, value)


def worker(allowed, blocked, elsewhere=10):
    return [
        point("allowed", allowed),
        point("blocked", blocked),
        point("allowed", elsewhere, "/api/jobs"),
        point("allowed", elsewhere, method="OPTIONS"),
    ]


def count(*workers):
    by_instance = {f"instance {number}": points for number, points in enumerate(workers)}
    return shared_count(by_instance, LIMITS, amount=5)


def test_the_workers_are_listed_with_the_requests_of_the_route_alone():
    found = count(worker(3, 30), worker(2, 40), [point("allowed", 0)])
    assert [(each.requests, each.allowed, each.blocked) for each in found.workers] == [
        (62, 2, 40),
        (53, 3, 30),
    ]
    assert (found.allowed, found.blocked, found.limit) == (5, 70, "5/hour")


@pytest.mark.parametrize(
    ("workers", "said"),
    [
        (
            [(5, 30), (0, 40)],
            "2 workers let through 5 of the scraper's 75 requests: exactly its limit, 5/hour.",
        ),
        ([(5, 30)], "One worker let through 5 of the scraper's 35 requests: exactly its limit, 5/hour."),
        (
            [(5, 30), (5, 40)],
            "2 workers let through 10 of the scraper's 80 requests, and the limit is 5/hour:",
        ),
        ([(1, 0), (2, 0)], "2 workers let through 3 of the scraper's 3 requests; it sent fewer than"),
    ],
)
def test_a_sentence_says_whether_they_have_one_count(workers, said):
    assert count(*(worker(*each) for each in workers)).explain().startswith(said)
