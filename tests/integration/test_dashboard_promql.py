"""Prometheus itself evaluates the dashboards' expressions."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from dashboards.source import promql

END = datetime(2026, 1, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def evaluated(dashboard_queries, installed, tmp_path):
    """`evaluated(expression, 9, at="60m", x="0 1 2")`: whether it comes to these values, by promtool.

    Series are given as promtool writes them, a sample a minute.
    """
    promtool = installed("promtool", "prometheus")
    shown = dashboard_queries.Shown(END - HOUR, END, rate_interval=300)

    def evaluated(expression, *values, at="60m", **series):
        expected = [{"labels": "{}", "value": value} for value in values]
        case = {
            "interval": "1m",
            "input_series": [{"series": name, "values": samples} for name, samples in series.items()],
            "promql_expr_test": [
                {"expr": shown.promql(expression), "eval_time": at, "exp_samples": expected}
            ],
        }
        file = tmp_path / "test.yml"
        file.write_text(yaml.safe_dump({"tests": [case]}))
        done = subprocess.run(
            [promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return evaluated


def test_what_happened_counts_the_occurrences_with_which_a_series_begins(evaluated):
    evaluated(promql.happened("x"), 9, x="_x30 7 9x29")


def test_what_happened_before_is_not_counted_again(evaluated):
    evaluated(promql.happened("x"), 0, at="90m", x="7x90")
    evaluated(promql.happened("x"), 60, at="90m", x="7+1x90")


def test_what_happened_in_a_process_that_has_ended_still_counts(evaluated):
    evaluated(promql.happened("x"), 5, x="_x10 5x10 stale")


def test_a_series_that_was_away_for_a_while_is_not_new(evaluated):
    evaluated(promql.happened("x"), 0, at="90m", x="7x20 _x30 7x40")


def test_a_graph_shows_the_first_occurrence_when_it_was(evaluated):
    of_point = promql.happened("x", window="$__rate_interval")
    evaluated(of_point, 7, at="12m", x="_x10 7x50")
    evaluated(of_point, 0, at="30m", x="_x10 7x50")


def test_nothing_that_ever_happened_is_nothing(evaluated):
    evaluated(promql.happened("x"))


def test_a_share_is_zero_where_there_is_a_whole_and_no_part_yet(evaluated):
    evaluated(promql.share(promql.rate("part"), promql.rate("whole")), 0, whole="0+60x60")


def test_a_share_is_the_part_of_the_whole(evaluated):
    share = promql.share(promql.rate("part"), promql.rate("whole"))
    evaluated(share, 0.25, part="0+15x60", whole="0+60x60")


def test_there_is_no_share_of_nothing(evaluated):
    share = promql.share(promql.rate("part"), promql.rate("whole"))
    evaluated(share, whole="7x60")
    evaluated(share)


def test_the_routes_show_what_was_refused_all_at_once(evaluated, dashboard_queries):
    [refused] = [
        query.text
        for query in dashboard_queries.panel_queries(dashboard_queries.PROMETHEUS)
        if (query.panel, query.ref_id) == ("Routes", "B")
    ]
    requests = 'otel_ratelimit_requests_total{{job="shop",instance="1",otel_ratelimit_decision="{}"}}'
    series = {requests.format("blocked"): "_x30 20x29", requests.format("allowed"): "0+1x60"}
    evaluated(f"sum({refused})", 0.25, **series)
