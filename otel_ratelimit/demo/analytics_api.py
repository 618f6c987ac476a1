"""Asks the application's own API at the end of the demo, for what it recorded in PostgreSQL."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from typing import Any, Final

from otel_ratelimit.demo.errors import DemoError
from otel_ratelimit.demo.ports import LOOPBACK
from otel_ratelimit.postgres import Database

PATH: Final = "/api/rate-limit/analytics?date_range=1h&group_by=client"
TIMEOUT_SECONDS: Final = 10.0
_COUNT_ROWS: Final = "SELECT count(*) FROM otel_ratelimit.rate_limit_analytics"


@dataclass(frozen=True, slots=True)
class LimitedClient:
    """A client that was limited."""

    client: str
    violations: int
    endpoints: int


@dataclass(frozen=True, slots=True)
class LimitHeadroom:
    """The headroom of one limit."""

    endpoint: str
    method: str
    limit: str
    requests: int
    refused: int
    p95: float


@dataclass(frozen=True, slots=True)
class RecommendedLimit:
    """A limit that the recorded traffic suggests."""

    endpoint: str
    method: str
    present: str
    recommended: str
    """Empty if even ten times the limit would refuse too many clients."""
    rejected_clients_share: float
    client_windows: int


@dataclass(frozen=True, slots=True)
class StoredAnswers:
    """The recorded data, as the API answers it."""

    violations: int
    rows: int
    """Rows in which the violations are stored."""
    requests: int
    hit_rate: float
    clients: tuple[LimitedClient, ...]
    rooms: tuple[LimitHeadroom, ...]
    """The tightest first."""
    recommended: tuple[RecommendedLimit, ...]


def ask(port: int, token: str, database_url: str, expected_violations: int) -> StoredAnswers:
    """Ask the API, once it has as many violations as the clients saw.

    Raises:
        DemoError: the API does not answer, or some violations are not recorded in time.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        answer = _get(port, token)
        found = answer["violations"]["total_violations"]
        if found >= expected_violations:
            break
        if time.monotonic() > deadline:
            raise DemoError(
                f"only {found} of {expected_violations} violations are in the database",
                "gunicorn's log says why the others were not written",
            )
        time.sleep(0.2)
    database = Database(database_url)
    try:
        [(rows,)] = database.rows(_COUNT_ROWS)
    finally:
        database.close()
    return _answers(answer, rows)


def _get(port: int, token: str) -> Any:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", PATH, headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        body = response.read()
    except OSError as error:
        raise DemoError(f"the API does not answer: {error}", "gunicorn's log may say why") from error
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise DemoError(f"the API answers {response.status}: {body.decode(errors='replace')}", "see above")
    return json.loads(body)


def _answers(answer: Any, rows: int) -> StoredAnswers:
    overall = answer["hit_rates"]["overall"]
    return StoredAnswers(
        violations=answer["violations"]["total_violations"],
        rows=rows,
        requests=overall["limited"],
        hit_rate=overall["hit_rate"],
        clients=tuple(
            LimitedClient(group["key"], group["violations"], group["endpoints"])
            for group in answer["violations"]["groups"]
        ),
        rooms=tuple(
            LimitHeadroom(r["endpoint"], r["method"], r["limit_text"], r["requests"], r["refused"], r["p95"])
            for r in answer["breathing_room"]
        ),
        recommended=tuple(_recommended(found) for found in answer["recommendations"]),
    )


def _recommended(found: Any) -> RecommendedLimit:
    chosen = found["recommended"]
    return RecommendedLimit(
        endpoint=found["endpoint"],
        method=found["method"],
        present=found["limit_text"],
        recommended=chosen["limit_text"] if chosen else "",
        rejected_clients_share=chosen["rejected_clients_share"] if chosen else 1.0,
        client_windows=found["client_windows"],
    )
