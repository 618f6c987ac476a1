"""Runbooks and the list of alerts say what the rules say, and tell to ask what can be asked."""

from __future__ import annotations

import json
import re
import shlex
import textwrap
from itertools import pairwise
from typing import NamedTuple

import click
import flask
import promql_parser as promql
import pytest
import yaml
from alert_rules import ALERTS, RECORDINGS, ROOT, RUNBOOKS
from page_lists import list_items
from promql_facts import labels_of, selectors

from dashboards.source.foreign import FOREIGN_METRICS
from dashboards.source.instruments import RESOURCE_LABELS, labels_by_series
from otel_ratelimit.cli import main
from otel_ratelimit.core import thresholds
from otel_ratelimit.core.settings import variable_names
from otel_ratelimit.policy import parse_policy
from otel_ratelimit.web.api import api_blueprint

PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(RUNBOOKS.glob("*.md"))}
OVERVIEW = PAGES.pop("README")
REFERENCE = (ROOT / "docs/reference/alerts.md").read_text(encoding="utf-8")
POLICY = (ROOT / "docs/reference/policy.md").read_text(encoding="utf-8")
SECTIONS = ["What it means", "What to look at first", "What to do", "When to ignore it"]
API = "/api/rate-limit"
TOKEN = "a-token-for-reading"
every_page = pytest.mark.parametrize("page", PAGES)


def blocks(text, language):
    found = re.findall(rf"^( *)```{language}\n(.*?)\n\1```$", text, flags=re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(body) for _, body in found]


def prose(text):
    """The text outside of blocks and headings."""
    without = re.sub(r"^( *)```.*?\n\1```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^#.*$", "", without, flags=re.MULTILINE)


def inline_code(text):
    return re.findall(r"`([^`]+)`", prose(text))


def section(text, title):
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(text):
    """Cells of a table's lines, without its head."""
    lines = re.findall(r"^\|(.+)\|$", text, flags=re.MULTILINE)[2:]
    return [[cell.strip() for cell in line.split("|")] for line in lines]


# Pages and alerts


def test_every_alert_has_a_page_and_every_page_an_alert():
    assert set(PAGES) == {rule.name for rule in ALERTS}


def test_an_alert_links_to_its_page():
    for rule in ALERTS:
        path = rule.annotations["runbook_url"].partition("/blob/main/")[2]
        assert path == f"docs/runbooks/{rule.name}.md"
        assert (ROOT / path).is_file()


@every_page
def test_a_page_is_named_after_its_alert_and_has_four_sections(page):
    [title, *sections] = re.findall(r"^#+ (.+)$", PAGES[page], flags=re.MULTILINE)
    assert title == page
    assert sections == SECTIONS
    assert all(len(section(PAGES[page], title).split()) >= 8 for title in SECTIONS)


@every_page
def test_a_page_is_short_enough_to_be_read_at_night(page):
    assert 200 <= len(PAGES[page].split()) <= 500


@every_page
def test_a_page_says_how_bad_it_is_and_how_long_it_waits_as_its_rules_do(page):
    rules = [rule for rule in ALERTS if rule.name == page]
    waits = [
        rule.waits + (f" (window {rule.labels['window']})" if "window" in rule.labels else "")
        for rule in rules
    ]
    severity, subject = rules[0].labels["severity"], rules[0].labels["subject"]
    expected = f"Severity **{severity}**, subject {subject}; fires when true for {' or '.join(waits)}."
    assert PAGES[page].splitlines()[2] == expected


def test_the_list_of_runbooks_has_every_alert_with_its_severity():
    listed = [(cells[0], cells[1]) for cells in rows(OVERVIEW)]
    assert listed == list(dict.fromkeys((f"[{rule.name}]", rule.labels["severity"]) for rule in ALERTS))
    targets = re.findall(r"^\[(\w+)\]: (.+)$", OVERVIEW, flags=re.MULTILINE)
    assert targets == [(name.strip("[]"), f"{name.strip('[]')}.md") for name, _ in listed]
    assert all(len(cells[2].split()) >= 4 for cells in rows(OVERVIEW))


# The list of alerts


def test_the_list_has_every_rule_in_its_order_as_it_is():
    entry = re.compile(r"\[(\w+)\]\((\S+)\) \((\w+), (\w+), for (\w+)\): .+")
    listed = [entry.fullmatch(item) for item in list_items(section(REFERENCE, "All of them"))]
    assert [item and item.groups() for item in listed] == [
        (
            rule.name,
            f"../runbooks/{rule.name}.md",
            rule.labels["severity"],
            rule.labels["subject"],
            rule.waits,
        )
        for rule in ALERTS
    ]


def test_the_numbers_are_those_of_the_code_and_of_alerts_that_there_are():
    for name, value, what in rows(section(REFERENCE, "Numbers")):
        assert getattr(thresholds, name.strip("`")) == float(value), name
        assert set(re.findall(r"RateLimit\w+", what)) <= set(PAGES)


def test_the_pairs_of_windows_are_those_of_the_rules():
    listed = [cells[1:] for cells in rows(section(REFERENCE, "The share that is refused"))]
    assert len(listed) == len([rule for rule in ALERTS if "window" in rule.labels])
    for (share, *windows), rule in zip(
        listed, (rule for rule in ALERTS if "window" in rule.labels), strict=True
    ):
        found = re.findall(r"ratio(\w+) > ([\d.]+) \* ([\d.]+)", rule.expr)
        words = {"m": "minutes", "h": "hours", "d": "days"}
        assert windows == [
            f"{each[0][:-1]} {words[each[0][-1]]}".replace("1 hours", "1 hour").replace("1 days", "1 day")
            for each in found
        ]
        assert {f"{100 * float(factor) * float(budget):g} %" for _, factor, budget in found} == {share}


def test_what_is_recorded_is_listed():
    listed = set(re.findall(r"`(\w+:\w+:\w+)`", section(REFERENCE, "Recorded")))
    for name in list(listed):
        others = re.findall(r"`(ratio\w+)`", section(REFERENCE, "Recorded"))
        if name.endswith("ratio5m"):
            listed |= {name.removesuffix("ratio5m") + other for other in others}
    assert listed == {rule.name for rule in RECORDINGS}


def test_how_long_it_takes_is_what_the_configurations_say():
    def load(path):
        return yaml.safe_load((ROOT / "collector" / path).read_text(encoding="utf-8"))

    def seconds(texts):
        units = {"s": 1, "m": 60}
        return sorted(int(text[:-1]) * units[text[-1]] for text in texts)

    prometheus = load("prometheus/prometheus.yml")["global"]
    route = load("alertmanager/alertmanager.yml")["route"]
    intervals = {group["interval"] for group in load("prometheus/rules/recording.yml")["groups"]}
    waits = {route["group_wait"], *(each["group_wait"] for each in route["routes"])}
    stated = {
        cells[0]: sorted(int(n) for n in re.findall(r"\d+", cells[1]))
        for cells in rows(section(REFERENCE, "How long it takes"))
    }
    assert stated["Prometheus scrapes the collector"] == seconds([prometheus["scrape_interval"]])
    assert stated["the rule is evaluated"] == seconds([prometheus["evaluation_interval"]])
    assert stated["sums are recorded, where the rule needs them"] == seconds(intervals)
    assert stated["Alertmanager waits for others of the group"] == seconds(waits)


# Queries of a page


def series():
    """Labels by name: of our metrics, of others' that dashboards show, and of what is recorded."""
    known = labels_by_series() | {metric.name: metric.labels for metric in FOREIGN_METRICS.values()}
    for rule in RECORDINGS:
        parsed = promql.parse(rule.expr)
        # Some of the collector's are in rules only, which have a test of their own.
        of_collector = dict.fromkeys(
            (each.name for each in selectors(parsed)), frozenset({"job", "instance", "exporter"})
        )
        known[rule.name] = labels_of(parsed, of_collector | known) | set(rule.labels)
    assert RESOURCE_LABELS - {"instance"} <= known["job:otel_ratelimit_requests_blocked:ratio5m"]
    return known


SERIES = series()


@every_page
def test_every_promql_names_metrics_and_labels_that_there_are(page):
    for text in blocks(PAGES[page], "promql"):
        parsed = promql.parse(text)
        for selector in selectors(parsed):
            assert selector.name in SERIES, text
            assert {each.name for each in selector.matchers.matchers} <= SERIES[selector.name], text
        labels_of(parsed, SERIES)


@every_page
def test_a_page_has_something_to_ask_and_somewhere_to_look(page):
    first = section(PAGES[page], "What to look at first")
    assert blocks(first, "promql") + blocks(first, "sql") + blocks(first, "sh")
    assert panels_named(first)


def panels_named(text):
    """Titles in quotes, each with the dashboard that is named after it, in italics."""
    plain = re.sub(r"`[^`]*`", "", prose(text)).replace("**", "")
    found, waiting = [], []
    for title, dashboard in re.findall(r'"([^"]+)"|\*([^*]+)\*', plain):
        if title:
            waiting.append(" ".join(title.split()))
        else:
            found += [(each, dashboard) for each in waiting]
            waiting = []
    return found + [(each, "") for each in waiting]


PANELS = {
    (panel["title"], dashboard["title"].removeprefix("Rate limits: "))
    for dashboard in (
        json.loads(path.read_text()) for path in (ROOT / "dashboards" / "generated").glob("*.json")
    )
    for panel in dashboard["panels"]
    if panel["type"] != "row"
}


@every_page
def test_panels_are_there_in_the_dashboard_that_is_named(page):
    for title, dashboard in panels_named(PAGES[page]):
        assert (title, dashboard.lower()) in PANELS, title


class Command(NamedTuple):
    """One that is run in a shell."""

    name: str
    arguments: list[str]


def commands(text):
    """Commands in blocks, and complete commands in prose."""
    lines = [line for block in blocks(text, "sh") for line in block.replace("\\\n", " ").splitlines()]
    lines += [code for code in inline_code(text) if code.startswith("otel-ratelimit ")]
    parts = [part for line in lines for part in re.split(r" (?:\||&&) ", line)]
    return [Command(*_split(part)) for part in parts]


def _split(part):
    name, *arguments = shlex.split(part, comments=True)
    return name, arguments


@every_page
def test_every_command_and_option_of_ours_is_one_that_there_is(page):
    for name, arguments in commands(PAGES[page]):
        if name == "otel-ratelimit":
            assert unknown(arguments) == [], arguments


def unknown(arguments):
    """Arguments that are left over; raises `click.UsageError` for an option that is not known."""
    command, rest = main, list(arguments)
    while isinstance(command, click.Group):
        command = command.commands[rest.pop(0)]
    context = click.Context(command)
    _, left_over, _ = command.make_parser(context).parse_args(rest)
    return left_over


def test_a_wrong_option_or_argument_is_noticed():
    assert unknown(["policy", "check", "ratelimit.toml"]) == []
    assert unknown(["db", "current", "surplus"]) == ["surplus"]
    with pytest.raises(click.NoSuchOption):
        unknown(["report", "run", "--backfil-all"])
    with pytest.raises(KeyError):
        unknown(["report", "walk"])


@pytest.fixture
def described(api_services):
    """Parameters by endpoint, as the API describes itself."""
    app = flask.Flask(__name__)
    app.register_blueprint(api_blueprint(lambda: api_services(read_tokens=(TOKEN,))))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    document = app.test_client().get(f"{API}/openapi.json", headers=headers).json
    return {
        path: {each["name"] for each in item["get"].get("parameters", [])}
        for path, item in document["paths"].items()
    }


def test_every_request_to_the_api_is_one_that_it_knows(described):
    asked = 0
    for text in PAGES.values():
        for name, arguments in commands(text):
            [*paths] = [each[each.index(API) :] for each in arguments if API in each]
            if name == "curl" and paths:
                asked += 1
                given = {
                    value.partition("=")[0]
                    for option, value in pairwise(arguments)
                    if option == "--data-urlencode"
                }
                assert given <= described[paths[0]], arguments
    assert asked >= 3


@every_page
def test_variables_are_those_that_have_an_effect(page):
    of_collector = {
        name
        for path in (ROOT / "collector").glob("*.yaml")
        for name in re.findall(r"\$\{env:(OTELCOL_[A-Z_]+)", path.read_text(encoding="utf-8"))
    }
    named = set(re.findall(r"\b(?:OTEL_RATELIMIT|OTELCOL)_[A-Z_]+", PAGES[page]))
    assert named <= of_collector | set(variable_names())


@every_page
def test_parts_of_a_policy_are_valid(page):
    for text in blocks(PAGES[page], "toml"):
        parse_policy(text, f"{page}.md")


@every_page
def test_keys_of_a_policy_are_in_its_reference(page):
    for code in inline_code(PAGES[page]):
        if found := re.fullmatch(r"(\[+\w+\]+)(?: (\w+)(?: = .+)?)?", code):
            table, key = found.groups()
            assert f"\n## `{table}`\n" in POLICY, code
            assert key is None or f"\n- `{key}` (" in section(POLICY, f"`{table}`"), code
