"""An application and a store on a Redis that answers with errors."""

from __future__ import annotations

import time

import pytest
from limits.storage import storage_from_string
from redis import Redis
from variants import quick_first

from otel_ratelimit.core import names
from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.core.route_plan import Window
from otel_ratelimit.storage import counter_store, storage_options

ON_ERROR = {"closed": 503, "open": 200}
CLIENT = "i" + "0" * 32
every_path = pytest.mark.parametrize("path", quick_first(ON_ERROR))


def window(strategy, amount=9, seconds=86_400, scope="e"):
    return Window(f"n|{scope}|{seconds}|{strategy}|", amount, seconds, strategy, False, "", "")


def admin(server):
    return Redis(port=server.port, retry=None)


def opened(uri, **options):
    return counter_store(storage_from_string(uri, **storage_options(uri), **options), uri, time.time)


def get(app, path, client="10.0.0.1", times=1):
    asked = app.test_client()
    return [asked.get(f"/{path}", headers={"X-Forwarded-For": client}).status_code for _ in range(times)]


def errors(reader):
    return {
        point.attributes[names.ERROR_TYPE]: point.value
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == names.STORAGE_ERRORS
        for point in metric.data.data_points
    }


def until(answer, wanted, seconds=10):
    """The results of `answer`, of which the last is `wanted`."""
    deadline = time.monotonic() + seconds
    seen = [answer()]
    while seen[-1] != wanted:
        assert time.monotonic() < deadline, seen[-5:]
        time.sleep(0.02)
        seen.append(answer())
    return seen


def failure(store, plan, client=CLIENT):
    try:
        store.take(plan, client, 1, 0.0)
    except StorageUnavailableError as error:
        return error.error_type
    return ""
