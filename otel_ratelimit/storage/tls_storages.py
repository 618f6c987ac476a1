"""Storages with TLS for a cluster and for Sentinel, for which `limits` has no schemes.

    rediss+cluster://    valkeys+cluster://     TLS to every node
    rediss+sentinel://   valkeys+sentinel://    TLS to the servers and to the sentinels

Importing this module registers the schemes with `limits`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from limits.storage import RedisClusterStorage, RedisSentinelStorage

CLUSTER_SCHEMES: Final = ["rediss+cluster", "valkeys+cluster"]
SENTINEL_SCHEMES: Final = ["rediss+sentinel", "valkeys+sentinel"]


class TlsClusterStorage(RedisClusterStorage):
    """A cluster, with TLS to every node."""

    STORAGE_SCHEME = CLUSTER_SCHEMES

    def __init__(self, uri: str, **options: Any) -> None:
        super().__init__(uri, **{"ssl": True, **options})


class TlsSentinelStorage(RedisSentinelStorage):
    """Servers that Sentinel names, with TLS to them and to the sentinels."""

    STORAGE_SCHEME = SENTINEL_SCHEMES

    def __init__(self, uri: str, *, sentinel_kwargs: Mapping[str, Any] | None = None, **options: Any) -> None:
        sentinels = {"ssl": True, **(sentinel_kwargs or {})}
        super().__init__(uri, sentinel_kwargs=sentinels, **{"ssl": True, **options})
