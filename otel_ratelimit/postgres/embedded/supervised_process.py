"""Child processes that end with this process: each runs under `child_supervisor.py`."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

_SUPERVISOR = Path(__file__).with_name("child_supervisor.py")
_MARGIN_SECONDS = 5.0
"""The time that the supervisor itself may need after the grace period."""


@dataclass(frozen=True, slots=True)
class Unprivileged:
    """A user without privileges, for a program that does not run as root."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Launch:
    """A process to start, and how to end it."""

    command: Sequence[str]
    log: Path
    """The file to which its output is appended."""
    env: Mapping[str, str] = field(repr=False)
    """It may hold secrets."""
    cwd: Path
    stop_signal: str = "TERM"
    grace: float = 5.0
    """Seconds between the stop signal and the end."""
    user: Unprivileged | None = None
    read_output: bool = False
    """Whether standard output is read from `SupervisedProcess.output`; standard error goes to the log."""


class SupervisedProcess:
    """One running command, which ends with this process."""

    def __init__(self, launch: Launch) -> None:
        options = ["--signal", launch.stop_signal, "--grace", str(launch.grace)]
        if launch.user is not None:
            options += ["--user", f"{launch.user.uid}:{launch.user.gid}"]
        self._logger = launch.log
        self._grace = launch.grace
        with launch.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_SUPERVISOR), *options, "--", *launch.command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if launch.read_output else log,
                stderr=log,
                env=dict(launch.env),
                cwd=launch.cwd,
                text=True,
                start_new_session=True,
            )

    @property
    def output(self) -> IO[str]:
        """Standard output, if it is read."""
        if self._process.stdout is None:
            raise ValueError("started without read_output")
        return self._process.stdout

    @property
    def exit_status(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def wait(self, timeout: float) -> int | None:
        """Its exit status; None if it still runs after `timeout` seconds."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        """Stop it and wait for its end; may be called twice."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        if self.wait(self._grace + _MARGIN_SECONDS) is None:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        """Kill it as `kill -9` does, and wait for its end; may be called twice."""
        if self.exit_status is None:
            self._process.send_signal(signal.SIGUSR1)
            self._process.wait()
        self.stop()

    def last_lines(self, count: int = 12) -> str:
        """The end of its log."""
        lines = self._logger.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-count:]) or "(the log is empty)"
