"""Our metrics as Prometheus has them.

Names change on the way as in OpenTelemetry's specification ("Prometheus and OpenMetrics Compatibility",
metric metadata): dots become underscores, the unit becomes a suffix unless it is an annotation in braces, a
counter ends in `_total` and a gauge that is a share in `_ratio`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from otel_ratelimit.core import names

ENVIRONMENT: Final = "deployment_environment_name"
"""An attribute of the resource; the collector copies it to every point."""
RESOURCE_LABELS: Final = frozenset({"job", "instance", ENVIRONMENT})
"""On every series: `job` is the service, `instance` one process of it."""
_UNIT_SUFFIXES: Final = {"s": "_seconds", "By": "_bytes"}
_PARTS: Final = {"bucket", "sum", "count"}


class Kind(StrEnum):
    """The kind of an instrument."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Instrument:
    """An instrument of the code; tests compare these with the code and with the reference."""

    name: str
    kind: Kind
    unit: str
    """A unit of UCUM: `s`, `By`, `1`, or an annotation such as `{request}`."""
    attributes: tuple[str, ...] = ()

    @property
    def labels(self) -> frozenset[str]:
        """The labels of its series."""
        return RESOURCE_LABELS | {label(attribute) for attribute in self.attributes}


def label(attribute: str) -> str:
    """The label that an attribute becomes."""
    return attribute.replace(".", "_")


def prometheus_name(instrument: Instrument) -> str:
    """The metric that an instrument becomes; a histogram's series have `_bucket`, `_sum` or `_count` more."""
    name = label(instrument.name) + _UNIT_SUFFIXES.get(instrument.unit, "")
    if instrument.kind is Kind.COUNTER:
        return f"{name}_total"
    if instrument.kind is Kind.GAUGE and instrument.unit == "1":
        return f"{name}_ratio"
    return name


INSTRUMENTS: Final = {
    each.name: each
    for each in (
        Instrument(
            names.REQUESTS,
            Kind.COUNTER,
            "{request}",
            (
                *(names.HTTP_ROUTE, names.HTTP_REQUEST_METHOD, names.TIER),
                *(names.DECISION, names.LIMIT, names.ON_ERROR),
            ),
        ),
        Instrument(names.UTILIZATION, Kind.HISTOGRAM, "1", (names.HTTP_ROUTE, names.TIER)),
        Instrument(names.CHECK_DURATION, Kind.HISTOGRAM, "s", (names.TIER, names.DECISION)),
        Instrument(names.CLIENT_LIMITED, Kind.GAUGE, "s"),
        Instrument(names.KEY_FALLBACKS, Kind.COUNTER, "{request}", (names.KEY, names.ERROR_TYPE)),
        Instrument(names.STORAGE_SIZE, Kind.GAUGE, "By", (names.STORAGE,)),
        Instrument(names.STORAGE_CAPACITY, Kind.GAUGE, "By", (names.STORAGE,)),
        Instrument(names.STORAGE_THRESHOLD, Kind.GAUGE, "By", (names.STORAGE, names.LEVEL)),
        Instrument(names.STORAGE_KEYS, Kind.GAUGE, "{key}", (names.STORAGE,)),
        Instrument(names.STORAGE_ERRORS, Kind.COUNTER, "{error}", (names.STORAGE, names.ERROR_TYPE)),
        Instrument(names.STORAGE_OVERFLOWS, Kind.COUNTER, "{request}", (names.STORAGE,)),
        Instrument(names.CLEANUP_REMOVED_KEYS, Kind.COUNTER, "{key}", (names.STORAGE,)),
        Instrument(names.CLEANUP_FREED, Kind.COUNTER, "By", (names.STORAGE,)),
        Instrument(names.CLEANUP_DURATION, Kind.HISTOGRAM, "s", (names.STORAGE,)),
        Instrument(names.VIOLATIONS_RECORDED, Kind.COUNTER, "{violation}"),
        Instrument(names.VIOLATIONS_DROPPED, Kind.COUNTER, "{violation}"),
        Instrument(names.QUEUE_LENGTH, Kind.GAUGE, "{row}", (names.QUEUE,)),
        Instrument(names.QUEUE_CAPACITY, Kind.GAUGE, "{row}", (names.QUEUE,)),
        Instrument(names.QUERIES, Kind.COUNTER, "{query}", (names.OUTCOME,)),
        Instrument(names.QUERY_REPEATS, Kind.COUNTER, "{request}", (names.HTTP_ROUTE,)),
        Instrument(names.QUERY_CAPTURE_DURATION, Kind.HISTOGRAM, "s"),
        Instrument(names.POLICY_INFO, Kind.GAUGE, "1", (names.POLICY_HASH,)),
        Instrument(names.POLICY_RELOADS, Kind.COUNTER, "{reload}", (names.OUTCOME,)),
        Instrument(names.REPORT_LAST_SUCCESS, Kind.GAUGE, "s"),
        Instrument(names.CACHE_HIT_POTENTIAL, Kind.GAUGE, "1"),
    )
}
"""The instruments by name."""


def labels_by_series() -> dict[str, frozenset[str]]:
    """Every name of a series of ours in Prometheus, and the labels it may have."""
    found: dict[str, frozenset[str]] = {}
    for instrument in INSTRUMENTS.values():
        name = prometheus_name(instrument)
        if instrument.kind is Kind.HISTOGRAM:
            found |= {f"{name}_{part}": instrument.labels for part in _PARTS}
            found[f"{name}_bucket"] |= {"le"}
        else:
            found[name] = instrument.labels
    return found
