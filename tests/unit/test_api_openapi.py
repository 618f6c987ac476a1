"""The description of the API, held against the API itself."""

from __future__ import annotations

import dataclasses

import flask
import jsonschema_rs
import openapi_pydantic
import pytest

from otel_ratelimit.core.counter_store import StorageSnapshot
from otel_ratelimit.web.api import BLUEPRINT_NAME, CleanupTally, api_blueprint

TOKEN = "a-token-for-reading"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def services(api_services):
    return api_services(
        snapshot=lambda: StorageSnapshot("bounded-memory", 1, 50_000_000, 1, 0, {"a": 1}, {"ip": 1}),
        cleanup=CleanupTally(lambda: 0.0).totals,
        read_tokens=(TOKEN,),
    )


@pytest.fixture
def client(services):
    app = flask.Flask(__name__)
    client = app.test_client()
    client.services = services
    app.register_blueprint(api_blueprint(lambda: client.services))
    return client


@pytest.fixture
def document(client):
    return client.get("/api/rate-limit/openapi.json", headers=HEADERS).json


def operations(document):
    return {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def test_the_document_is_openapi_3_1(document):
    assert document["openapi"].startswith("3.1.")
    openapi_pydantic.OpenAPI.model_validate(document)


def test_every_schema_is_a_valid_json_schema_and_every_reference_leads_somewhere(document):
    names = document["components"]["schemas"]
    assert names
    for name in names:
        # Building it resolves its references.
        jsonschema_rs.Draft202012Validator(
            {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        )


def test_what_is_described_is_what_is_routed(client, document):
    routed = {
        (method, rule.rule)
        for rule in client.application.url_map.iter_rules()
        if rule.endpoint.startswith(f"{BLUEPRINT_NAME}.") and rule.endpoint != f"{BLUEPRINT_NAME}.other"
        for method in rule.methods - {"HEAD"}
    }
    assert routed == set(operations(document))


def test_every_parameter_says_what_it_is(document):
    parameters = [p for operation in operations(document).values() for p in operation.get("parameters", [])]
    assert {p["name"] for p in parameters} >= {"date_range", "endpoint", "group_by", "page", "path", "ip"}
    for parameter in parameters:
        assert parameter["in"] == "query"
        assert parameter["description"].endswith(".")
        assert "example" in parameter
        schema = parameter["schema"]
        assert "type" in schema or "enum" in schema
        assert "null" not in str(schema)
        assert (
            parameter.get("required")
            or "default" in schema
            or parameter["name"]
            in {
                "endpoint",
                "service",
                "ip",
                "user",
                "key",
            }
        )


def test_bounds_are_described_as_they_are_kept(document):
    described = operations(document)["GET", "/api/rate-limit/analytics"]["parameters"]
    by_name = {parameter["name"]: parameter["schema"] for parameter in described}
    assert (by_name["page"]["minimum"], by_name["page"]["maximum"], by_name["page"]["default"]) == (
        1,
        10_000,
        1,
    )
    assert by_name["group_by"]["enum"] == ["endpoint", "client", "ip", "user", "tier", "hour", "day"]
    assert by_name["max_rejected_share"]["maximum"] == 1.0


def test_every_operation_needs_a_token_and_describes_its_problems(document):
    schemes = document["components"]["securitySchemes"]
    for (method, _), operation in operations(document).items():
        [requirement] = operation["security"]
        [name] = requirement
        assert schemes[name] == {**schemes[name], "type": "http", "scheme": "bearer"}
        assert name == ("adminToken" if method == "DELETE" else "readToken")
        assert set(operation["responses"]) == {"200", "400", "401", "403", "404", "429", "500", "503"}
        for status, response in operation["responses"].items():
            kind = "application/json" if status == "200" else "application/problem+json"
            assert list(response["content"]) == [kind]


@pytest.mark.parametrize(
    ("path", "status", "model"),
    [
        ("/metrics", 200, "MetricsAnswer"),
        ("/metrics?x=1", 400, "ParameterProblem"),
        ("/analytics", 503, "ProblemAnswer"),
        ("/cache-analysis", 503, "ProblemAnswer"),
    ],
)
def test_answers_are_as_described(client, document, path, status, model):
    response = client.get(f"/api/rate-limit{path}", headers=HEADERS)
    assert response.status_code == status
    schema = {"$ref": f"#/components/schemas/{model}", "components": document["components"]}
    jsonschema_rs.Draft202012Validator(schema).validate(response.json)


def test_an_answer_may_hold_nothing_but_null_where_there_is_nothing(client, document, services):
    client.services = dataclasses.replace(services, snapshot=lambda: None, cleanup=lambda: None)
    schema = {"$ref": "#/components/schemas/MetricsAnswer", "components": document["components"]}
    answer = client.get("/api/rate-limit/metrics", headers=HEADERS).json
    jsonschema_rs.Draft202012Validator(schema).validate(answer)


def test_an_application_below_a_path_is_described_with_it(client):
    response = client.get(
        "/api/rate-limit/openapi.json", headers=HEADERS, environ_overrides={"SCRIPT_NAME": "/shop"}
    )
    assert response.json["servers"] == [{"url": "/shop"}]
