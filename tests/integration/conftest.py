"""Real servers for integration tests, each test its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from contextlib import closing, suppress
from functools import partial
from uuid import uuid4

import pytest
from clocked import Clocked
from components import program as installed_program

from otel_ratelimit.demo.ports import quiet_ports
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.query_writer import PostgresQueryWriter
from otel_ratelimit.queries.records import QueryBatch, QueryRow, QueryTemplate, TemplateTotal


class Server:
    """A server on a free loopback port."""

    def __init__(self, *command):
        [self.port] = quiet_ports(1)
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

    def pause(self):
        """Make it silent; its connections stay."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)  # else it may still answer

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def program():
    """`program(name)(*arguments)`: a `Server` of that program, whose Debian package has the same name."""
    return lambda name: partial(Server, installed_program(name, name))


def redis_server(program, directory):
    server = Server(program, "--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--dir", str(directory))
    server.uri = f"redis://127.0.0.1:{server.port}"
    server.start()
    return server


@pytest.fixture
def clocked(database):
    """A database whose clock the test sets."""
    opened = Clocked(database)
    yield opened
    opened.close()


@pytest.fixture(params=["valkey-server", pytest.param("redis-server", marks=pytest.mark.full)])
def redis_program(request, engines):
    """The wheel's Valkey, and Debian's Redis."""
    return str(engines.engine_program(request.param.removesuffix("-server")))


@pytest.fixture
def redis(redis_program, tmp_path):
    server = redis_server(redis_program, tmp_path)
    yield server
    server.stop()


@pytest.fixture
def valkey(engines, tmp_path):
    """The wheel's, which speaks to redis-py as well."""
    server = redis_server(str(engines.engine_program("valkey")), tmp_path)
    yield server
    server.stop()


@pytest.fixture
def other_redis(redis_program, tmp_path):
    server = redis_server(redis_program, tmp_path)
    yield server
    server.stop()


@pytest.fixture
def sentinel(redis, redis_program, tmp_path):
    """Names `redis` as the master of `shop`, and takes no steps of its own."""
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(
        f"sentinel monitor shop 127.0.0.1 {redis.port} 1\nsentinel down-after-milliseconds shop 60000\n"
    )
    server = Server(
        redis_program, str(configuration), "--sentinel", "--port", "{port}", "--bind", "127.0.0.1"
    )
    server.uri = f"redis+sentinel://127.0.0.1:{server.port}/shop"
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=[pytest.param("redis", marks=pytest.mark.full), "valkey"])
def engine(request, engines, tmp_path):
    """`engine(*options)` starts a server: Debian's Redis for redis-py, the wheel's Valkey for valkey-py."""
    program = engines.engine_program(request.param)
    servers = []

    def start(*options):
        folder = tmp_path / f"{request.param}-{len(servers)}"
        folder.mkdir()
        server = Server(
            *(str(program), "--port", "{port}", "--bind", "127.0.0.1"),
            *("--save", "", "--dir", str(folder), *options),
        )
        server.uri = f"{request.param}://127.0.0.1:{server.port}"
        server.start()
        servers.append(server)
        return server

    start.family = request.param
    yield start
    for server in servers:
        server.stop()


class Proxy:
    """A TCP proxy on a free loopback port; `to` is where new connections lead, and old ones stay."""

    def __init__(self):
        self.to = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._open = [self._listening]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self.to), 5)
                server.settimeout(None)
                self._open += [client, server]
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    @staticmethod
    def _pump(source, target):
        with suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self):
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture
def proxy():
    proxy = Proxy()
    yield proxy
    proxy.close()


@pytest.fixture
def memcached(installed):
    server = Server(installed("memcached", "memcached"), "-u", "nobody", "-l", "127.0.0.1", "-p", "{port}")
    server.uri = f"memcached://127.0.0.1:{server.port}"
    server.start()
    yield server
    server.stop()


@pytest.fixture
def record():
    """`record(database, *moments, keys=1, service="shop")`: a query at each moment, as the log writes it."""
    job = QueryTemplate(
        11, "SELECT * FROM jobs WHERE id = ?", "select", ("jobs",), is_write=False, volatile=False
    )

    def write(url, *moments, keys=1, service="shop"):
        """An execution at each moment, its key one of so many; empty: recorded before there were services."""
        rows = [
            QueryRow(
                ts=at.timestamp(),
                template=job,
                key=bytes([place % keys] * 16),
                n=1,
                sample_rate=1.0,
                tier="cold",
                duration_us=20_000,
                rows=1,
                result_bytes=400,
                endpoint="/a",
                trace_id=None,
                database="shop",
                in_txn=False,
                status="ok",
                buckets=None,
            )
            for place, at in enumerate(moments)
        ]
        totals = [TemplateTotal(int(at.timestamp()) // 60 * 60, job, "shop", 1, 0, 0) for at in moments]
        with closing(Database(url)) as database:
            PostgresQueryWriter(database, time.time, lambda: service).write(
                QueryBatch(uuid4(), "one", tuple(rows), tuple(totals), (), ())
            )

    return write
