"""Counters follow `time.time` as it is at each call: a library may have replaced it since."""

from __future__ import annotations

import ast
import threading
import time
from pathlib import Path

import flask
import freezegun
import pytest
import time_machine
from limits import parse
from limits.strategies import STRATEGIES
from variants import quick_first

import otel_ratelimit
from otel_ratelimit import RateLimit
from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.core.clock import monotonic_time, unix_time
from otel_ratelimit.storage import BoundedMemoryStorage

CLOCKS = {"time", "time_ns", "monotonic", "monotonic_ns"}
SOURCES = sorted(Path(otel_ratelimit.__file__).parent.rglob("*.py"))
START = 1_577_836_800.0


class _Freezegun:
    def __enter__(self):
        self._context = freezegun.freeze_time("2020-01-01")
        self._frozen = self._context.start()
        return self

    def move(self, seconds):
        self._frozen.tick(seconds)

    def __exit__(self, *_error):
        self._context.stop()


class _TimeMachine:
    def __enter__(self):
        self._context = time_machine.travel(START, tick=False)
        self._frozen = self._context.start()
        return self

    def move(self, seconds):
        self._frozen.shift(seconds)

    def __exit__(self, *_error):
        self._context.stop()


class _Replaced:
    """`time.time` replaced by hand."""

    def __enter__(self):
        self._patch = pytest.MonkeyPatch()
        self._now = START
        self._patch.setattr(time, "time", lambda: self._now)
        return self

    def move(self, seconds):
        self._now += seconds

    def __exit__(self, *_error):
        self._patch.undo()


FREEZERS = [_Freezegun, _TimeMachine, _Replaced]


def is_clock(node):
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_no_module_keeps_a_clock_from_the_time_it_was_imported(source):
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            assert not CLOCKS & {alias.name for alias in node.names}, source
        if isinstance(node, ast.arguments):
            for default in (*node.defaults, *node.kw_defaults):
                assert not (is_clock(default) and default.attr in CLOCKS), f"{source}:{default.lineno}"
        # A clock is not passed on without a call either: `clock=time.time`.
        if isinstance(node, ast.Call):
            for given in (*node.args, *(keyword.value for keyword in node.keywords)):
                assert not (is_clock(given) and given.attr in CLOCKS), f"{source}:{given.lineno}"


@pytest.mark.parametrize("freezer", FREEZERS)
@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_limits_strategies_over_our_store(freezer, strategy):
    limiter = STRATEGIES[strategy](BoundedMemoryStorage())
    limit = parse("2/minute")
    with freezer() as frozen:
        for _ in range(3):
            assert [limiter.hit(limit, "me") for _ in range(3)] == [True, True, False]
            frozen.move(59)
            if strategy == "fixed-window":
                assert not limiter.hit(limit, "me")
            frozen.move(61)


@pytest.mark.parametrize("freezer", FREEZERS)
@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_a_policy_in_front_of_an_application(tmp_path, freezer, strategy):
    policy = tmp_path / "ratelimit.toml"
    policy.write_text(f'version = 1\nstrategy = "{strategy}"\n[tiers]\ndefault = "2/minute"\n')
    app = flask.Flask("frozen")
    app.add_url_rule("/", "home", lambda: "here")
    limit = RateLimit(app, policy=policy, environ={})
    client = app.test_client()
    try:
        with freezer() as frozen:
            for _ in range(3):
                answers = [client.get("/") for _ in range(3)]
                assert [answer.status_code for answer in answers] == [200, 200, 429]
                wait = int(answers[-1].headers["Retry-After"])
                assert 1 <= wait <= 120
                frozen.move(wait)
                assert client.get("/").status_code == 200
                frozen.move(120)
            # Backwards: what was counted later does not outlive a window.
            frozen.move(-86_400)
            frozen.move(60)
        statuses = [client.get("/").status_code for _ in range(3)]
        assert statuses[0] == 200
        assert statuses[-1] == 429
    finally:
        limit.close()


@pytest.mark.parametrize("freezer", FREEZERS)
def test_an_application_made_within_a_freeze_counts_after_it(freezer):
    with freezer():
        storage = BoundedMemoryStorage()
        storage.incr("k", 60)
    assert storage.incr("k", 60) == 1
    assert abs(storage.get_expiry("k") - time.time() - 60) < 30


@pytest.mark.parametrize("freezer", FREEZERS)
def test_the_background_thread_runs_on_under_a_frozen_clock(freezer):
    runs = threading.Semaphore(0)
    with freezer():
        worker = BackgroundWorker("frozen")
        worker.every(0.01, "count", runs.release)
        assert runs.acquire(timeout=20)
        assert runs.acquire(timeout=20)
    assert runs.acquire(timeout=20)
    worker.close()
    assert not worker.alive


@pytest.mark.parametrize("freezer", quick_first(FREEZERS))
def test_the_cleanup_keeps_what_lives_by_the_frozen_clock(freezer):
    storage = BoundedMemoryStorage(cleanup_interval=1)
    swept = threading.Semaphore(0)
    storage.on_cleanup(lambda _report: swept.release())
    with freezer() as frozen:
        storage.incr("k", 60)
        assert swept.acquire(timeout=20)
        assert storage.incr("k", 60) == 2
        frozen.move(61)
        assert storage.incr("k", 60) == 1


@pytest.mark.parametrize("freezer", FREEZERS)
def test_pauses_are_measured_by_a_clock_that_is_not_frozen(freezer):
    before = monotonic_time()
    with freezer():
        assert 0 <= monotonic_time() - before < 1_000
    assert abs(unix_time() - time.time()) < 1_000
