"""The reference pages say what the code has, all of it, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import click
from page_lists import listed_names

from otel_ratelimit.cli import main
from otel_ratelimit.core import names
from otel_ratelimit.core.decision import DecisionKind
from otel_ratelimit.core.settings import variable_names
from otel_ratelimit.telemetry.logs.formats import FIELDS

DOCS = Path(__file__).parents[2] / "docs"

SPAN_ATTRIBUTES = {names.TIER, names.DECISION, names.LIMIT, names.REMAINING, names.CLIENT, names.ERROR_TYPE}
INSTRUMENTS = {
    names.REQUESTS,
    names.UTILIZATION,
    names.CHECK_DURATION,
    names.CLIENT_LIMITED,
    names.KEY_FALLBACKS,
    names.STORAGE_SIZE,
    names.STORAGE_CAPACITY,
    names.STORAGE_THRESHOLD,
    names.STORAGE_KEYS,
    names.STORAGE_ERRORS,
    names.STORAGE_OVERFLOWS,
    names.CLEANUP_REMOVED_KEYS,
    names.CLEANUP_FREED,
    names.CLEANUP_DURATION,
    names.VIOLATIONS_RECORDED,
    names.VIOLATIONS_DROPPED,
    names.QUEUE_LENGTH,
    names.QUEUE_CAPACITY,
    names.QUERIES,
    names.QUERY_REPEATS,
    names.QUERY_CAPTURE_DURATION,
    names.REPORT_LAST_SUCCESS,
    names.CACHE_HIT_POTENTIAL,
    names.POLICY_INFO,
    names.POLICY_RELOADS,
}
EVENTS = {names.N_PLUS_ONE}
LOG_ATTRIBUTES = set(FIELDS)
SPANS = {names.REPORT_SPAN, names.REPORT_DAY_SPAN, names.REPORT_MAIL_SPAN}


def first_column(page, section=""):
    text = (DOCS / page).read_text()
    if section:
        text = text.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    return set(re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE))


def test_every_name_in_the_code_is_an_instrument_an_attribute_or_a_known_constant():
    constants = {
        value for key, value in vars(names).items() if key.isupper() and str(value).startswith("otel_")
    }
    others = {names.METER, names.STORAGE, names.OUTCOME, names.POLICY_HASH, names.KEY, names.EXECUTIONS}
    others |= {names.ON_ERROR, names.LEVEL, names.QUEUE}
    others |= {*SPANS, names.REPORT_DATE}
    others |= {name for name in LOG_ATTRIBUTES if name.startswith("otel_ratelimit.")}
    on_spans = (SPAN_ATTRIBUTES | EVENTS) - {names.ERROR_TYPE}
    assert constants == INSTRUMENTS | on_spans | others


def test_the_metrics_page_lists_every_instrument():
    text = (DOCS / "reference/metrics.md").read_text()
    section = text.split("\n## Metrics\n", 1)[1].split("\n## ", 1)[0]
    listed = listed_names(section)
    assert len(listed) == len(INSTRUMENTS)
    assert set(listed) == INSTRUMENTS


def test_the_metrics_page_explains_every_decision():
    text = (DOCS / "reference/metrics.md").read_text().split("`otel_ratelimit.decision` is one of", 1)[1]
    table = text.split("\nThe tier", 1)[0]
    assert set(re.findall(r"^\| `([^`]+)` \|", table, flags=re.MULTILINE)) == set(DecisionKind)


def test_the_metrics_page_lists_every_span_attribute():
    assert first_column("reference/metrics.md", "On the server span") == SPAN_ATTRIBUTES


def test_the_metrics_page_lists_every_span():
    assert first_column("reference/metrics.md", "Spans of the nightly report") == SPANS


def test_the_metrics_page_names_every_event():
    text = (DOCS / "reference/metrics.md").read_text()
    assert all(f"`{name}`" in text for name in (*EVENTS, names.EXECUTIONS, names.REPORT_DATE))


def test_the_log_page_lists_every_field_of_a_line():
    text = (DOCS / "reference/logs.md").read_text().split("\n## Fields\n", 1)[1].split("\n## ", 1)[0]
    listed = dict(re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", text, flags=re.MULTILINE))
    assert listed == {field: attribute for attribute, field in FIELDS.items()}


def test_the_environment_page_lists_every_variable():
    text = (DOCS / "reference/environment.md").read_text().split("\n## ", 1)[0]
    listed = re.findall(r"^- `(OTEL_RATELIMIT_(\w+))` \(`(\w+)`", text, flags=re.MULTILINE)
    assert {variable for variable, _, _ in listed} == set(variable_names())
    assert all(argument == name.lower() for _, name, argument in listed)


def commands(group, prefix="otel-ratelimit"):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}"


def test_the_command_line_page_lists_every_command():
    text = (DOCS / "reference/cli.md").read_text()
    listed = {re.sub(r" (\[?[A-Z:]+\]?)$", "", entry) for entry in listed_names(text)}
    assert listed == set(commands(main))
