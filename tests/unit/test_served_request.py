"""The request that a query belongs to, found in Flask's quick way and in its public one."""

from __future__ import annotations

import flask
import pytest

from otel_ratelimit.core.names import UNMATCHED_ROUTE
from otel_ratelimit.web.served_request import request_finder


@pytest.fixture(params=["quick", "public"])
def find(request, monkeypatch):
    if request.param == "public":
        monkeypatch.delattr(flask.globals, "_cv_request")
    asked = []

    def trace_id():
        asked.append(True)
        return 7

    found = request_finder(trace_id)
    yield found
    assert len(asked) <= 1, "once in a request"


@pytest.fixture
def app():
    app = flask.Flask(__name__)
    app.add_url_rule("/jobs/<int:job>", "job")
    return app


def test_a_request_is_found_with_its_route_and_is_the_same_each_time(app, find):
    with app.test_request_context("/jobs/7"):
        served = find()
        assert (served.endpoint, served.trace_id, served.span) == ("/jobs/<int:job>", 7, None)
        assert find() is served


def test_outside_of_a_request_there_is_none(app, find):
    assert find() is None
    with app.app_context():
        assert find() is None


def test_a_request_that_matches_no_route_is_found_as_such(app, find):
    with app.test_request_context("/nowhere"):
        assert find().endpoint == UNMATCHED_ROUTE
