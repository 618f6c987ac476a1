"""Every PromQL query of the dashboards parses, and names metrics and labels that there are."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import promql_parser as promql
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.trace import NoOpTracer
from page_lists import list_items
from promql_facts import below, nodes, selectors

from dashboards.source.foreign import FOREIGN_METRICS
from dashboards.source.instruments import (
    INSTRUMENTS,
    Instrument,
    Kind,
    label,
    labels_by_series,
    prometheus_name,
)
from otel_ratelimit.core import names
from otel_ratelimit.telemetry import (
    DecisionTelemetry,
    PolicyTelemetry,
    QueueTelemetry,
    RecorderTelemetry,
    StorageTelemetry,
)
from otel_ratelimit.telemetry.queries import QueryTelemetry
from otel_ratelimit.telemetry.reports import ReportTelemetry

REFERENCE = Path(__file__).parents[2] / "docs/reference/metrics.md"
NOW = datetime(2026, 1, 9, 12, tzinfo=UTC)
KEEP_LABELS = {"topk", "bottomk"}
SERIES = labels_by_series() | {metric.name: metric.labels for metric in FOREIGN_METRICS.values()}


@pytest.fixture(scope="module")
def shown(dashboard_queries):
    return dashboard_queries.Shown(NOW - timedelta(hours=3), NOW)


@pytest.fixture(scope="module")
def asked(dashboard_queries):
    """All PromQL there is: of panels and annotations, with where it is from."""
    found = [
        (str(query), query.text) for query in dashboard_queries.panel_queries(dashboard_queries.PROMETHEUS)
    ]
    for file, dashboard in dashboard_queries.dashboards().items():
        found += [(f"{file}: {each['name']}", each["expr"]) for each in dashboard["annotations"]["list"]]
        found += [
            (f"{file}: ${each['name']}", re.fullmatch(r"label_values\((.+), \w+\)", each["query"])[1])
            for each in dashboard["templating"]["list"]
            if each["type"] == "query"
        ]
    return found


def labels_of(node):
    """Labels that the series have which `node` gives."""
    if isinstance(node, promql.VectorSelector):
        return SERIES[node.name]
    if isinstance(node, promql.AggregateExpr) and str(node.op) not in KEEP_LABELS:
        return frozenset(node.modifier.labels) if node.modifier else frozenset()
    found = frozenset().union(*map(labels_of, below(node)))
    is_quantile = isinstance(node, promql.Call) and node.func.name == "histogram_quantile"
    return found - {"le"} if is_quantile else found


def test_every_query_parses(asked, shown):
    for where, text in asked:
        filled = shown.promql(text)
        assert "$" not in filled, where
        promql.parse(filled)
    assert len(asked) > 100


def test_every_metric_is_one_of_ours_or_a_known_one_of_others(asked, shown):
    for where, text in asked:
        for selector in selectors(promql.parse(shown.promql(text))):
            assert selector.name in SERIES, where


def test_every_matcher_is_of_a_label_that_the_metric_has(asked, shown):
    for where, text in asked:
        for selector in selectors(promql.parse(shown.promql(text))):
            assert {each.name for each in selector.matchers.matchers} <= SERIES[selector.name], where


def test_series_are_told_apart_by_labels_that_they_have(asked, shown):
    for where, text in asked:
        for node in nodes(promql.parse(shown.promql(text))):
            if isinstance(node, promql.AggregateExpr) and node.modifier:
                assert set(node.modifier.labels) <= labels_of(node.expr), where


def test_legends_name_labels_that_the_series_have(dashboard_queries, shown):
    for dashboard in dashboard_queries.dashboards().values():
        for panel in dashboard_queries.panels(dashboard):
            for target in panel["targets"]:
                wanted = set(re.findall(r"{{(\w+)}}", target.get("legendFormat", "")))
                if wanted:
                    assert wanted <= labels_of(promql.parse(shown.promql(target["expr"]))), panel["title"]


def test_several_series_of_one_query_have_a_legend_each(dashboard_queries, shown):
    for dashboard in dashboard_queries.dashboards().values():
        for panel in dashboard_queries.panels(dashboard):
            for target in panel["targets"]:
                if panel["type"] == "timeseries" and "expr" in target:
                    has_several = bool(labels_of(promql.parse(shown.promql(target["expr"]))))
                    assert ("{{" in target["legendFormat"]) == has_several, panel["title"]
                    assert target["legendFormat"] != "__auto", panel["title"]


def test_a_process_is_told_apart_only_where_it_is_the_point(dashboard_queries, shown):
    by_process = {
        query.panel
        for query in dashboard_queries.panel_queries(dashboard_queries.PROMETHEUS)
        if "instance" in labels_of(promql.parse(shown.promql(query.text)))
    }
    assert by_process == {"Size against capacity", "Counters held"}


def test_counters_are_never_shown_as_they_stand(asked, shown):
    counting = {"rate", "increase"}
    for where, text in asked:
        if ": $" in where:  # values of a variable
            continue
        expression = promql.parse(shown.promql(text))
        counted = {
            id_of(selector)
            for node in nodes(expression)
            if isinstance(node, promql.Call) and node.func.name in counting
            for selector in selectors(node)
        }
        for selector in selectors(expression):
            is_counter = selector.name.endswith(("_total", "_bucket", "_count"))
            assert not is_counter or id_of(selector) in counted, where


def id_of(selector):
    return selector.name, str(selector.matchers)


def test_graphs_take_their_window_from_the_step(dashboard_queries):
    # A window shorter than the step leaves things out; a fixed one is wrong at some zoom.
    for query in dashboard_queries.panel_queries(dashboard_queries.PROMETHEUS):
        windows = re.findall(r"(rate|increase)\([^\[]*\[([^\]]+)\]", query.text)
        wanted = "$__range" if query.at_end else "$__rate_interval"
        assert {window for _, window in windows} <= {wanted}, str(query)


def test_graphs_have_points_no_finer_than_metrics_are_exported(dashboard_queries):
    for dashboard in dashboard_queries.dashboards().values():
        for panel in dashboard_queries.panels(dashboard):
            if panel["type"] in {"timeseries", "heatmap"} and "expr" in panel["targets"][0]:
                assert panel["interval"] == "1m", panel["title"]


def test_exemplars_are_asked_for_where_a_trace_explains(dashboard_queries):
    asked = {
        (dashboard["title"].removeprefix("Rate limits: "), panel["title"])
        for dashboard in dashboard_queries.dashboards().values()
        for panel in dashboard_queries.panels(dashboard)
        if any(target.get("exemplar") for target in panel["targets"])
    }
    assert {
        ("overview", "Latency"),
        ("endpoints and limits", "Refused by route"),
        ("endpoints and limits", "Share of the limit used"),
        ("plugin health", "Check duration"),
    } <= asked


def test_a_chosen_service_is_asked_for_whatever_its_name(dashboard_queries):
    names_of_services = ["shop.eu", "a/b", r"back\slash", "it's (new)"]
    chosen = dashboard_queries.Shown(NOW, NOW, {"job": names_of_services})
    [selector] = selectors(promql.parse(chosen.promql('up{job=~"$job"}')))
    [matcher] = selector.matchers.matchers
    assert all(re.fullmatch(matcher.value, name) for name in names_of_services)
    assert not re.fullmatch(matcher.value, "shopXeu")


# Names


def instruments_of_the_code():
    """Every instrument that our code makes, as the SDK has it."""
    made = {}

    class Recording:
        def __getattr__(self, name):
            def create(instrument, callbacks=None, unit="", **_more):
                kind = Kind(name.removeprefix("create_").removeprefix("observable_"))
                made[instrument] = (kind, unit)
                return getattr(MeterProvider().get_meter("throw-away"), name)(instrument, unit=unit)

            return create

    meter = Recording()
    DecisionTelemetry(meter)
    StorageTelemetry(meter, "memory", lambda: None, lambda _capacity: (1, 2))
    PolicyTelemetry(meter, lambda: None)
    QueryTelemetry(meter)
    RecorderTelemetry(meter)
    QueueTelemetry(meter, "queries", lambda: 0, 1)
    ReportTelemetry(meter, NoOpTracer())
    return made


def test_instruments_are_those_that_the_code_makes():
    assert {each.name: (each.kind, each.unit) for each in INSTRUMENTS.values()} == instruments_of_the_code()


def test_labels_are_the_attributes_that_the_reference_lists():
    attributes = {value for key, value in vars(names).items() if key.isupper()} - set(INSTRUMENTS)
    entries = [re.split(r" Attributes?: ", item) for item in list_items(REFERENCE.read_text())]
    listed = {
        says.split("`")[1]: set(re.findall(r"`([^`]+)`", "".join(named))) & attributes
        for says, *named in entries
    }
    for instrument in INSTRUMENTS.values():
        assert set(instrument.attributes) == listed[instrument.name], instrument.name


@pytest.mark.parametrize(
    ("kind", "unit", "name"),
    [
        (Kind.COUNTER, "{request}", "a_b_total"),
        (Kind.COUNTER, "By", "a_b_bytes_total"),
        (Kind.GAUGE, "1", "a_b_ratio"),
        (Kind.GAUGE, "s", "a_b_seconds"),
        (Kind.GAUGE, "{key}", "a_b"),
        (Kind.HISTOGRAM, "s", "a_b_seconds"),
        (Kind.HISTOGRAM, "1", "a_b"),
    ],
)
def test_names_follow_from_kind_and_unit_as_the_collector_makes_them(kind, unit, name):
    assert prometheus_name(Instrument("a.b", kind, unit)) == name


def test_a_label_is_the_attribute_with_underscores():
    assert label(names.HTTP_ROUTE) == "http_route"


def test_every_metric_of_others_is_used_and_has_its_reason(asked, shown):
    used = {selector.name for _, text in asked for selector in selectors(promql.parse(shown.promql(text)))}
    assert set(FOREIGN_METRICS) <= used
    assert all(metric.why for metric in FOREIGN_METRICS.values())


def test_every_instrument_is_on_some_dashboard(asked):
    text = " ".join(text for _, text in asked)
    assert [name for name in INSTRUMENTS if prometheus_name(INSTRUMENTS[name]) not in text] == []
