"""Functions in forked children of the test's process, and what they return."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Child:
    """A child that runs `function` and then ends, without anything that Python does at an exit."""

    def __init__(self, function: Callable[[], Any]) -> None:
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reader)
            _run(function, writer)
        os.close(writer)
        self._reader = reader
        self.status = None

    def result(self) -> Any:
        """What the function returned; what it raised is raised here."""
        with os.fdopen(self._reader, "rb") as answers:
            answer = answers.read()
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if not answer:
            raise RuntimeError(f"the child ended without an answer, with status {self.status}")
        value, error = pickle.loads(answer)
        if error is not None:
            raise error
        return value

    def kill(self) -> None:
        """Kill it with SIGKILL, which nothing else has done."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.end() == -signal.SIGKILL

    def end(self) -> int:
        """Wait for its end; the status."""
        os.close(self._reader)
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status


def in_child(function: Callable[[], Any]) -> Any:
    """What `function` returns in a child."""
    return Child(function).result()


def at_once(functions: list[Callable[[], Any]]) -> list[Any]:
    """What each returns in a child of its own; all start together."""
    with gate() as (wait, open_gate):
        children = [Child(lambda function=function: (wait(), function())[1]) for function in functions]
        open_gate()
    return [child.result() for child in children]


@contextmanager
def gate() -> Iterator[tuple[Callable[[], object], Callable[[], object]]]:
    """A function that waits in children forked from now on, and one that lets all of them go on."""
    reader, writer = os.pipe()
    here, is_open = os.getpid(), False

    def wait() -> None:
        if os.getpid() != here:
            os.close(writer)
        os.read(reader, 1)

    def open_gate() -> None:
        nonlocal is_open
        if not is_open:
            is_open = True
            os.close(writer)

    try:
        yield wait, open_gate
    finally:
        open_gate()
        os.close(reader)


def _run(function: Callable[[], Any], writer: int) -> None:
    status = 1
    try:
        try:
            answer = (function(), None)
        except BaseException as error:
            traceback.print_exc()
            answer = (None, error)
        status = 0
        with os.fdopen(writer, "wb") as answers:
            answers.write(pickle.dumps(answer))
    finally:
        sys.stderr.flush()
        os._exit(status)
