"""Observable gauges that several owners in one process can share.

The SDK keeps the first callbacks that an observable instrument of a name is made with, and silently
drops later ones. A process may have two `RateLimit`s, one attached by the instrumentor and one by hand. So
each gauge is made once for a meter, and asks all owners that still exist.
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry.metrics import CallbackOptions, Meter, Observation

Reading = tuple[float, Mapping[str, str]]
"""A value and its attributes."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """The name of a gauge, and what it measures."""

    name: str
    unit: str
    description: str
    join: Callable[[float, float], float] = operator.add
    """How values of two owners under the same attributes become one: sizes add up, durations do not."""


_Readers = list["weakref.WeakMethod[Callable[[], Iterable[Reading]]]"]

# Weak: the meters belong to the OpenTelemetry provider.
_readers: weakref.WeakKeyDictionary[Meter, dict[str, _Readers]] = weakref.WeakKeyDictionary()


def observe(meter: Meter, gauge: Gauge, read: Callable[[], Iterable[Reading]]) -> None:
    """Report the readings of `read`, a bound method, for as long as its object lives.

    `gauge.join` combines the readings of several owners under the same attributes.
    """
    by_name = _readers.setdefault(meter, {})
    if gauge.name in by_name:
        by_name[gauge.name].append(weakref.WeakMethod(read))
        return
    readers: _Readers = [weakref.WeakMethod(read)]
    by_name[gauge.name] = readers

    def callback(_options: CallbackOptions) -> Iterable[Observation]:
        return _joined(readers, gauge.join)

    meter.create_observable_gauge(gauge.name, [callback], unit=gauge.unit, description=gauge.description)


def _joined(readers: _Readers, join: Callable[[float, float], float]) -> Iterable[Observation]:
    joined: dict[tuple[tuple[str, str], ...], float] = {}
    for reference in list(readers):
        read: Any = reference()
        if read is None:
            readers.remove(reference)
            continue
        for value, attributes in read():
            key = tuple(attributes.items())
            joined[key] = join(joined[key], value) if key in joined else value
    return [Observation(value, dict(key)) for key, value in joined.items()]
