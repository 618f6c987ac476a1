"""The state of a process and a Flask application that a library can change, as a comparable value.

Hooks of `os.register_at_fork` cannot be seen, and Python cannot take them back: the package has one, which
holds the objects that it calls weakly. So those that are alive are counted.
"""

from __future__ import annotations

import atexit
import gc
import logging
import signal
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import flask
import psutil
import psycopg2
from psycopg2 import extensions, extras

from otel_ratelimit.core import lifecycle
from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.web.api import BLUEPRINT_NAME, URL_PREFIX

_SET_BY_SQLALCHEMY = frozenset({"UUID", "UUIDARRAY"})
"""Made again whenever anybody calls `register_uuid`, as SQLAlchemy does for migrations."""
_SET_BY_FLASK = frozenset({"_got_first_request"})
"""Attributes that an application sets on itself when it serves."""


def process_state() -> dict[str, Any]:
    """The state of this process, without garbage that is not collected yet."""
    gc.collect()
    return {
        "psycopg2": _attributes(psycopg2),
        "psycopg2.extensions": {
            name: each for name, each in _attributes(extensions).items() if name not in _SET_BY_SQLALCHEMY
        },
        "psycopg2.extras": _attributes(extras),
        "adapters": {str(each): adapter for each, adapter in extensions.adapters.items()},
        "types": dict(extensions.string_types),
        "Flask": _attributes(flask.Flask),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "children": sorted(child.pid for child in psutil.Process().children()),
        "files open": _open_files(),
        "working directory": _files(Path.cwd()),
        "temporary files": _files(Path(tempfile.gettempdir())),
        "loggers": _loggers(),
        "import hooks": list(sys.meta_path),
        "signals": {each: signal.getsignal(each) for each in signal.valid_signals()},
        "fork steps": _fork_steps(),
    }


def differences(before: Any, after: Any) -> dict[str, Any]:
    """By name, what was before and what is after, where that is not the same."""
    found = {}
    for name in before.keys() | after.keys():
        was, has_become = before.get(name), after.get(name)
        if was != has_become:
            both = isinstance(was, dict) and isinstance(has_become, dict)
            found[str(name)] = differences(was, has_become) if both else (was, has_become)
    return found


@contextmanager
def exit_steps() -> Iterator[list[Callable[..., object]]]:
    """Functions that are registered with `atexit` within this block and not unregistered."""
    steps: list[Callable[..., object]] = []
    register, unregister = atexit.register, atexit.unregister

    def note(step: Callable[..., object], *args: Any, **options: Any) -> Callable[..., object]:
        if getattr(step, "__self__", None) is not weakref.finalize:  # which registers itself, once
            steps.append(step)
        return register(step, *args, **options)

    def forget(step: Callable[..., object]) -> None:
        unregister(step)
        steps[:] = [each for each in steps if each != step]

    with mock.patch.multiple(atexit, register=note, unregister=forget):
        yield steps
        gc.collect()


def application_state(app: flask.Flask) -> dict[str, Any]:
    """The state of an application, without the routes of our API, which Flask cannot take back."""
    return {name: _without_api(value) for name, value in vars(app).items() if name not in _SET_BY_FLASK} | {
        "url_map": [str(rule) for rule in app.url_map.iter_rules() if not rule.rule.startswith(URL_PREFIX)]
    }


def _without_api(value: Any) -> Any:
    """A copy of the containers, as they may be changed; empty ones are as good as none (defaultdict)."""
    if isinstance(value, dict):
        kept = {
            name: copied
            for name, each in value.items()
            if not str(name).startswith(BLUEPRINT_NAME) and (copied := _without_api(each)) not in ({}, [])
        }
        return {name: each for name, each in kept.items() if name is not None or each}
    return [_without_api(each) for each in value] if isinstance(value, list) else value


def _attributes(owner: Any) -> dict[str, int]:
    return {name: id(value) for name, value in vars(owner).items()}


def _open_files() -> list[str]:
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # of the listing itself
            found.append(str(descriptor.readlink()))
    # A pipe and a socket are named by number, which tells nothing where the test has opened others.
    return sorted(name.partition(":")[0] if name.startswith(("pipe:", "socket:")) else name for name in found)


def _files(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


def _loggers() -> dict[str, Any]:
    ours = [name for name in logging.Logger.manager.loggerDict if name.startswith("otel_ratelimit")]
    loggers = [logging.getLogger(), *map(logging.getLogger, sorted(ours))]
    changed = {
        each.name: (each.level, list(each.handlers), list(each.filters), each.propagate, each.disabled)
        for each in loggers
    }
    # A logger that has only been asked for changes nothing.
    return {name: state for name, state in changed.items() if state != (logging.NOTSET, [], [], True, False)}


def _fork_steps() -> int:
    steps = lifecycle._FORK
    return sum(len(each._steps) for each in (steps._before, steps._in_parent, steps._in_child))


def end_threads() -> None:
    """End the background threads that earlier tests of this process left, which would end meanwhile."""
    gc.collect()
    for worker in [each for each in gc.get_objects() if type(each) is BackgroundWorker]:
        worker.close()
    gc.collect()
    assert "otel-ratelimit" not in {thread.name for thread in threading.enumerate()}
