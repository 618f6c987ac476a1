"""The store that is asked where a caller names none: that of the application, which only the wiring knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from otel_ratelimit.core.counter_store import StorageSnapshot

NO_RATE_LIMITS: Final = (
    "no application with rate limits in this process; start it with `opentelemetry-instrument`, or call"
    " `RateLimit(app)`, or ask the running application: `otel-ratelimit status`"
)
"""In place of the store, where no application of the process has one."""


class MeasuredStore(Protocol):
    """A store, with what its application knows of it."""

    @property
    def thresholds(self) -> tuple[int, int]:
        """The policy's `warning` and `critical`, bytes."""

    def snapshot(self) -> StorageSnapshot:
        """What the store holds now.

        Raises:
            StorageNotMeasuredError: the store cannot say.
        """

    def keys_by_user(self) -> Mapping[str, int]:
        """How many counters each user has, the most first; see `KeyDistribution.by_user`."""


class DefaultStore:
    """Hands on to whoever knows applications, so that this layer need not."""

    def __init__(self) -> None:
        self._find: Callable[[], MeasuredStore] = _nobody

    def found_by(self, find: Callable[[], MeasuredStore]) -> None:
        """CounterRequest `find`, which may raise RuntimeError; once, when the package is put together."""
        self._find = find

    def __call__(self) -> MeasuredStore:
        """The store that is meant here.

        Raises:
            RuntimeError: there is none, or more than one could be meant; with what to do.
        """
        return self._find()


def _nobody() -> MeasuredStore:
    """Nobody has made a `RateLimit`: the module that does has not even been imported."""
    raise RuntimeError(NO_RATE_LIMITS)


default_store = DefaultStore()
