"""Real servers for integration tests, each test its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time

import pytest


def needed(program):
    """Skip where a server is not installed; in CI that is a failure."""
    if shutil.which(program) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is not installed")
        pytest.skip(f"{program} is not installed")


class Server:
    """A server on a free loopback port."""

    def __init__(self, *command):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._command = [part.format(port=self.port) for part in command]
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            else:
                return

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis(tmp_path):
    needed("redis-server")
    server = Server(
        "redis-server", "--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)
    )
    server.uri = f"redis://127.0.0.1:{server.port}"
    server.start()
    yield server
    server.stop()


@pytest.fixture
def memcached():
    needed("memcached")
    server = Server("memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", "{port}")
    server.uri = f"memcached://127.0.0.1:{server.port}"
    server.start()
    yield server
    server.stop()
