"""The dashboards are what their source makes, and look and link as they should."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.source import build, layout, links
from otel_ratelimit.core import thresholds

ROOT = Path(__file__).parents[2]
WIDTH = 24
UNITS = {
    *("none", "short", "locale", "percentunit", "reqps", "ops", "s", "ms", "decbytes", "Bps"),
}
"""Those of Grafana's that suit what we measure; a typing error is shown as it stands, and nobody is told."""
BUILTIN = {"__rate_interval", "__interval", "__range", "__from", "__to", "__all"}
OF_CELLS = {"__value", "__field"}
MACROS = {"__timeFilter", "__timeGroupAlias"}
DOLLAR_QUOTES = {"match"}


@pytest.fixture(params=build.FILES)
def file(request):
    return request.param


@pytest.fixture
def dashboard(dashboard_queries, file):
    return dashboard_queries.dashboards()[file]


@pytest.fixture
def panels(dashboard_queries, dashboard):
    return dashboard_queries.panels(dashboard)


def named(panels):
    return {panel["title"]: panel for panel in panels}


# Generated files


def test_the_json_is_what_the_source_makes(file):
    kept = (ROOT / "dashboards" / "generated" / file).read_text(encoding="utf-8")
    assert kept == build.as_json(build.build(file)), "run make dashboards"


def test_there_is_no_dashboard_that_nothing_makes():
    assert {path.name for path in (ROOT / "dashboards" / "generated").glob("*.json")} == set(build.FILES)


def without_placement(found):
    """The SDK reads links and annotations back as if they were in a menu, whatever stands there."""
    for each in (*found["links"], *found["annotations"]["list"]):
        each.pop("placement", None)
    return found


def test_the_sdk_reads_back_what_it_wrote(dashboard):
    again = json.loads(build.as_json(Dashboard.from_json(json.loads(json.dumps(dashboard)))))
    assert without_placement(again) == dashboard


def test_they_are_classic_dashboards_that_nobody_edits_in_place(dashboard):
    # File provisioning takes no later schema, and undoes edits.
    assert dashboard["schemaVersion"] == 42
    assert dashboard["editable"] is False


def test_each_dashboard_has_an_address_of_its_own(dashboard_queries):
    found = dashboard_queries.dashboards()
    assert {each["uid"] for each in found.values()} == set(links.TITLES)
    assert {each["title"] for each in found.values()} == set(links.TITLES.values())


# Panels


def test_every_panel_says_what_to_do_about_what_it_shows(panels):
    for panel in panels:
        assert re.match(r"^[A-Z].{60,}\.$", panel["description"], flags=re.DOTALL), panel["title"]
        assert len(panel["description"]) < 320, panel["title"]


def test_titles_are_short_enough_to_be_read_whole(panels):
    # About eight pixels a character in a panel of so many columns of 72 pixels, less the menu's room.
    for panel in panels:
        assert 0 < len(panel["title"]) <= (panel["gridPos"]["w"] * 72 - 40) // 8, panel["title"]


def test_every_value_has_a_unit(panels):
    for panel in panels:
        units = {panel["fieldConfig"]["defaults"]["unit"]} | {
            each["value"]
            for override in panel["fieldConfig"]["overrides"]
            for each in override["properties"]
            if each["id"] == "unit"
        }
        assert units <= UNITS, panel["title"]


def test_every_panel_says_what_it_means_that_there_is_nothing(panels):
    for panel in panels:
        assert panel["fieldConfig"]["defaults"]["noValue"], panel["title"]


def test_ids_are_unique(dashboard):
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


def test_an_id_stays_when_something_is_put_before_it(panels):
    for panel in panels:
        assert panel["id"] == layout.identity(panel["title"]), panel["title"]


def test_titles_are_unique(panels):
    assert len(named(panels)) == len(panels)


def test_legends_of_many_series_are_tables(panels):
    for panel in panels:
        if panel["type"] == "timeseries":
            by_instance = any("{{instance}}" in each.get("legendFormat", "") for each in panel["targets"])
            if by_instance:
                assert panel["options"]["legend"]["displayMode"] == "table", panel["title"]


# Where panels are


def cells(panel):
    at = panel["gridPos"]
    return {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}


def test_no_two_panels_overlap(dashboard):
    for one, other in combinations(dashboard["panels"], 2):
        assert not cells(one) & cells(other), (one["title"], other["title"])


def test_there_is_no_empty_space(dashboard):
    taken = set().union(*map(cells, dashboard["panels"]))
    height = max(y for _, y in taken) + 1
    assert taken == {(x, y) for x in range(WIDTH) for y in range(height)}


def test_panels_are_under_titled_rows(dashboard):
    first, *_ = dashboard["panels"]
    assert first["type"] == "row"
    assert all(panel["title"] for panel in dashboard["panels"])
    assert sum(panel["type"] == "row" for panel in dashboard["panels"]) >= 3


def test_rows_of_numbers_are_low_and_graphs_are_high_enough_to_be_read(panels):
    for panel in panels:
        height = panel["gridPos"]["h"]
        assert height == 4 if panel["type"] == "stat" else height >= 4, panel["title"]
        if panel["type"] in {"timeseries", "heatmap", "barchart"}:
            assert height >= 7, panel["title"]
            assert panel["gridPos"]["w"] >= 6, panel["title"]


# Variables, data sources, links


def used_variables(text):
    found = re.findall(r"\$\{(\w+)[^}]*\}|\$([A-Za-z_]\w*)", text)
    return {one or other for one, other in found}


def texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)


def test_every_variable_that_is_used_is_defined_and_every_one_to_choose_from_is_used(dashboard):
    used = set().union(*map(used_variables, texts(dashboard))) - BUILTIN - OF_CELLS - MACROS - DOLLAR_QUOTES
    variables = dashboard["templating"]["list"]
    assert used <= {variable["name"] for variable in variables}
    assert {variable["name"] for variable in variables if not variable.get("hide")} <= used


def test_data_sources_are_asked_through_variables_only(dashboard, panels):
    plugins = {
        "${prometheus_datasource}": "prometheus",
        "${postgres_datasource}": "grafana-postgresql-datasource",
    }
    asked = [panel["datasource"] for panel in panels]
    asked += [target["datasource"] for panel in panels for target in panel["targets"]]
    asked += [each["datasource"] for each in dashboard["annotations"]["list"]]
    asked += [each["datasource"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    for each in asked:
        assert plugins[each["uid"]] == each["type"]


def test_variables_let_all_pass_and_follow_the_time_that_is_shown(dashboard):
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            assert variable["multi"]
            assert variable["includeAll"]
            assert variable["current"]["value"] == "$__all"
            assert variable["refresh"] == 2
            # A series without the label passes `.*` alone; every process has a job and an instance.
            assert variable["allValue"] == (".+" if variable["name"] in {"job", "instance"} else ".*")


def test_violations_open_at_the_last_24_hours(dashboard_queries):
    kept = dashboard_queries.dashboards()["endpoints-and-limits.json"]
    titles = named(dashboard_queries.panels(kept))
    assert {"Last violations", "Violations by limit", "Most limited clients"} <= set(titles)
    assert kept["time"] == {"from": "now-24h", "to": "now"}
    assert not any(panel.get("timeFrom") for panel in titles.values())


def test_each_dashboard_leads_to_the_others_with_time_and_variables(dashboard):
    assert [each["url"] for each in dashboard["links"]] == [
        f"/d/{uid}" for uid in links.TITLES if uid != dashboard["uid"]
    ]
    assert all(each["includeVars"] and each["keepTime"] for each in dashboard["links"])
    # In a menu nobody finds them.
    assert all("placement" not in each for each in dashboard["links"])


def test_policies_and_deployments_are_drawn_over_graphs(dashboard):
    drawn = {each["name"]: each for each in dashboard["annotations"]["list"]}
    assert set(drawn) == {"Policies", "Refused policies", "Deployments"}
    assert all(each["enable"] and each["expr"] for each in drawn.values())


def test_the_trace_of_a_row_is_a_link(dashboard_queries):
    for file, title in (
        ("endpoints-and-limits.json", "Last violations"),
        ("query-cache-advisor.json", "Last violations"),
        ("query-cache-advisor.json", "Repeated in one request"),
    ):
        panel = named(dashboard_queries.panels(dashboard_queries.dashboards()[file]))[title]
        [override] = [
            each for each in panel["fieldConfig"]["overrides"] if each["matcher"]["options"] == "Trace"
        ]
        [[link]] = [each["value"] for each in override["properties"] if each["id"] == "links"]
        assert link["url"].startswith("/explore?")
        assert "${tempo_datasource}" in link["url"]
        assert "${__value.raw}" in link["url"]


# Figures


def colors(panel):
    return {each["value"]: each["color"] for each in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]}


def test_memory_is_orange_from_the_warning_and_red_from_the_critical_size(dashboard_queries):
    found = dashboard_queries.dashboards()
    gauge = named(dashboard_queries.panels(found["plugin-health.json"]))["Memory"]
    assert colors(gauge) == {None: "green", 40_000_000: "orange", 50_000_000: "red"}
    share = named(dashboard_queries.panels(found["overview.json"]))["Counters' memory"]
    assert colors(share) == {None: "green", 0.8: "orange", 1: "red"}


def test_a_late_report_is_red_when_the_alert_fires(dashboard_queries):
    report = named(dashboard_queries.panels(dashboard_queries.dashboards()["overview.json"]))["Last report"]
    assert colors(report) == {None: "green", thresholds.REPORT_OVERDUE_SECONDS: "red"}


def test_close_to_a_limit_is_a_boundary_of_the_histogram():
    from otel_ratelimit.telemetry.decisions import UTILIZATION_BOUNDARIES  # its only use

    assert thresholds.UTILIZATION_HIGH in UTILIZATION_BOUNDARIES


# The linter that is no program of ours


def excused(rule):
    exclusions = yaml.safe_load((ROOT / "dashboards" / ".lint").read_text(encoding="utf-8"))["exclusions"]
    assert exclusions[rule]["reason"]
    return sorted((each["dashboard"], each["panel"]) for each in exclusions[rule]["entries"])


def test_the_linter_is_told_to_pass_over_statements_in_sql_and_over_nothing_else(dashboard_queries):
    assert excused("target-promql-rule") == sorted(
        (dashboard["title"], panel["title"])
        for dashboard in dashboard_queries.dashboards().values()
        for panel in dashboard_queries.panels(dashboard)
        if panel["type"] in {"stat", "gauge", "table", "timeseries"} and "rawSql" in panel["targets"][0]
    )


@pytest.mark.parametrize("name", ["job", "instance"])
def test_the_linter_is_told_to_pass_over_panels_that_are_of_no_service_and_no_others(dashboard_queries, name):
    matcher = f'{name}=~"${name}"'
    assert excused(f"target-{name}-rule") == sorted(
        (dashboard["title"], panel["title"])
        for dashboard in dashboard_queries.dashboards().values()
        for panel in dashboard_queries.panels(dashboard)
        if any(matcher not in target.get("expr", matcher) for target in panel["targets"])
    )


def test_the_linter_has_no_other_exceptions():
    found = yaml.safe_load((ROOT / "dashboards" / ".lint").read_text(encoding="utf-8"))
    assert set(found) == {"exclusions"}
    assert set(found["exclusions"]) == {"target-promql-rule", "target-job-rule", "target-instance-rule"}


# The package


def test_the_wheel_has_their_json_and_not_their_source():
    import tomllib  # its only use

    build_of = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    shipped = build_of["targets"]["wheel"]["force-include"]
    ours = {source: target for source, target in shipped.items() if source.startswith("dashboards")}
    assert ours == {"dashboards/generated": "otel_ratelimit/_shipped/dashboards"}
