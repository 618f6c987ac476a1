"""One of the stack's programs: a child that hangs on a leash and says over HTTP when it is ready."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from otel_ratelimit.embedded.processes import Launch, LeashedProcess
from otel_ratelimit.stack.errors import StackError
from otel_ratelimit.stack.web import get

START_TIMEOUT_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Program:
    """What to start, and how it shows that it serves."""

    name: str
    command: Sequence[str]
    port: int
    """Where it says that it is ready."""
    ready_path: str
    folder: Path
    """Its working folder, with its log."""
    env: Mapping[str, str]


class Running:
    """A program from its start to its end; `start` may be called again afterwards."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.log = program.folder / f"{program.name}.log"
        self._process: LeashedProcess | None = None

    def start(self) -> None:
        """Start it, and wait until it is ready.

        Raises:
            StackError: it ended, or does not get ready.
        """
        program = self.program
        launch = Launch(
            command=program.command, log=self.log, env=program.env, cwd=program.folder, grace=15.0
        )
        self._process = LeashedProcess(launch)
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._is_ready():
            self.check()
            if time.monotonic() > deadline:
                raise StackError(
                    f"{program.name} does not get ready; its last words:\n{self._process.last_lines()}",
                    "the lines above say why",
                )
            self._process.wait(0.1)

    def check(self) -> None:
        """Nothing, as long as it runs.

        Raises:
            StackError: it has ended; with its last words.
        """
        status = self._process.exit_status if self._process is not None else None
        if self._process is not None and status is not None:
            words = self._process.last_lines()
            raise StackError(
                f"{self.program.name} ended with status {status}; its last words:\n{words}",
                "the lines above say why",
            )

    def stop(self) -> None:
        """End it, in good order; may be called twice."""
        if self._process is not None:
            self._process.stop()
        self._process = None

    def _is_ready(self) -> bool:
        try:
            status, _ = get(self.program.port, self.program.ready_path)
        except OSError:
            return False
        return status == HTTPStatus.OK


def find_program(*names: str, package: str) -> str:
    """The path of the first of `names` that there is.

    Raises:
        StackError: there is none; with the package to install.
    """
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    raise StackError(f"{names[0]} is not installed", f"apt-get install {package}")
