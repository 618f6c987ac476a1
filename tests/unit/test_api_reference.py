"""The page on the HTTP API says what the API has, all of it, and its examples are what it answers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from page_lists import list_items

from otel_ratelimit.web.api import URL_PREFIX
from otel_ratelimit.web.api.blueprint import all_endpoints
from otel_ratelimit.web.api.openapi import document
from otel_ratelimit.web.api.problems import ParameterProblem

PAGE = (Path(__file__).parents[2] / "docs/reference/api.md").read_text()
PARAMETER = re.compile(r"`(\w+)`(?: \(default ([^)]+)\))?: ")
DESCRIBED = [endpoint for endpoint in all_endpoints() if endpoint.name != "openapi"]


def section(endpoint):
    return PAGE.split(f"\n## `{endpoint.method} {URL_PREFIX}{endpoint.path}`\n", 1)[1].split("\n## ", 1)[0]


def test_the_table_lists_every_endpoint_with_its_token():
    rows = re.findall(r"^\| `(\w+ /[\w.-]+)` \| (\w+) \|", PAGE, flags=re.MULTILINE)
    assert rows == [(f"{endpoint.method} {endpoint.path}", endpoint.access) for endpoint in all_endpoints()]


@pytest.mark.parametrize(
    "endpoint", [e for e in DESCRIBED if e.method == "GET"], ids=lambda endpoint: endpoint.name
)
def test_every_parameter_is_explained_with_its_default(endpoint):
    items = [PARAMETER.match(item) for item in list_items(section(endpoint))]
    fields = endpoint.parameters.model_fields
    assert {item[1] for item in items if item} == set(fields)
    for item in items:
        if item and not fields[item[1]].is_required() and fields[item[1]].default is not None:
            assert item[2].strip("`") == str(fields[item[1]].default)


@pytest.mark.parametrize("endpoint", DESCRIBED, ids=lambda endpoint: endpoint.name)
def test_the_example_is_an_answer_with_every_field(endpoint):
    example = json.loads(re.search(r"```json\n(.*?)```", section(endpoint), flags=re.DOTALL)[1])
    answer = endpoint.answer.model_validate(example)
    assert set(json.loads(answer.model_dump_json())) == set(example)


def test_the_example_of_a_problem_is_one():
    errors = PAGE.split("\n## Errors\n", 1)[1]
    ParameterProblem.model_validate_json(re.search(r"```json\n(.*?)```", errors, flags=re.DOTALL)[1])


def test_every_status_that_is_described_is_explained():
    explained = set(re.findall(r"^\| (\d{3}) \|", PAGE, flags=re.MULTILINE))
    described = {
        status
        for item in document(all_endpoints(), URL_PREFIX, "")["paths"].values()
        for operation in item.values()
        for status in operation["responses"]
    }
    assert explained == described - {"200"} | {"405"}
