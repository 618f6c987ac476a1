"""Checks of alert rules without running them: names, labels, metrics, thresholds, cases."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import promql_parser as promql
import pytest
from alert_rules import ALERTS, RECORDINGS, ROOT, RUNBOOKS, Proof, cases
from promql_facts import comparisons, is_number, labels_of, nodes, number, selectors

from dashboards.source.foreign import FOREIGN_METRICS
from dashboards.source.instruments import RESOURCE_LABELS, labels_by_series
from otel_ratelimit.analytics.recommended_limits import MAX_REJECTED_SHARE
from otel_ratelimit.core import thresholds
from otel_ratelimit.telemetry.decisions import CHECK_DURATION_BOUNDARIES_SECONDS, UTILIZATION_BOUNDARIES
from otel_ratelimit.telemetry.queries import UNSEEN_SPANS
from otel_ratelimit.telemetry.storage import LEVELS

DOCS = "https://github.com/otel-ratelimit/otel-ratelimit/blob/main/docs/runbooks"
LEAST_WINDOW = timedelta(minutes=4)
"""Four exports: OTEL_METRIC_EXPORT_INTERVAL is a minute."""

_COLLECTOR = {"job", "instance"}
_ONLY_OF_RULES = {
    **dict.fromkeys(
        ("otelcol_receiver_failed_spans", "otelcol_receiver_failed_metric_points"),
        frozenset(_COLLECTOR | {"receiver", "transport"}),
    ),
    **dict.fromkeys(
        (
            "otelcol_exporter_sent_metric_points",
            "otelcol_exporter_send_failed_metric_points",
            "otelcol_exporter_enqueue_failed_metric_points",
        ),
        frozenset(_COLLECTOR | {"exporter"}),
    ),
}
"""Metrics of the collector, seen in a scrape of it; no dashboard shows them."""

SLOW = "RateLimitBlockedShareElevated"
"""Made of the same sums as its quick sister, and its cases take long."""
ABOUT_ONE_PROCESS = {
    "RateLimitCollectorDown",
    "RateLimitCollectorRefusing",
    "RateLimitCollectorExporterStuck",
    "RateLimitCollectorQueueNearlyFull",
    "RateLimitCollectorExporterFailing",
    "RateLimitCollectorRestarting",
}


def series():
    """Labels by name: of our metrics, of others', and of what is recorded."""
    known = labels_by_series() | _ONLY_OF_RULES
    known |= {metric.name: metric.labels for metric in FOREIGN_METRICS.values()}
    for rule in RECORDINGS:
        known[rule.name] = labels_of(promql.parse(rule.expr), known) | set(rule.labels)
    return known


SERIES = series()
every_rule = pytest.mark.parametrize("rule", [*RECORDINGS, *ALERTS], ids=lambda rule: rule.id)
every_alert = pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule.id)


@every_alert
def test_names_are_short_and_say_whose_they_are(rule):
    assert re.fullmatch(r"RateLimit([A-Z][a-z]+)+", rule.name)
    assert len(rule.name) <= 40


@every_alert
def test_an_alert_says_how_bad_it_is_and_what_it_is_about(rule):
    assert rule.labels["severity"] in {"info", "warning", "critical"}
    assert rule.labels["subject"]
    assert set(rule.labels) <= {"severity", "subject", "window"}


def test_no_two_alerts_are_alike():
    assert len({rule.id for rule in ALERTS}) == len(ALERTS)
    assert len({(rule.name, rule.labels["severity"]) for rule in ALERTS}) == len(
        {rule.name for rule in ALERTS}
    )


@every_alert
def test_an_alert_tells_what_happened_where_to_look_and_what_to_do(rule):
    assert set(rule.annotations) == {"summary", "description", "runbook_url", "dashboard"}
    assert re.fullmatch(r"[A-Z].+\.", rule.annotations["summary"])
    assert "{{" not in rule.annotations["summary"]
    assert "{{ $labels." in rule.annotations["description"]
    assert rule.annotations["description"].endswith(".")
    assert rule.annotations["runbook_url"] == f"{DOCS}/{rule.name}.md"


@every_alert
def test_an_alert_leads_to_a_dashboard_that_there_is(rule):
    there = {
        json.loads(path.read_text())["uid"] for path in (ROOT / "dashboards" / "generated").glob("*.json")
    }
    path, _, query = rule.annotations["dashboard"].partition("?")
    assert path.removeprefix("/d/") in there
    assert query == ("" if rule.labels["subject"] == "collector" else "var-job={{ $labels.job }}")


@every_alert
def test_texts_use_labels_that_the_alert_has(rule):
    used = set(re.findall(r"\$labels\.(\w+)", " ".join(rule.annotations.values())))
    assert used <= labels_of(promql.parse(rule.expr), SERIES) | set(rule.labels)


@every_alert
def test_an_environment_is_named_where_there_is_one(rule):
    found = labels_of(promql.parse(rule.expr), SERIES)
    optional = "{{ with $labels.deployment_environment_name }} in {{ . }}{{ end }}"
    assert (optional in rule.annotations["description"]) == ("deployment_environment_name" in found)


@every_alert
def test_an_alert_is_of_a_service_in_an_environment_not_of_a_process(rule):
    found = labels_of(promql.parse(rule.expr), SERIES)
    if rule.name in ABOUT_ONE_PROCESS:
        assert {"job", "instance"} <= found
    else:
        assert RESOURCE_LABELS - {"instance"} <= found
        assert "instance" not in found


@every_rule
def test_metrics_exist_and_have_the_labels_that_are_asked_for(rule):
    for selector in selectors(promql.parse(rule.expr)):
        assert selector.name in SERIES
        assert {matcher.name for matcher in selector.matchers.matchers} <= SERIES[selector.name]
    labels_of(promql.parse(rule.expr), SERIES)


@every_rule
def test_both_sides_of_a_match_have_the_labels_that_they_are_matched_by(rule):
    for node in nodes(promql.parse(rule.expr)):
        matching = isinstance(node, promql.BinaryExpr) and node.modifier and node.modifier.matching
        if matching and matching.type == promql.LabelModifierType.Include:
            for side in (node.lhs, node.rhs):
                assert set(matching.labels) <= labels_of(side, SERIES)


@every_rule
def test_a_window_holds_four_exports(rule):
    for node in nodes(promql.parse(rule.expr)):
        if isinstance(node, promql.MatrixSelector):
            assert node.range >= LEAST_WINDOW


@every_rule
def test_counters_are_not_taken_as_they_stand(rule):
    """But where only their being there counts, or with how much a new one begins."""
    parsed = promql.parse(rule.expr)
    looked_back = {
        selector.name
        for node in nodes(parsed)
        if isinstance(node, promql.Call) and node.func.name in {"rate", "increase"}
        for selector in selectors(node)
    }
    counters = {
        s.name for s in selectors(parsed) if s.name.endswith(("_total", "_bucket", "_count", "_failed"))
    }
    assert counters <= looked_back | {"otel_ratelimit_policy_reloads_total"}


@every_rule
def test_comparisons_filter(rule):
    assert "bool" not in rule.expr
    assert not rule.is_alert or comparisons(promql.parse(rule.expr)) or "unless" in rule.expr


def test_what_is_recorded_is_used_and_named_after_its_labels():
    used = {
        selector.name for rule in [*RECORDINGS, *ALERTS] for selector in selectors(promql.parse(rule.expr))
    }
    assert {rule.name for rule in RECORDINGS} <= used
    for name, labels in {rule.name: SERIES[rule.name] for rule in RECORDINGS}.items():
        level, metric, operation = name.split(":")
        assert ("instance" in level) == ("instance" in labels)
        assert metric
        assert re.fullmatch(r"(increase|ratio)\d+[mhd]|last_seconds", operation)


IS_UP = 1
"""No threshold: that the collector could be scraped, where a series is taken for new."""
THRESHOLDS = {
    "RateLimitMemoryHigh": [],
    "RateLimitMemoryCritical": [],
    "RateLimitOverflowBucketInUse": [0, IS_UP],
    "RateLimitStorageErrors": [0, IS_UP],
    "RateLimitFailingClosed": [thresholds.STORE_FAILING_SHARE, thresholds.STORE_FAILING_LEAST_REQUESTS],
    "RateLimitFailingOpen": [thresholds.STORE_FAILING_SHARE, thresholds.STORE_FAILING_LEAST_REQUESTS],
    "RateLimitCheckSlow": [thresholds.CHECK_SLOW_SECONDS, 100],
    **{
        f"RateLimitBlockedShare{name}": [
            *[factor * thresholds.BLOCKED_SHARE_BUDGET] * 2,
            *[thresholds.BLOCKED_SHARE_LEAST_REQUESTS] * floors,
        ]
        for name, factor, floors in [
            ("High 1h", 14.4, 2),
            ("High 6h", 6, 1),
            ("Elevated 1d", 3, 1),
            ("Elevated 3d", 1, 1),
        ]
    },
    "RateLimitEndpointNearLimit": [*[thresholds.UTILIZATION_HIGH_SHARE] * 2, 100],
    "RateLimitClientLimitedWithoutEnd": [thresholds.CLIENT_LIMITED_SECONDS],
    "RateLimitIdentityFallbacks": [0.05, 100],
    "RateLimitViolationsDropped": [0, IS_UP],
    "RateLimitQueriesDropped": [0, IS_UP],
    "RateLimitQueueNearlyFull": [thresholds.QUEUE_NEARLY_FULL],
    "RateLimitQueryLogSilent": [UNSEEN_SPANS, 0],
    "RateLimitRepeatedQueries": [0.5, 100],
    "RateLimitReportOverdue": [thresholds.REPORT_OVERDUE_SECONDS],
    "RateLimitReportMissing": [0, 0],
    "RateLimitPolicyRefused": [],
    "RateLimitNoTelemetry": [2],
    "RateLimitCollectorDown": [0],
    "RateLimitCollectorRefusing": [0],
    "RateLimitCollectorExporterStuck": [0, 0, 0, 0],
    "RateLimitCollectorQueueNearlyFull": [thresholds.QUEUE_NEARLY_FULL],
    "RateLimitCollectorExporterFailing": [0],
    "RateLimitCollectorRestarting": [2],
}


@every_alert
def test_thresholds_are_those_of_the_code(rule):
    found = [number(node.rhs) for node in comparisons(promql.parse(rule.expr)) if is_number(node.rhs)]
    assert sorted(found) == pytest.approx(sorted(THRESHOLDS[rule.id]))


def selector_of(name, metric):
    [rule] = [rule for rule in ALERTS if rule.name == name]
    [selector, *_] = [each for each in selectors(promql.parse(rule.expr)) if each.name == metric]
    return {matcher.name: matcher.value for matcher in selector.matchers.matchers}


def test_memory_is_held_against_the_thresholds_of_the_policy():
    metric = "otel_ratelimit_storage_threshold_bytes"
    names = ("RateLimitMemoryHigh", "RateLimitMemoryCritical")
    assert tuple(selector_of(name, metric)["otel_ratelimit_level"] for name in names) == LEVELS


def test_thresholds_lie_on_the_edge_of_a_bucket():
    high = selector_of("RateLimitEndpointNearLimit", "otel_ratelimit_utilization_bucket")["le"]
    assert float(high) == thresholds.UTILIZATION_HIGH
    assert thresholds.UTILIZATION_HIGH in UTILIZATION_BOUNDARIES
    assert thresholds.CHECK_SLOW_SECONDS in CHECK_DURATION_BOUNDARIES_SECONDS


def test_twice_what_a_suggested_limit_refuses_is_expected():
    assert thresholds.BLOCKED_SHARE_BUDGET == 2 * MAX_REJECTED_SHARE


@every_alert
def test_an_alert_fires_is_pending_and_stays_silent_in_a_case_each(rule):
    assert set().union(*(case.proves(rule) for case in cases())) == set(Proof)


def test_cases_are_named_after_their_alert_and_what_they_show():
    for case in cases():
        shown = [rule for rule in ALERTS if case.proves(rule)]
        assert case.file == "sums.yml" or any(case.name.startswith(rule.name) for rule in shown), case.name
        assert len(case.name) <= 140, case.name


@every_alert
def test_an_alert_fires_for_a_service_without_an_environment(rule):
    fired = [
        alert["exp_labels"]
        for case in cases()
        for each in case.given.get("alert_rule_test", [])
        for alert in each["exp_alerts"]
        if each["alertname"] == rule.name
    ]
    assert any("deployment_environment_name" not in labels for labels in fired) or rule.name == SLOW


def test_every_alert_has_a_runbook_and_every_runbook_an_alert():
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == {rule.name for rule in ALERTS}
