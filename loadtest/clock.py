"""A simulated clock for an engine: a day passes as fast as requests can be replayed, and none comes late.

    clock = EngineClock(folder)
    with running_engine("redis", folder, environ=clock.environ()) as engine:
        clock.set(60.0)

The installed engine runs unchanged. Only its time comes from here, through a library in LD_PRELOAD (as
libfaketime does it), which is compiled with `cc`. Tasks that run ten times a second follow this clock:
the engine checks its timers once per round of requests, and rounds should be at most 0.1 s apart. Two things
differ from a day in real time: growing tables are rehashed at once rather than within seconds, and the
engine's work takes no time.
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
    """The source of an engine's time."""

    def set(self, seconds: float) -> None:
        """Set the time to this many seconds after the start."""


class RealClock:
    """Real time: `set` waits."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self.late = 0.0
        """The longest delay behind the requested time, seconds."""

    def set(self, seconds: float) -> None:
        """Wait until this many seconds after the start."""
        left = self._start + seconds - time.monotonic()
        self.late = max(self.late, -left)
        time.sleep(max(left, 0.0))


class NoCompilerError(Exception):
    """The compiler `cc` is missing, so the clock's library cannot be compiled."""

    how_to_get_it = "apt-get install gcc libc6-dev"

    def __init__(self) -> None:
        super().__init__(f"the C compiler cc is missing; to get it: {self.how_to_get_it}")


class EngineClock:
    """A clock for the engine's process, which starts at the time of creation.

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
        """Environment for the engine's process."""
        return {**os.environ, "LD_PRELOAD": str(self._library), "ENGINE_CLOCK": str(self._path)}

    def set(self, seconds: float) -> None:
        """Set the time to this many seconds after the start."""
        _TIME.pack_into(self._shown, 0, round(1e6 * (self._start + seconds)))
