"""Code in tests/support that other tests rely on."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest
from components import MissingError, program
from processes import runs
from schedule import LONG, TESTS, place


def test_a_process_that_has_ended_and_was_not_reaped_does_not_run():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert runs(process.pid)
    process.stdin.close()
    try:
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            pass
        assert psutil.Process(process.pid).is_running()
        assert not runs(process.pid)
    finally:
        process.wait()
    assert not runs(process.pid)


def test_a_program_that_is_not_installed_is_named_with_what_installs_it():
    with pytest.raises(
        MissingError, match=r"^no-such-program is missing; to get it: apt-get install nothing$"
    ):
        program("no-such-program", "nothing")


def test_files_that_take_long_are_there_and_begin_between_the_quick_ones_and_the_others():
    assert [name for name in LONG if not (TESTS / name).exists()] == []
    places = [place(TESTS / name) for name in ("unit/test_support.py", *LONG, "integration/test_other.py")]
    assert places == sorted(places)
    assert len(set(places)) == len(places)
