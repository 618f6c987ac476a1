"""A fault that comes with every request is logged in full once, and at debug after that."""

from __future__ import annotations

import logging

from otel_ratelimit.web.fault_logger import FaultLogger


def throw(error):
    raise error


def fail(logger, what, error, *args):
    try:
        throw(error)
    except Exception:
        logger.exception(what, *args)


def test_the_first_fault_has_its_traceback_and_the_next_is_at_debug(caplog):
    caplog.set_level(logging.DEBUG)
    logger = FaultLogger()
    for _ in range(2):
        fail(logger, "the sink %s", KeyError("x"), "Mine")
    first, second = caplog.records
    assert (first.levelno, second.levelno) == (logging.ERROR, logging.DEBUG)
    assert first.message == "the sink Mine failed; further failures of this kind are logged at debug"
    assert first.exc_info[0] is KeyError
    assert second.message == "the sink Mine failed again: KeyError('x')"


def test_another_kind_of_fault_is_logged_in_full_too(caplog):
    logger = FaultLogger()
    fail(logger, "the sink %s", KeyError("x"), "Mine")
    fail(logger, "the sink %s", ValueError("x"), "Mine")
    fail(logger, "the sink %s", KeyError("x"), "Another")
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 3
