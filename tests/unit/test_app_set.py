"""The applications that have their limits from one place, and the name that they record under."""

from __future__ import annotations

import gc

from flask import Flask

from otel_ratelimit.web.app_set import AppSet


def test_the_name_is_the_first_ones_and_stays_when_all_have_gone():
    apps, first, second = AppSet(), Flask("first"), Flask("second")
    assert apps.name() == ""
    apps.add(first)
    apps.add(second)
    assert apps.name() == "first"
    for app in (first, second):
        apps.discard(app)
    assert apps.name() == "first", "what is left is written after that"


def test_the_name_is_that_of_an_application_that_is_there():
    apps, first, second = AppSet(), Flask("first"), Flask("second")
    apps.add(first)
    apps.discard(first)
    apps.add(second)
    assert apps.name() == "second"
    apps.discard(second)
    assert apps.name() == "second"


def test_the_name_survives_an_application_that_nobody_holds():
    apps, first = AppSet(), Flask("first")
    apps.add(first)
    assert apps.name() == "first"
    del first
    gc.collect()
    assert (len(apps), apps.name()) == (0, "first")


def test_an_application_need_not_be_built_when_it_is_added():
    class Late(Flask):
        def __init__(self):
            apps.add(self)
            super().__init__("late")

    apps = AppSet()
    late = Late()
    apps.discard(late)
    assert apps.name() == "late"
