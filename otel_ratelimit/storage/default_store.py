"""The store that functions use when a caller passes none: the application's, which only `runtime` knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from otel_ratelimit.core.counter_store import StorageSnapshot

NO_RATE_LIMITS: Final = (
    "no application with rate limits in this process; start it with `opentelemetry-instrument`, or call"
    " `RateLimit(app)`, or ask the running application: `otel-ratelimit status`"
)
"""The error where no application of the process has a store."""


class MeasuredStore(Protocol):
    """A store, with what its application knows about it."""

    @property
    def thresholds(self) -> tuple[int, int]:
        """The policy's `warning` and `critical`, bytes."""

    def snapshot(self) -> StorageSnapshot:
        """A snapshot of the store's size and counters.

        Raises:
            StorageNotMeasuredError: the store cannot say.
        """

    def keys_by_user(self) -> Mapping[str, int]:
        """How many counters each user has, the highest number first; see `KeyDistribution.by_user`."""


class DefaultStore:
    """Asks the layer above for the application's store, because this layer knows no applications."""

    def __init__(self) -> None:
        self._find: Callable[[], MeasuredStore] = _nobody

    def found_by(self, find: Callable[[], MeasuredStore]) -> None:
        """CounterRequest `find`, which may raise RuntimeError; once, when the package is put together."""
        self._find = find

    def __call__(self) -> MeasuredStore:
        """The store of the current application, or of the only one in this process.

        Raises:
            RuntimeError: no application has a store, or it is not clear which one is meant; says what to do.
        """
        return self._find()


def _nobody() -> MeasuredStore:
    """Report that no `RateLimit` exists: not even its module has been imported."""
    raise RuntimeError(NO_RATE_LIMITS)


default_store = DefaultStore()
