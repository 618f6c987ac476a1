"""Logging that nobody has set up, and the plugin's output on it."""

from __future__ import annotations

import contextlib
import io
import logging
import logging.config
import sys

import pytest

from otel_ratelimit.telemetry.logs import open_output


@contextlib.contextmanager
def as_in_a_fresh_process():
    """No logger has handlers or a level, pytest's own among them; afterwards all is as it was."""
    root = logging.getLogger()
    loggers = [root, *(each for each in root.manager.loggerDict.values() if isinstance(each, logging.Logger))]
    before = [(each, each.handlers[:], each.level, each.propagate, each.disabled) for each in loggers]
    for each in loggers:
        each.handlers[:] = []
        each.setLevel(logging.NOTSET)
    root.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for each, handlers, level, propagate, disabled in before:
            each.handlers[:], each.propagate, each.disabled = handlers, propagate, disabled
            each.setLevel(level)


@pytest.fixture
def nobodys(request, monkeypatch):
    """Nobody has set logging up. Gives what is on standard error."""
    err = io.StringIO()
    monkeypatch.delitem(sys.modules, "waitress", raising=False)
    test = request.node.obj

    def run(**given):
        # Not before: pytest adds handlers, and takes standard error, when it calls the test.
        with as_in_a_fresh_process(), contextlib.redirect_stderr(err):
            test(**given)

    request.node.obj = run
    return err


@pytest.fixture
def output(nobodys):
    opened = []

    def open_(*arguments):
        opened.append(open_output(*arguments))
        return opened[-1]

    return open_
