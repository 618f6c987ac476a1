"""Whichever process of a zone is asked, the API, the functions and the gauges speak of the host."""

from __future__ import annotations

import os

import flask
import pytest
from forks import Child, in_child
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_ratelimit import RateLimit
from otel_ratelimit.core import names
from otel_ratelimit.storage import get_active_keys, get_key_distribution, get_storage_size
from otel_ratelimit.storage.zone.zone_files import named_path, zone_folder

TOKEN = {"Authorization": "Bearer a-token-of-the-operator"}
POLICY = """
version = 1
[tiers]
default = "5/hour"
[[routes]]
match = "/watched"
limits = "1/hour"
shadow = true
"""


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def make(tmp_path, reader):
    policy = tmp_path / "ratelimit.toml"
    policy.write_text(POLICY)
    made = []
    provider = MeterProvider(metric_readers=[reader])

    def make(uri="shared-memory://", name="shop"):
        app = flask.Flask(name)
        app.add_url_rule("/plain", "plain", lambda: "ok")
        app.add_url_rule("/watched", "watched", lambda: "ok")
        made.append(
            RateLimit(
                app,
                policy=policy,
                storage_uri=uri,
                admin_token=TOKEN["Authorization"].removeprefix("Bearer "),
                environ={},
                meter_provider=provider,
            )
        )
        return app

    yield make
    for each in made:
        each.close()


@pytest.fixture
def named_zone():
    """The URI of a zone of 1 MB, whose file is removed in the end."""
    name = f"figures-{os.getpid()}"
    yield f"shared-memory://{name}?capacity=1MB"
    named_path(zone_folder(), name).unlink()


def request(app, path, client):
    return app.test_client().get(path, environ_base={"REMOTE_ADDR": client}).status_code


def metrics_of(app):
    return app.test_client().get("/api/rate-limit/metrics", headers=TOKEN).json


def gauges(reader):
    """Of the store: what each gauge says, by its name, level and store."""
    found = {}
    data = reader.get_metrics_data()
    for resource in data.resource_metrics if data else ():
        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
            for point in metric.data.data_points:
                if names.STORAGE_ID in point.attributes:
                    key = metric.name, point.attributes.get(names.LEVEL), point.attributes[names.STORAGE_ID]
                    found[key] = point.value
    return found


def test_two_processes_answer_the_same_about_memory_counters_and_cleanups(make):
    app = make()
    storage = app.extensions["otel_ratelimit"].limiter.storage

    def one_worker():
        for client in ("192.0.2.1", "192.0.2.2"):
            request(app, "/plain", client)
        storage.sweeper.sweep()
        return metrics_of(app)

    in_child(one_worker)
    request(app, "/watched", "192.0.2.3")
    storage.sweeper.sweep()
    here, there = metrics_of(app), in_child(lambda: metrics_of(app))
    assert here["process_id"] != there["process_id"]
    for part in ("memory", "cleanup", "zone"):
        assert here[part] == there[part]
    assert here["cleanup"]["runs"] == 2
    assert here["keys"] == there["keys"]
    of_api = here["keys"]["active"] - 3
    assert here["keys"]["by_endpoint"] == {"plain": 2, "watched": 1, "*": of_api}
    assert here["keys"]["by_client_kind"] == {"ip": 3 + of_api}


def test_the_decisions_of_all_processes_are_the_requests_that_were_sent(make):
    app = make()

    def worker():
        for _ in range(4):
            request(app, "/plain", "192.0.2.1")
        request(app, "/watched", "192.0.2.1")
        request(app, "/watched", "192.0.2.1")
        metrics_of(app)

    children = [Child(worker) for _ in range(3)]
    for child in children:
        child.result()
    request(app, "/plain", "192.0.2.1")
    answer = metrics_of(app)
    found = answer["processes"]
    assert [each["process_id"] for each in found["sharing"]] == [os.getpid()]
    assert found["ended"] == 3
    counted = {kind: number for kind, number in found["decisions"].items() if kind != "exempt"}
    assert counted == {"allowed": 5 + 1, "blocked": 8, "shadow_blocked": 5, "error": 0}


def test_a_forked_process_does_not_count_what_its_parent_had_decided(make):
    app = make()
    for _ in range(3):
        request(app, "/plain", "192.0.2.1")

    def allowed():
        request(app, "/plain", "192.0.2.1")
        return {
            each["process_id"]: each["decisions"]["allowed"]
            for each in metrics_of(app)["processes"]["sharing"]
        }

    metrics_of(app)
    child = Child(allowed)
    assert child.result() == {os.getpid(): 3, child.pid: 1}


def test_what_a_closed_limiter_had_decided_stays_in_the_totals(make, named_zone):
    closed, other = make(named_zone, "closed"), make(named_zone, "other")
    request(closed, "/plain", "192.0.2.1")
    request(other, "/plain", "192.0.2.1")
    closed.extensions["otel_ratelimit"].close()
    found = metrics_of(other)["processes"]
    assert (found["ended"], found["ended_decisions"]["allowed"]) == (0, 1)
    assert [each["decisions"]["allowed"] for each in found["sharing"]] == [1]


def test_counters_are_cleared_and_read_for_all_processes(make):
    app = make()
    status = "/api/rate-limit/status?path=/plain&ip=192.0.2.1"

    def used():
        return app.test_client().get(status, headers=TOKEN).json["limits"][0]["used"]

    def worker():
        for _ in range(3):
            request(app, "/plain", "192.0.2.1")

    in_child(worker)
    assert used() == 3
    assert in_child(lambda: app.test_client().delete(status, headers=TOKEN).status_code) == 200
    assert used() == 0


def test_functions_answer_for_the_zone(make):
    app = make()
    with app.app_context():
        empty = get_storage_size()
        in_child(lambda: [request(app, "/plain", f"192.0.2.{number}") for number in range(10)])
        assert get_storage_size() > empty
        assert get_active_keys() == 10
        assert get_key_distribution().by_endpoint == {"plain": 10}
        assert get_key_distribution().by_user == {"": 10}


def test_a_store_that_is_not_shared_has_no_zone_and_no_processes(make):
    answer = metrics_of(make("bounded-memory://"))
    assert (answer["zone"], answer["processes"]) == (None, None)
    assert answer["memory"]["used_bytes"] > 0


def test_the_zone_is_named_where_it_is_a_file(make, named_zone):
    app = make(named_zone)
    zone, storage = metrics_of(app)["zone"], app.extensions["otel_ratelimit"].limiter.storage
    assert (zone["origin"], zone["path"]) == ("named", str(storage.memory.path))
    assert zone["id"] == storage.counters.zone.identity


def test_one_of_the_processes_of_a_zone_reports_all_of_its_gauges(make, reader):
    app = make()
    request(app, "/plain", "192.0.2.1")
    zone = app.extensions["otel_ratelimit"].limiter.storage.counters.zone.identity
    in_child(lambda: request(app, "/plain", "192.0.2.2"))
    here = gauges(reader)
    assert {identity for _, _, identity in here} == {zone}
    assert len(here) == 5  # size, capacity, keys, and two thresholds
    assert here[names.STORAGE_KEYS, None, zone] == 2
    assert in_child(lambda: gauges(reader)) == {}
    assert gauges(reader).keys() == here.keys()


def test_the_gauges_go_on_when_the_process_that_reported_them_has_ended(make, reader):
    app = make()
    there = in_child(lambda: gauges(reader))
    assert len(there) == 5
    assert gauges(reader).keys() == there.keys()
    app.extensions["otel_ratelimit"].close()
    assert gauges(reader) == {}


def test_a_full_store_of_one_process_does_not_hide_behind_an_empty_one(make, reader):
    apps = [make("bounded-memory://", name) for name in ("full", "empty")]
    for number in range(20):
        request(apps[0], "/plain", f"192.0.2.{number}")
    keys = [value for (name, _, _), value in gauges(reader).items() if name == names.STORAGE_KEYS]
    assert sorted(keys) == [0, 20]


def test_after_a_fork_a_store_in_process_is_another_one(make, reader):
    make("bounded-memory://")
    assert not gauges(reader).keys() & in_child(lambda: gauges(reader)).keys()
