"""The page on the Python functions says of each what the code says; its examples run elsewhere."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
from pathlib import Path

import pytest
from page_lists import list_items

from otel_ratelimit.analytics.headroom import BreathingRoom
from otel_ratelimit.analytics.hit_rate import HitRate
from otel_ratelimit.analytics.reader import ViolationGroup
from otel_ratelimit.cache_advice.cost_benefit import CostBenefit
from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.cache_advice.result import CacheAnalysis
from otel_ratelimit.queries.duplicates import Duplicates, RepeatsInRequests, RepeatsInTime
from otel_ratelimit.queries.records import QueryTemplate
from otel_ratelimit.storage import KeyDistribution, MemoryHealth

PAGE = (Path(__file__).parents[2] / "docs/reference/functions.md").read_text()

FUNCTIONS = {
    "get_storage_size": ("otel_ratelimit.storage", ()),
    "get_active_keys": ("otel_ratelimit.storage", ()),
    "get_key_distribution": ("otel_ratelimit.storage", (KeyDistribution,)),
    "check_memory_health": ("otel_ratelimit.storage", (MemoryHealth,)),
    "log_rate_limit_violation": ("otel_ratelimit.analytics", ()),
    "get_violations_by_endpoint": ("otel_ratelimit.analytics", (ViolationGroup,)),
    "get_violations_by_ip": ("otel_ratelimit.analytics", (ViolationGroup,)),
    "calculate_hit_rate_by_endpoint": ("otel_ratelimit.analytics", (HitRate,)),
    "calculate_breathing_room": ("otel_ratelimit.analytics", (BreathingRoom,)),
    "hash_query": ("otel_ratelimit.queries", (QueryTemplate,)),
    "log_query": ("otel_ratelimit.queries", ()),
    "detect_duplicates": ("otel_ratelimit.queries", (Duplicates, RepeatsInRequests, RepeatsInTime)),
    "analyze_cache_potential": ("otel_ratelimit.reports", (CacheAnalysis,)),
    "generate_daily_cache_report": ("otel_ratelimit.reports", (DailyCacheReport,)),
    "calculate_redis_cost_benefit": ("otel_ratelimit.reports", (CostBenefit,)),
}
"""Those that the specification names: where they are imported from, and of what their answers are made."""

ARGUMENT = re.compile(r"`(\w+)` \((?:default `([^`]+)`|(required))\): .+")
each = pytest.mark.parametrize("name", FUNCTIONS)


def section(name):
    return PAGE.split(f"\n## `{name}`\n", 1)[1].split("\n## ", 1)[0]


def function_of(name):
    return getattr(importlib.import_module(FUNCTIONS[name][0]), name)


def source_of(name):
    [found] = ast.parse(textwrap.dedent(inspect.getsource(function_of(name)))).body
    return found


def fields_of(answer):
    """The readable parts of an answer: its fields, and what is computed from them."""
    if dataclasses.is_dataclass(answer):
        found = {field.name for field in dataclasses.fields(answer)}
    else:
        found = set(getattr(answer, "model_fields", ()) or answer._fields)
    computed = {key for key, value in vars(answer).items() if isinstance(value, property)}
    return found | {key for key in computed if not key.startswith("_")}


def test_the_table_and_the_headings_name_all_and_no_other():
    assert len(FUNCTIONS) == 15
    overview = PAGE.split("\n## ", 1)[0]
    listed = [
        (*link, module)
        for module, text in re.findall(r"^From `([\w.]+)`:\n((?:\n|- .+\n?)+)", overview, flags=re.MULTILINE)
        for link in re.findall(r"^- \[`(\w+)`\]\(#(\w+)\): ", text, flags=re.MULTILINE)
    ]
    assert listed == [(name, name, module) for name, (module, _) in FUNCTIONS.items()]
    assert re.findall(r"^## `(\w+)`$", PAGE, flags=re.MULTILINE) == list(FUNCTIONS)


@each
def test_the_import_is_the_one_that_works(name):
    assert f"`from {FUNCTIONS[name][0]} import {name}`" in section(name)
    assert name in importlib.import_module(FUNCTIONS[name][0]).__all__


@each
def test_the_signature_is_that_of_the_code(name):
    [written] = re.findall(r"```text\n(.*?)```", section(name), flags=re.DOTALL)
    [page] = ast.parse(f"def {written.strip()}: ...").body
    code = source_of(name)
    assert page.name == name
    assert ast.unparse(page.args) == ast.unparse(code.args)
    assert ast.unparse(page.returns) == ast.unparse(code.returns)


@each
def test_every_argument_is_explained_with_its_default(name):
    items = map(ARGUMENT.fullmatch, list_items(section(name)))
    args = source_of(name).args
    plain = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(plain) - len(args.defaults)) + [*args.defaults, *args.kw_defaults]
    expected = [
        (argument.arg, "required" if default is None else ast.unparse(default))
        for argument, default in zip([*plain, *args.kwonlyargs], defaults, strict=True)
    ]
    assert [(item[1], item[2] or item[3]) for item in items if item] == expected


@each
def test_the_answer_with_all_that_it_holds_the_errors_and_an_example_are_there(name):
    text = section(name)
    assert "**Answers**" in text
    assert "**Raises**" in text
    for answer in FUNCTIONS[name][1]:
        missing = {field for field in fields_of(answer) if f"`{field}`" not in text}
        # Fields that follow from another one are left to the docstring.
        assert missing <= {"is_all_known"}, answer
    [example] = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert f"{name}(" in example
