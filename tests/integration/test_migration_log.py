"""The log of an application at INFO, or at DEBUG, while its tables are created and dropped."""

from __future__ import annotations

import io
import logging
import re

import pytest

from otel_ratelimit.postgres.migrate import current, downgrade, plan_downgrade, upgrade
from otel_ratelimit.postgres.migration_steps import Steps


@pytest.fixture(params=[logging.INFO, logging.DEBUG], ids=logging.getLevelName)
def log(request, capfd):
    """The log of `logging.basicConfig(level=…)`; a record that cannot be formatted goes to stderr."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root, alembic = logging.getLogger(), logging.getLogger("alembic")
    before = root.level, alembic.level
    root.addHandler(handler)
    root.setLevel(request.param)
    alembic.setLevel(logging.NOTSET)
    yield stream
    root.removeHandler(handler)
    root.setLevel(before[0])
    alembic.setLevel(before[1])


def test_each_step_is_a_line_that_says_what_it_makes_and_no_traceback_is_printed(log, capfd, empty_database):
    upgrade(empty_database, revision="0002")
    upgrade(empty_database)
    current(empty_database)
    plan_downgrade(empty_database)
    downgrade(empty_database, revision="0003")
    downgrade(empty_database)
    assert "Logging error" not in capfd.readouterr().err
    lines = re.findall(r"^Running .*$", log.getvalue(), re.MULTILINE)
    steps = Steps().names
    places = list(zip(["", *steps], steps, strict=False))
    ups = [f"Running upgrade {before} -> {step}, " for before, step in places]
    downs = [f"Running downgrade {step} -> {before}, " for before, step in reversed(places)]
    assert len(lines) == 2 * len(steps)
    for line, begins in zip(lines, ups + downs, strict=True):
        assert re.fullmatch(re.escape(begins) + r"[A-Z][^<>]+\.", line), line
