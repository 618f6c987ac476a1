"""A command that is told to stop stops, wherever the signal meets it."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import pytest

from otel_ratelimit.demo.stop_signals import Stopped, stop_on_signals


def interrupt(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_raised_and_the_former_handlers_are_back_afterwards(number):
    former = signal.getsignal(number)
    with pytest.raises(Stopped), stop_on_signals():
        interrupt(number)
    assert signal.getsignal(number) is former


def test_an_error_that_the_signal_brought_about_is_a_stop_too():
    with pytest.raises(Stopped) as raised, stop_on_signals():
        try:
            interrupt()
        finally:
            {}["as Thread.start does"]
    assert isinstance(raised.value.__cause__, KeyError)


def test_no_handler_of_errors_swallows_it():
    with pytest.raises(Stopped), stop_on_signals(), suppress(Exception):
        interrupt()


def test_an_error_without_a_signal_stays_what_it_is():
    with pytest.raises(KeyError), stop_on_signals():
        {}["nothing"]
