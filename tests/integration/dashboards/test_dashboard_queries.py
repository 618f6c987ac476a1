"""Every SQL statement of the dashboards: it answers from what our writers wrote, to a role that reads."""

from __future__ import annotations

import re
from dataclasses import replace

import psycopg2
import pytest
from dashboard_day import VIOLATION

HOSTILE = [
    "'; DROP SCHEMA otel_ratelimit CASCADE; --",
    "$match$; SELECT 1; --",
    "a|b(",
    "\\",
    "${job}",
    "$__from(",
]
WRITING = {"ModifyTable", "LockRows"}
GROWING = {
    *("rate_limit_analytics", "rate_limit_usage", "query_logs", "query_totals", "query_repeats"),
    "table_writes",
}


def queries(dashboard_queries):
    return dashboard_queries.panel_queries(dashboard_queries.POSTGRES)


def plan_nodes(plan):
    yield plan["Node Type"]
    for child in plan.get("Plans", ()):
        yield from plan_nodes(child)


@pytest.mark.usefixtures("seeded")
def test_every_panel_has_rows(grafana, dashboard_queries, shown):
    for query in queries(dashboard_queries):
        cursor = grafana.cursor()
        cursor.execute(shown().of(query))
        rows = cursor.fetchall()
        assert rows, str(query)
        assert any(value not in {None, ""} for value in rows[0]), str(query)


def test_every_panel_takes_an_empty_database(grafana, dashboard_queries, shown):
    for query in queries(dashboard_queries):
        cursor = grafana.cursor()
        cursor.execute(shown().of(query))
        rows = cursor.fetchall()
        # Its tables are there, and nobody was refused: both are the truth.
        assert query.panel in {"Clients refused", "Tables"} or rows == [], str(query)


@pytest.mark.usefixtures("seeded")
def test_no_panel_writes_or_locks(grafana, dashboard_queries, shown):
    for query in queries(dashboard_queries):
        cursor = grafana.cursor()
        cursor.execute(f"EXPLAIN (FORMAT JSON) {shown().of(query)}")
        [[[explained]]] = cursor.fetchall()
        assert not WRITING & set(plan_nodes(explained["Plan"])), str(query)


@pytest.mark.usefixtures("seeded")
def test_no_panel_reads_a_table_that_grows_with_traffic_from_end_to_end(grafana, dashboard_queries, shown):
    for query in queries(dashboard_queries):
        cursor = grafana.cursor()
        # Then it does so only where no index would do.
        cursor.execute("SET enable_seqscan = off")
        cursor.execute(f"EXPLAIN {shown().of(query)}")
        read = re.findall(r"Seq Scan on (\w+)", "\n".join(line for (line,) in cursor.fetchall()))
        assert not GROWING & {re.sub(r"_\d+$", "", table) for table in read}, str(query)


def test_the_role_may_neither_write_nor_read_the_secret(grafana):
    cursor = grafana.cursor()
    for forbidden in (
        "DELETE FROM otel_ratelimit.rate_limit_analytics",
        "SELECT secret FROM otel_ratelimit.hash_keys",
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(forbidden)


@pytest.mark.usefixtures("seeded")
def test_courses_have_a_time_in_order_and_numbers(grafana, dashboard_queries, shown):
    asked = [query for query in queries(dashboard_queries) if query.format == "time_series"]
    assert len(asked) == 5
    for query in asked:
        cursor = grafana.cursor()
        cursor.execute(shown().of(query))
        rows = cursor.fetchall()
        assert cursor.description[0].name == "time", str(query)
        assert [row[0] for row in rows] == sorted(row[0] for row in rows), str(query)
        for column, *values in zip(cursor.description, *rows, strict=True):
            is_series_name = column.name == "metric"
            assert column.name == "time" or is_series_name == isinstance(values[0], str), str(query)


@pytest.mark.usefixtures("seeded")
def test_columns_that_have_a_look_of_their_own_are_there(grafana, dashboard_queries, shown):
    by_panel = {(query.file, query.panel): query for query in queries(dashboard_queries)}
    for file, dashboard in dashboard_queries.dashboards().items():
        for panel in dashboard_queries.panels(dashboard):
            if "rawSql" in panel["targets"][0] and panel["type"] != "timeseries":
                cursor = grafana.cursor()
                cursor.execute(shown().of(by_panel[file, panel["title"]]))
                columns = {column.name for column in cursor.description}
                for override in panel["fieldConfig"]["overrides"]:
                    assert override["matcher"]["options"] in columns, panel["title"]


@pytest.mark.usefixtures("seeded")
def test_the_names_of_series_that_have_a_colour_are_there(grafana, dashboard_queries, shown):
    by_panel = {(query.file, query.panel): query for query in queries(dashboard_queries)}
    for file, dashboard in dashboard_queries.dashboards().items():
        for panel in dashboard_queries.panels(dashboard):
            if "rawSql" in panel["targets"][0] and panel["type"] == "timeseries":
                cursor = grafana.cursor()
                cursor.execute(shown().of(by_panel[file, panel["title"]]))
                columns = {column.name for column in cursor.description}
                for override in panel["fieldConfig"]["overrides"]:
                    assert override["matcher"]["options"] in columns, panel["title"]


# Variables


@pytest.mark.usefixtures("seeded")
def test_choosing_narrows_to_what_was_chosen(ask, write):
    write(replace(VIOLATION, client="198.51.100.1"), service="it's another (new)")
    assert {row["Client"] for row in ask("Most limited clients", job=["it's another (new)"])} == {
        "198.51.100.1"
    }
    assert len(ask("Most limited clients", job=["shop", "it's another (new)"])) == 4
    assert {row["Route"] for row in ask("Most limited routes", route=["/api/ai"])} == {"/api/ai"}
    assert {row["Tier"] for row in ask("Most limited routes", tier=["expensive"])} == {"expensive"}
    assert ask("Most limited clients", job=["sho."]) == []


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("value", HOSTILE)
def test_no_value_of_a_variable_is_more_than_a_value(ask, write, value):
    assert ask("Last violations", job=[value]) == []
    write(replace(VIOLATION, n=1), service=value)
    [row] = ask("Most limited routes", job=[value])
    assert row["Refused"] == 1
