"""The whole API against its own description: requests made from it, good and bad, on a running server.

Schemathesis checks of each answer that it is no 5xx, that status, type, headers and body are described, that
good requests are taken and bad ones refused, that other methods are 405, and that no request without a
valid token gets through.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import flask
import psycopg2
import pytest
import schemathesis
from hypothesis import strategies as st
from werkzeug.serving import make_server

from otel_ratelimit import RateLimit
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.cache_reports import PostgresCacheReports
from otel_ratelimit.web.api import URL_PREFIX
from otel_ratelimit.web.api.blueprint import all_endpoints
from otel_ratelimit.web.api.openapi import document

ADMIN = "token-of-the-administrator"
POLICY = """
version = 1
key = "ip+user"

[tiers]
default = "1000000/minute"

[[routes]]
match = "/keyed"
limits = "10/minute"
key = "header:X-Api-Key"
"""

# JSON Schema cannot describe a string of this format.
schemathesis.openapi.format(
    "date-range",
    st.one_of(
        st.integers(1, 366).map("{}d".format),
        st.integers(1, 8_784).map("{}h".format),
        st.dates().map(str),
    ).filter(lambda text: text != "9999-12-31"),
)


@pytest.fixture(scope="module")
def module_database(postgres, migrated_template):
    connection = psycopg2.extensions.connection(postgres.dsn())
    connection.autocommit = True
    connection.cursor().execute(f"CREATE DATABASE described TEMPLATE {migrated_template(postgres)}")
    connection.close()
    return postgres.dsn("described")


@pytest.fixture(scope="module")
def server(module_database, cache_report, tmp_path_factory):
    """The URL of an application with limits, analytics, reports of two days and the API."""
    app = flask.Flask("shop")
    app.add_url_rule("/jobs/<int:number>", "jobs", lambda number: "ok")
    app.add_url_rule("/keyed", "keyed", lambda: "ok", methods=["GET", "POST"])
    policy = tmp_path_factory.mktemp("shop") / "ratelimit.toml"
    policy.write_text(POLICY + '\n[[routes]]\nmatch = "/api/rate-limit/**"\ntier = "default"\n')
    limited = RateLimit(
        app,
        policy=policy,
        environ={},
        database_url=module_database,
        api_token="read-token-of-someone",
        admin_token=ADMIN,
    )
    for _ in range(12):
        app.test_client().get("/keyed", headers={"X-Api-Key": "one"})
    assert limited.analytics.recorder.flush()
    reports = Database(module_database)
    for back, busy in ((2, False), (1, True)):
        day = datetime.now(UTC).date() - timedelta(days=back)
        PostgresCacheReports(reports).save(cache_report(day, busy=busy, value_of_saved_ms=0.01))
    reports.close()
    served = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=served.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    thread.join()
    served.server_close()
    limited.close()


api = schemathesis.openapi.from_dict(
    document(all_endpoints(), URL_PREFIX, root=""),
    config=schemathesis.Config.from_dict(
        {"seed": 1, "generation": {"max-examples": 25, "deterministic": True, "database": "none"}}
    ),
)


@api.parametrize()
def test_every_answer_is_as_described(case, server):
    if case.operation.path.endswith("/status") and "ip" not in case.query:
        # That an address is needed where nothing else tells the client cannot be said in OpenAPI.
        case.query["ip"] = "192.0.2.7"
    case.call_and_validate(base_url=server, headers={"Authorization": f"Bearer {ADMIN}"})
