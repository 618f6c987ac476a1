"""A program of the stack, with an HTTP page that shows whether it is ready."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from http.client import HTTP_PORT
from typing import Final
from urllib.parse import urlsplit

from otel_ratelimit.demo.stack.errors import StackError
from otel_ratelimit.demo.stack.http_client import get
from otel_ratelimit.postgres.embedded.supervised_process import Launch, SupervisedProcess

START_TIMEOUT_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 0.05
_ANSWER_SECONDS: Final = 5.0
_BY_SIGNAL: Final = 128
"""Exit status of a command that a signal ended: this plus the number of the signal."""
_KILLED: Final = _BY_SIGNAL + signal.SIGKILL


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run, and the URL that shows whether it is ready."""

    name: str
    """For messages."""
    launch: Launch
    ready_url: str
    """Answers 200 once the program is ready; plain HTTP."""


class RunningProgram:
    """Runs from construction until `stop` or `kill`, at most as long as this process."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._process = SupervisedProcess(program.launch)

    def wait_until_ready(self, timeout: float = START_TIMEOUT_SECONDS) -> None:
        """Return as soon as it is ready.

        Raises:
            StackError: it has ended, or is not ready in time; with its last lines.
        """
        deadline = time.monotonic() + timeout
        said = "nothing"
        while time.monotonic() < deadline:
            self.check()
            said = _ask(self._program.ready_url)
            if said == "200":
                return
            self._process.wait(_PAUSE_SECONDS)
        raise StackError(
            f"{self._program.name} is not ready after {timeout:.0f} s: {self._program.ready_url} answers"
            f" {said}; its last lines:\n{self.last_lines()}",
            "the lines above say why",
        )

    def check(self) -> None:
        """Check that it is still running.

        Raises:
            StackError: it has ended; with its last lines.
        """
        status = self._process.exit_status
        if status is not None:
            raise StackError(
                f"{self._program.name} {ended(status)}; its last lines:\n{self.last_lines()}",
                "check whether memory is short (dmesg), and start again"
                if status == _KILLED
                else "the lines above say why",
            )

    def stop(self) -> None:
        """End it with its stop signal and wait; may be called twice."""
        self._process.stop()

    def kill(self) -> None:
        """End it with SIGKILL, so that it cannot finish anything, and wait."""
        self._process.kill()

    def last_lines(self) -> str:
        """The last lines of its output."""
        return self._process.last_lines()


def ended(status: int) -> str:
    """How a program ended, in words."""
    if status > _BY_SIGNAL:
        try:
            return f"was ended by {signal.Signals(status - _BY_SIGNAL).name}"
        except ValueError:
            pass
    return f"ended with status {status}"


def _ask(url: str) -> str:
    """The HTTP status, or the kind of error."""
    address = urlsplit(url)
    try:
        status, _ = get(address.port or HTTP_PORT, address.path or "/", _ANSWER_SECONDS)
    except OSError as error:
        return type(error).__name__
    return str(status)
