"""A clock of an engine's own, so that a day goes by as fast as requests can be played, and none comes late.

    clock = EngineClock(folder)
    with running_engine("redis", folder, environ=clock.environ()) as engine:
        clock.set(60.0)

The engine is what is installed, unchanged; only the time that it is told is ours, by a library in LD_PRELOAD
(as libfaketime does it), which is compiled with `cc`. Whatever it does ten times a second it does so by that
time: it looks at its timers once in every round of requests, which should not be more than 0.1 s apart. Two
things differ from a day in real time: growing tables are moved at once rather than within seconds, and no
work of the engine takes any time.
"""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
import time
from pathlib import Path
from typing import Final, Protocol

_SOURCE: Final = Path(__file__).with_name("engine_clock.c")
_TIME: Final = struct.Struct("=q")


class Clock(Protocol):
    """What an engine goes by."""

    def set(self, seconds: float) -> None:
        """Let it be so long after the beginning."""


class RealClock:
    """The time of day, which can only be waited for."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self.late = 0.0
        """Seconds at most by which it was later than asked for."""

    def set(self, seconds: float) -> None:
        """Wait."""
        left = self._start + seconds - time.monotonic()
        self.late = max(self.late, -left)
        time.sleep(max(left, 0.0))


class NoCompilerError(Exception):
    """There is no `cc` to compile the clock's library."""

    how_to_get_it = "apt-get install gcc libc6-dev"

    def __init__(self) -> None:
        super().__init__(f"the C compiler cc is missing; to get it: {self.how_to_get_it}")


class EngineClock:
    """At first it shows the time at which it was made.

    Args:
        folder: an existing one, for the library and for the file with the time.

    Raises:
        NoCompilerError: the library cannot be compiled.
    """

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            raise NoCompilerError
        self._library = folder / "engine_clock.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", self._library, _SOURCE], check=True)
        self._path = folder / "engine_clock"
        self._path.write_bytes(bytes(_TIME.size))
        with self._path.open("r+b") as file:
            self._shown = mmap.mmap(file.fileno(), _TIME.size)
        self._start = time.time()
        self.set(0.0)

    def environ(self) -> dict[str, str]:
        """For the engine's process."""
        return {**os.environ, "LD_PRELOAD": str(self._library), "ENGINE_CLOCK": str(self._path)}

    def set(self, seconds: float) -> None:
        """Let it be so long after the beginning."""
        _TIME.pack_into(self._shown, 0, round(1e6 * (self._start + seconds)))
