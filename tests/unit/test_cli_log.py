from __future__ import annotations

import logging

import pytest

from otel_ratelimit.cli.output import log_warnings_only

LOGGER = logging.getLogger("otel_ratelimit")


@pytest.fixture(autouse=True)
def level():
    before = LOGGER.level
    yield
    LOGGER.setLevel(before)


def test_a_command_logs_warnings_only_until_it_ends():
    LOGGER.setLevel(logging.NOTSET)
    undo = log_warnings_only()
    assert LOGGER.level == logging.WARNING
    undo()
    assert LOGGER.level == logging.NOTSET


def test_a_level_that_somebody_has_chosen_stays():
    LOGGER.setLevel(logging.DEBUG)
    log_warnings_only()()
    assert LOGGER.level == logging.DEBUG
