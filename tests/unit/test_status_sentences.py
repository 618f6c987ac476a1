"""Sentences of `status` about the requests of a day, for none, one and many."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from otel_ratelimit.cli.status import _print_analytics, _print_metrics
from otel_ratelimit.web.api.analytics_models import AnalyticsAnswer
from otel_ratelimit.web.api.metrics_models import MetricsAnswer

WOULD = "limits refused, or in shadow would have refused"
ALSO = ", including those from log_rate_limit_violation"
NOW = datetime(2026, 1, 31, tzinfo=UTC)


def answer(requests, limited, refused, violations, **given):
    rate = {
        "endpoint": "",
        "requests": requests,
        "limited": limited,
        "refused": refused,
        "allowed": limited - refused,
        "blocked": refused,
        "shadow_blocked": 0,
        "exempt": requests - limited,
        "errors": 0,
        "hit_rate": refused / limited if limited else 0.0,
    }
    found = {
        "group_by": "endpoint",
        "groups": [],
        "total_violations": violations,
        "total_groups": 0,
        "page": 1,
        "page_size": 50,
        "pages": 0,
    }
    return AnalyticsAnswer.model_validate(
        {
            "period": {"start": NOW, "end": NOW},
            "endpoint": None,
            "service": None,
            "violations": found,
            "top_clients": [],
            "top_endpoints": [],
            "hit_rates": {"overall": rate, "by_endpoint": []},
            "breathing_room": [],
            "recommendations": [],
            **given,
        }
    )


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ((0, 0, 0, 0), "no requests, no violations"),
        ((0, 0, 0, 1), f"no requests, 1 violation{ALSO}"),
        ((1, 0, 0, 0), "1 request, none of them checked against a limit; no violations"),
        (
            (1, 1, 1, 1),
            f"1 request; {WOULD}, 1 of 1 request (100 %); 1 violation",
        ),
        ((9, 8, 0, 0), "9 requests; limits refused none of 8 requests; no violations"),
        ((9, 8, 2, 2), f"9 requests; {WOULD}, 2 of 8 requests (25 %); 2 violations"),
    ],
)
def test_requests_and_refusals_are_one_sentence(capsys, figures, said):
    _print_analytics(answer(*figures))
    assert capsys.readouterr().out == f"\nIn 24h: {said}.\n"


def test_violations_that_no_limit_of_ours_refused_are_explained(capsys):
    _print_analytics(answer(9, 8, 2, 4))
    assert capsys.readouterr().out.endswith(f"2 of 8 requests (25 %); 4 violations{ALSO}.\n")


@pytest.mark.parametrize(
    ("removed", "runs", "said"),
    [
        (1, 1, "1 counter removed in 1 run"),
        (0, 1, "no counters removed in 1 run"),
        (91_234, 12, "91,234 counters removed in 12 runs"),
        (0, 0, "has not run yet"),
    ],
)
def test_one_counter_is_one_counter(capsys, removed, runs, said):
    cleanup = {
        "runs": runs,
        "removed_keys": removed,
        "freed_bytes": 0,
        "last_at": None,
        "last_duration_seconds": 0.0,
        "longest_pause_seconds": 0.0,
    }
    found = {
        "at": NOW,
        "process_id": 7,
        "storage": {"name": "bounded-memory", "healthy": True, "tells_contents": False},
        "memory": None,
        "keys": None,
        "cleanup": cleanup,
        "recorder": None,
    }
    _print_metrics(MetricsAnswer.model_validate(found))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert f"cleanup   {said}" in lines


def test_a_route_without_limits_has_no_share(capsys):
    one, none = (answer(*figures).hit_rates.overall for figures in ((9, 8, 2, 0), (9, 0, 0, 0)))
    rates = {"overall": none, "by_endpoint": [one, none]}
    _print_analytics(answer(0, 0, 0, 0, hit_rates=rates))
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[-2:]]
    assert rows == [["9", "2", "25", "%"], ["9", "0", "-"]]


@pytest.mark.parametrize(
    ("service", "services", "who"),
    [
        ("jobs", ["jobs"], "service jobs"),
        ("jobs", ["jobs", "shop"], "service jobs; others in this database: shop"),
        (None, ["jobs", "shop"], "2 services together: jobs, shop; narrow with --service NAME"),
        ("jobs\x1b[2J", [], "service jobs\ufffd[2J"),
    ],
)
def test_whose_they_are_is_said(capsys, service, services, who):
    _print_analytics(answer(0, 0, 0, 0, service=service, services=services))
    assert capsys.readouterr().out == f"\nIn 24h ({who}): no requests, no violations.\n"
