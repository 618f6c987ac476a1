import atexit
import gc
import os
import weakref

import pytest

from otel_ratelimit.core import lifecycle
from otel_ratelimit.core.lifecycle import ExitSteps, ForkSteps, while_alive


class Owner:
    def __init__(self, found, name=""):
        self.found = found
        self.name = name

    def before(self):
        self.found.append(f"before {self.name}")

    def in_parent(self):
        self.found.append(f"parent {self.name}")

    def in_child(self):
        self.found.append(f"child {self.name}")

    def fail(self):
        raise RuntimeError("on purpose")

    def close(self):
        self.found.append("closed")


@pytest.fixture
def at_exit(monkeypatch):
    registered = []
    monkeypatch.setattr(atexit, "register", registered.append)
    monkeypatch.setattr(atexit, "unregister", registered.remove)
    return registered


def test_an_object_is_not_kept_for_its_last_step_and_takes_it_away_when_it_goes(at_exit):
    found, steps = [], ExitSteps()
    owner = Owner(found)
    steps.add(owner.close)
    [run] = at_exit
    run()
    assert found == ["closed"]
    reference = weakref.ref(owner)
    del owner
    gc.collect()
    assert reference() is None
    assert at_exit == []
    run()
    assert found == ["closed"]


def test_steps_before_a_fork_are_taken_last_first_and_those_after_it_first_first():
    found, steps = [], ForkSteps()
    owners = [Owner(found, name) for name in "ab"]
    for owner in owners:
        steps.add(before=owner.before, in_parent=owner.in_parent, in_child=owner.in_child)
    steps.before()
    steps.in_parent()
    steps.in_child()
    assert found == ["before b", "before a", "parent a", "parent b", "child a", "child b"]


def test_an_object_is_not_kept_for_a_fork():
    found, steps = [], ForkSteps()
    steps.add(in_child=Owner(found, "gone").in_child)
    kept = Owner(found, "kept")
    steps.add(in_child=kept.in_child)
    gc.collect()
    steps.in_child()
    assert found == ["child kept"]
    assert len(steps._in_child._steps) == 1


def test_a_step_at_a_fork_that_fails_is_logged_and_stops_no_other(caplog):
    found, steps = [], ForkSteps()
    broken, whole = Owner(found), Owner(found, "whole")
    steps.add(in_child=broken.fail)
    steps.add(in_child=whole.in_child)
    steps.in_child()
    assert found == ["child whole"]
    assert "a step at a fork failed" in caplog.text


def test_steps_are_taken_at_a_fork_of_the_process():
    found = []
    owner = Owner(found, "x")
    lifecycle.at_fork(before=owner.before, in_parent=owner.in_parent, in_child=owner.in_child)
    child = os.fork()
    if child == 0:
        os._exit(0 if found == ["before x", "child x"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert found == ["before x", "parent x"]


def test_a_function_calls_a_method_while_its_object_lives():
    found = []
    owner = Owner(found)
    call = while_alive(owner.close)
    call()
    del owner
    gc.collect()
    call()
    assert found == ["closed"]
