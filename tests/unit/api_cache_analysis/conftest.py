"""The endpoint of the cache analysis; each answer is checked against the OpenAPI document."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import flask
import jsonschema_rs
import pytest

from otel_ratelimit.web.api import api_blueprint

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
TOKEN = "a-token-for-reading"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def ask(api_services):
    """`ask(reports, **query)`: the answer, which is held against the document."""

    def get(reports, path, **query):
        services = api_services(clock=NOW.timestamp, cache_reports=reports, read_tokens=(TOKEN,))
        app = flask.Flask(__name__)
        app.register_blueprint(api_blueprint(lambda: services))
        return app.test_client().get(f"/api/rate-limit/{path}", query_string=query, headers=HEADERS)

    def ask(reports, **query):
        response = get(reports, "cache-analysis", **query)
        # JSON without NaN.
        body = json.loads(response.data, parse_constant=pytest.fail)
        if response.status_code == 200:
            document = get(reports, "openapi.json").json
            schema = {
                "$ref": "#/components/schemas/CacheAnalysisAnswer",
                "components": document["components"],
            }
            jsonschema_rs.Draft202012Validator(schema).validate(body)
        return response

    return ask
