"""PostgreSQL servers of the tests: one for the whole run, and one for a test that stops or kills its own."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import psycopg2
from folders import quick_folder

from otel_ratelimit.demo.workspace import workspace
from otel_ratelimit.postgres.embedded import THROW_AWAY, EmbeddedPostgres

TEMPORARY = quick_folder()
SURVIVES_A_KILL = {**THROW_AWAY, "synchronous_commit": "on"}


@contextlib.contextmanager
def running(binaries: Path, more: Mapping[str, str] | None = None) -> Iterator[EmbeddedPostgres]:
    settings = {**THROW_AWAY, **(more or {})}
    with workspace(TEMPORARY) as scratch:
        server = EmbeddedPostgres(
            scratch / "data", scratch, environ=os.environ, settings=settings, binaries=binaries
        )
        try:
            server.start()
            yield server
        finally:
            server.stop()


def execute(url: str, statement: str) -> None:
    connection = psycopg2.extensions.connection(url)
    try:
        connection.autocommit = True
        connection.cursor().execute(statement)
    finally:
        connection.close()


class OwnPostgres:
    """A server for one test. Data that were committed survive `kill`."""

    def __init__(self, scratch: Path, binaries: Path) -> None:
        self.folder = scratch
        """One that the server's user may enter."""
        self.user = "nobody" if os.geteuid() == 0 else os.geteuid()
        self._data = scratch / "data"
        self._server = EmbeddedPostgres(
            self._data, scratch, environ=os.environ, settings=SURVIVES_A_KILL, binaries=binaries
        )

    def url(self, database: str = "postgres") -> str:
        return self._server.dsn(database)

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        """Stop it in order; may be called twice."""
        self._server.stop()

    def kill(self) -> None:
        """Kill all of its processes, as with kill -9."""
        processes = self._processes()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended with its parent
                process.kill()
        self._server.stop()
        psutil.wait_procs(processes, timeout=10)

    def pause(self) -> None:
        """Make it silent; connections stay, and new ones are taken by the kernel only."""
        [postmaster, *_] = self._processes()
        postmaster.suspend()
        for process in self._processes():
            process.suspend()
        deadline = time.monotonic() + 10
        # A backend that has just ended stays a zombie while its parent is stopped.
        silent = {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
        while any(process.status() not in silent for process in self._processes()):
            assert time.monotonic() < deadline, "PostgreSQL does not stop"
            time.sleep(0.005)

    def resume(self) -> None:
        for process in self._processes():
            process.send_signal(signal.SIGCONT)

    def _processes(self) -> list[psutil.Process]:
        """The postmaster first."""
        pid = int((self._data / "postmaster.pid").read_text(encoding="ascii").split()[0])
        postmaster = psutil.Process(pid)
        return [postmaster, *postmaster.children(recursive=True)]
