"""A web server as a program of its own, and requests to it."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from otel_ratelimit.demo.ports import quiet_ports

T = TypeVar("T")


class Server:
    """One server. `log` is what it and its workers have printed so far.

    `{port}` in its command is replaced by one that is free.
    """

    def __init__(self, folder: Path, command: list[str], environ: dict[str, str | None]) -> None:
        [self.port] = quiet_ports(1)
        self._log = folder / "server.log"
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "GUNICORN", "WEB_"))}
        given = {"OTEL_LOGS_EXPORTER": "none", "PYTHONUNBUFFERED": "1", **environ}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [part.replace("{port}", str(self.port)) for part in command],
                cwd=folder,
                env={**inherited, **{name: value for name, value in given.items() if value is not None}},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_until(self, done: Callable[[], T], what: str, seconds: float = 40.0) -> T:
        """The result of `done` as soon as it is true."""
        deadline = time.monotonic() + seconds
        while not (found := done()):
            if time.monotonic() > deadline:
                raise AssertionError(f"{what} did not happen in {seconds} s; the log says:\n{self.log}")
            time.sleep(0.02)
        return found

    def wait_until_ready(self) -> None:
        def answers():
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log}")
            with contextlib.suppress(OSError):
                return self.get("/health")[0] == 200
            return False

        self.wait_until(answers, "an answer")

    def get(self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, headers=dict(headers or {}))
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def stop(self) -> None:
        """Stop like an operator, with SIGTERM, so that telemetry is flushed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                raise

    def kill(self) -> None:
        """Where it would stop late, and that is not what is tested."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
