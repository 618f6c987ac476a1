"""A database of two services, and the API of a third application on it."""

from __future__ import annotations

import threading
from datetime import timedelta

import flask
import pytest
from two_services import DEMAND, NOON, TOKEN, write
from werkzeug.serving import make_server

from otel_ratelimit import RateLimit
from otel_ratelimit.policy import parse_policy


@pytest.fixture
def both(database, record, monkeypatch):
    """A database with requests of both services, and queries, which are the same for both."""
    for service, demand in DEMAND.items():
        write(database, service, demand)
        record(database, *(NOON + timedelta(seconds=at) for at in range(demand)), service=service)
    monkeypatch.setenv("OTEL_RATELIMIT_DATABASE_URL", database)
    for variable in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(variable, raising=False)
    return database


@pytest.fixture
def ask(both):
    """`ask(path, **query)`: what the API of a third application answers."""
    app = flask.Flask("admin")
    limited = RateLimit(
        app, policy=parse_policy("version = 1", "p"), environ={}, database_url=both, api_token=TOKEN
    )
    headers = {"Authorization": f"Bearer {TOKEN}"}

    def ask(path, **query):
        return app.test_client().get(f"/api/rate-limit{path}", query_string=query, headers=headers)

    ask.app = app
    yield ask
    limited.close()


@pytest.fixture
def url(ask):
    """Where that application is served."""
    server = make_server("127.0.0.1", 0, ask.app)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
