"""TLS where `limits` has no scheme for it: a cluster, and servers that Sentinel names.

    rediss+cluster://    valkeys+cluster://     TLS to every node
    rediss+sentinel://   valkeys+sentinel://    TLS to the servers and to the sentinels

Importing this module makes `limits` know them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from limits.storage import RedisClusterStorage, RedisSentinelStorage


class TlsClusterStorage(RedisClusterStorage):
    """A cluster, every node by TLS."""

    STORAGE_SCHEME = ["rediss+cluster", "valkeys+cluster"]  # noqa: RUF012 - the base class declares it so

    def __init__(self, uri: str, **options: Any) -> None:
        super().__init__(uri, **{"ssl": True, **options})


class TlsSentinelStorage(RedisSentinelStorage):
    """Servers that Sentinel names, and the sentinels, by TLS."""

    STORAGE_SCHEME = ["rediss+sentinel", "valkeys+sentinel"]  # noqa: RUF012 - the base class declares it so

    def __init__(self, uri: str, *, sentinel_kwargs: Mapping[str, Any] | None = None, **options: Any) -> None:
        sentinels = {"ssl": True, **(sentinel_kwargs or {})}
        super().__init__(uri, sentinel_kwargs=sentinels, **{"ssl": True, **options})
