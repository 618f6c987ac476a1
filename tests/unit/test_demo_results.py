"""The tables of the demo fit a terminal of 80 columns."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from otel_ratelimit.demo.analytics_api import LimitedClient, LimitHeadroom, RecommendedLimit, StoredAnswers
from otel_ratelimit.demo.jobs_app.app import create_app
from otel_ratelimit.demo.results_tables import _headroom, _recommended

LIMIT = "300 per 1 minute"


@pytest.fixture(scope="module")
def stored():
    """An answer that names the longest route of the demo's API."""
    rules = [rule for rule in create_app().url_map.iter_rules() if rule.rule.startswith("/api/")]
    method, route = max(
        ((max(rule.methods - {"OPTIONS", "HEAD"}), rule.rule) for rule in rules),
        key=lambda found: len(" ".join(found)),
    )
    return StoredAnswers(
        violations=1,
        rows=1,
        requests=1,
        hit_rate=0.5,
        clients=(LimitedClient("127.0.0.1", 1, 1),),
        rooms=(LimitHeadroom(route, method, LIMIT, 999, 99, 0.95),),
        recommended=(
            RecommendedLimit(route, method, LIMIT, "", 0.5, 1_234),
            RecommendedLimit(route, method, LIMIT, "3000 per 1 minute", 0.0, 1),
        ),
    )


def printed(table):
    file = io.StringIO()
    Console(file=file, width=80).print(table)
    return file.getvalue()


def test_recommended_limits_fit_80_columns_with_the_longest_route(stored):
    said = printed(_recommended(stored))
    first = stored.recommended[0]
    assert [line.split() for line in said.splitlines()[:3]] == [
        ["route", "now", "recommended", "clients"],
        [first.method, first.endpoint, "300/minute", "over", "10", "x", "1,234"],
        [first.method, first.endpoint, "300/minute", "3000/minute", "1"],
    ]


def test_room_cuts_nothing_in_80_columns_and_folds_the_longest_route_only(stored):
    said = printed(_headroom(stored))
    first = stored.rooms[0]
    lines = said.splitlines()
    assert lines[0].split() == ["route", "limit", "requests", "refused", "p95", "used"]
    assert lines[1].split()[-4:] == ["300/minute", "999", "99", "95%"]
    route = lines[1].partition("300/minute")[0] + "".join(lines[2:])
    assert "".join(route.split()) == f"{first.method}{first.endpoint}"
    assert "\u2026" not in said
