"""Counters in Redis or Valkey, shared by all processes, with one round trip for each request.

`take.lua` counts in all windows of a request in one atomic step, whatever their number and
strategies. The client's key is the hash tag, so that in a cluster all of them lie on one node:

    LIMITS:{client}namespace|scope|seconds|strategy|      (the namespace: see `key_namespace`)

Every key has a TTL. Times come from the server's clock, so that processes on several machines agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from importlib.resources import files
from typing import Any, Final

from limits.storage import RedisStorage

from otel_ratelimit.core.counter_store import Taken, WindowState
from otel_ratelimit.core.route_plan import Window

_SCRIPT: Final = "take.lua"
_PER_WINDOW: Final = 3
"""Values that the script returns for each window."""


class RedisStore:
    """A `CounterStore` in the server that `limits` is connected to. Raises what the client raises.

    Args:
        storage: the storage of `limits`, which holds the client.
        hosts: host and port of each server that the URI names; used for a cluster.
    """

    def __init__(self, storage: RedisStorage, hosts: Iterable[tuple[str, int]] = ()) -> None:
        self._storage = storage
        script = files(__package__).joinpath(_SCRIPT).read_bytes()
        client: Any = storage.get_connection()
        self._take = client.register_script(script)
        self._cluster: Any = getattr(client, "nodes_manager", None)
        self._startup_nodes: list[Any] = []
        if self._cluster is not None:
            node: Any = import_module(type(client).__module__).ClusterNode
            self._startup_nodes = [node(host, port) for host, port in hosts]

    @property
    def name(self) -> str:
        """`redis` or `valkey`."""
        return self._storage.target_server

    def take(self, windows: Sequence[Window], client: str, cost: int, _now: float) -> Taken:
        """As `CounterStore.take`, but with the time of the server's clock."""
        return self._run(windows, client, cost, counting=1)

    def peek(self, windows: Sequence[Window], client: str, cost: int, _now: float) -> Taken:
        """As `CounterStore.peek`, but with the time of the server's clock."""
        return self._run(windows, client, cost, counting=0)

    def clear(self, windows: Sequence[Window], client: str) -> int:
        """As `CounterStore.clear`."""
        keys = self._keys(windows, client)
        return int(self._storage.get_connection().delete(*keys)) if keys else 0

    def drop_connections(self) -> None:
        """Close the idle connections, so that the next request looks up the host name again."""
        for pool in self._pools():
            try:
                pool.disconnect(inuse_connections=False)
            except TypeError:  # a pool class that can only close all connections
                pool.disconnect()
        self._remember_startup_nodes()

    def _run(self, windows: Sequence[Window], client: str, cost: int, counting: int) -> Taken:
        arguments: list[Any] = [cost, counting]
        for window in windows:
            arguments += (window.amount, window.seconds, str(window.strategy), int(window.shadow))
        answer = self._take(keys=self._keys(windows, client), args=arguments)
        states = tuple(
            _state(window.amount, *answer[1 + at : 1 + at + _PER_WINDOW])
            for at, window in zip(range(0, len(answer) - 1, _PER_WINDOW), windows, strict=True)
        )
        return Taken(bool(answer[0]), states)

    def _pools(self) -> Iterator[Any]:
        """The connection pools: one, with Sentinel another for the replicas, or one for each cluster node."""
        client: Any = self._storage.get_connection()
        if self._cluster is not None:
            for node in (*client.get_nodes(), *self._startup_nodes):
                for name in ("redis_connection", "valkey_connection"):
                    connected = getattr(node, name, None)
                    if connected is not None:
                        yield connected.connection_pool
            return
        yield client.connection_pool
        replicas = getattr(self._storage, "storage_slave", None)
        if replicas is not None:
            yield replicas.connection_pool

    def _remember_startup_nodes(self) -> None:
        """Let the client also ask the hosts of the URI when it next reads the layout of a cluster.

        The clients replace these hosts by the addresses that the nodes announce, which may all have changed
        since. valkey-py also removes each node that fails, until no node is left to ask.
        """
        if self._cluster is None:
            return
        for node in self._startup_nodes:
            self._cluster.startup_nodes.setdefault(node.name, node)

    def _keys(self, windows: Sequence[Window], client: str) -> list[str]:
        return [self._storage.prefixed_key(f"{{{client}}}{window.prefix}") for window in windows]


def _state(amount: int, used: Any, wait: Any, reset: Any) -> WindowState:
    used = int(used)
    return WindowState(used, max(0, amount - used), float(reset), float(wait))
