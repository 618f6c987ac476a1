"""Opens the store that a URI names, and joins it to Flask-Limiter, telemetry and the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from limits.storage import MemoryStorage
from opentelemetry.metrics import Meter

from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.core.clock import Clock
from otel_ratelimit.core.counter_store import CounterStore, StorageSnapshot
from otel_ratelimit.core.errors import Problem, SettingsError, StorageNotMeasuredError
from otel_ratelimit.core.route_plan import Strategy
from otel_ratelimit.core.secret import HiddenValues, Redactor, Secret, passwords_among
from otel_ratelimit.core.storage_uri import secrets_in
from otel_ratelimit.policy import Memory
from otel_ratelimit.storage import (
    BoundedMemoryStorage,
    CircuitBreaker,
    MemoryHealthLog,
    counter_store,
    refused_uri,
    storage_options,
)
from otel_ratelimit.storage.any_limits_storage import SequentialStore
from otel_ratelimit.storage.bounded_memory import SCHEME
from otel_ratelimit.storage.circuit_breaker import STORAGE_RETRY_SECONDS
from otel_ratelimit.storage.client_options import POOL, connection_problem, option_problems, refused_options
from otel_ratelimit.storage.counters_by_user import keys_by_user
from otel_ratelimit.storage.health import effective_thresholds
from otel_ratelimit.telemetry import StorageTelemetry
from otel_ratelimit.web.api import CleanupTally, CleanupTotals
from otel_ratelimit.web.policy_limiter import PolicyLimiter


@dataclass(frozen=True, slots=True)
class OpenedStorage:
    """One counter store, and what each of its users needs of it."""

    limiter: PolicyLimiter
    store: CounterStore
    retry_seconds: Callable[[], float]
    """Until a failed store is tried again."""
    local: bool
    """Whether the counters are this process's own."""
    telemetry: StorageTelemetry
    unable: Callable[[Iterable[Strategy]], list[Problem]]
    """Answers the problems with strategies that the store does not support."""
    snapshot: Callable[[], StorageSnapshot | None]
    """The store's contents; None where it cannot tell."""
    cleanup: Callable[[], CleanupTotals | None]
    """The results of its sweeps; None where it needs none."""
    healthy: Callable[[], bool]
    """Whether it answered when last asked."""
    keys_by_user: Callable[[Mapping[str, str]], dict[str, int]]
    """Counters by user, from names by client key; empty where the store cannot tell."""
    disconnect: Callable[[], None]
    """Closes the connections to the store, unless the application has given their pool."""

    def close(self) -> None:
        """Report nothing from now on, and close the connections."""
        self.telemetry.retire()
        self.disconnect()


@dataclass(frozen=True, slots=True)
class StoreInUse:
    """The store of an application, for functions that ask how full it is (`default_store.MeasuredStore`)."""

    storage: OpenedStorage
    memory: Memory
    users: Callable[[], Mapping[str, str]]
    """Names of users by client key."""

    @property
    def thresholds(self) -> tuple[int, int]:
        """The policy's `warning` and `critical`, bytes."""
        return self.memory.warning, self.memory.critical

    def snapshot(self) -> StorageSnapshot:
        """The store's contents now.

        Raises:
            StorageNotMeasuredError: the store cannot tell.
        """
        found = self.storage.snapshot()
        if found is None:
            raise StorageNotMeasuredError(self.storage.store.name)
        return found

    def keys_by_user(self) -> dict[str, int]:
        """How many counters each user has, the most first."""
        return self.storage.keys_by_user(self.users())


def limiter_options(
    uri: Secret, given: Mapping[str, object], memory: Memory, worker: BackgroundWorker, clock: Clock
) -> Mapping[str, Any]:
    """The options with which Flask-Limiter must open the store behind `uri`.

    Raises:
        SettingsError: with every option in `given` that cannot be used.
    """
    problems = option_problems(uri, given)
    if problems:
        raise SettingsError(problems)
    if not uri.reveal().startswith(f"{SCHEME}:"):
        return HiddenValues(storage_options(uri, given))
    return {
        "capacity": memory.capacity,
        "cleanup_interval": memory.cleanup_interval,
        "worker": worker,
        "clock": clock,
    }


def open_limiter(
    key: Callable[[], str],
    uri: Secret,
    options: Mapping[str, Any],
    given: Mapping[str, object],
    **hooks: Any,
) -> PolicyLimiter:
    """A limiter on the store behind `uri`.

    Raises:
        SettingsError: the client refused the URI, or the options `given`.
    """
    problem = None
    try:
        limiter = PolicyLimiter(key, storage_uri=uri, storage_options=options, **hooks)
        problem = connection_problem(limiter.storage, given)
    except (AttributeError, TypeError, ValueError) as error:
        if not given and not isinstance(error, ValueError):
            raise
        problem = refused_options(given, error) if given else refused_uri(uri, error)
    if problem is not None:
        # Without its cause: the client's message, and the variables of its frames, may hold a password.
        raise SettingsError([problem])
    return limiter


def join_storage(
    limiter: PolicyLimiter,
    uri: Secret,
    memory: Memory,
    clock: Clock,
    meter: Meter,
    *,
    given: Mapping[str, object],
) -> OpenedStorage:
    """Join the store that `limiter` has opened to telemetry and the log.

    Args:
        limiter: has opened the store.
        uri: where it is.
        memory: the policy's `[memory]`.
        clock: Unix time in seconds.
        meter: for the store's metrics.
        given: the operator's options of its client.
    """
    storage = limiter.storage
    if isinstance(storage, BoundedMemoryStorage):
        thresholds = partial(effective_thresholds, warning=memory.warning, critical=memory.critical)
        telemetry = StorageTelemetry(meter, storage.counters.name, storage.snapshot, thresholds)
        storage.on_cleanup(telemetry.cleaned)
        storage.on_overflow(lambda _limit: telemetry.overflowed())
        health = MemoryHealthLog(storage, warning=memory.warning, critical=memory.critical)
        storage.on_cleanup(health.cleaned)
        storage.on_overflow(health.overflowed)
        health.start()
        tally = CleanupTally(clock)
        storage.on_cleanup(tally.cleaned)
        return OpenedStorage(
            limiter=limiter,
            store=storage.counters,
            retry_seconds=lambda: STORAGE_RETRY_SECONDS,
            local=True,
            telemetry=telemetry,
            unable=_able,
            snapshot=storage.snapshot,
            cleanup=tally.totals,
            healthy=lambda: True,
            keys_by_user=partial(keys_by_user, storage.counters),
            disconnect=_keep,
        )
    store = counter_store(storage, uri, clock)
    telemetry = StorageTelemetry(meter, store.name, lambda: None)
    redact = Redactor([*secrets_in(uri), *passwords_among(given)])
    breaker = CircuitBreaker(store, on_error=telemetry.failed, redact=redact)
    limiter.storage_failed = breaker.record_client_failure
    local = isinstance(storage, MemoryStorage)
    unable = store.unable if isinstance(store, SequentialStore) else _able
    return OpenedStorage(
        limiter=limiter,
        store=breaker,
        retry_seconds=breaker.retry_after,
        local=local,
        telemetry=telemetry,
        unable=unable,
        snapshot=lambda: None,
        cleanup=lambda: None,
        healthy=lambda: breaker.healthy,
        keys_by_user=lambda _users: {},
        disconnect=_keep if POOL in given else breaker.drop_connections,
    )


def _keep() -> None:
    """There is no connection of ours."""


def _able(_strategies: Iterable[Strategy]) -> list[Problem]:
    """No problem: the store supports all strategies."""
    return []
