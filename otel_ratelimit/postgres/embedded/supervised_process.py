"""Child processes that cannot outlive us: each hangs on a `leash`."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

_LEASH = Path(__file__).with_name("child_supervisor.py")
_MARGIN_SECONDS = 5.0
"""What the leash itself may take on top of its grace."""


@dataclass(frozen=True, slots=True)
class Unprivileged:
    """A user without rights, for a program that refuses to run as root."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start, and how to end it."""

    command: Sequence[str]
    log: Path
    """Where its output goes, added to what is there."""
    env: Mapping[str, str] = field(repr=False)
    """It may hold secrets."""
    cwd: Path
    stop_signal: str = "TERM"
    grace: float = 5.0
    """Seconds between the stop signal and the end."""
    user: Unprivileged | None = None
    read_output: bool = False
    """Standard output is read from `SupervisedProcess.output`; the rest goes to the log."""


class SupervisedProcess:
    """One running command."""

    def __init__(self, launch: Launch) -> None:
        leash = ["--signal", launch.stop_signal, "--grace", str(launch.grace)]
        if launch.user is not None:
            leash += ["--user", f"{launch.user.uid}:{launch.user.gid}"]
        self._log = launch.log
        self._grace = launch.grace
        with launch.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_LEASH), *leash, "--", *launch.command],
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
        """None as long as it runs."""
        return self._process.poll()

    def wait(self, timeout: float) -> int | None:
        """Its exit status, or None if it still runs after `timeout` seconds."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        """End it and wait until it has ended; may be called twice."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        if self.wait(self._grace + _MARGIN_SECONDS) is None:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        """End it as `kill -9` does, once it runs, and wait until it has ended; may be called twice."""
        if self.exit_status is None:
            self._process.send_signal(signal.SIGUSR1)
            self._process.wait()
        self.stop()

    def last_lines(self, count: int = 12) -> str:
        """The end of its log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-count:]) or "(it said nothing)"
