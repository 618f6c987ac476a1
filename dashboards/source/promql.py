"""PromQL over our metrics: selectors that use the dashboard's variables, and expressions with them.

Sums drop `instance`: it is one worker process and disappears with its next restart. Where one process matters
(its memory), the panel says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dashboards.source.foreign import FOREIGN_METRICS
from dashboards.source.instruments import ENVIRONMENT, INSTRUMENTS, Kind, label, prometheus_name
from otel_ratelimit.core import names

OF_ENVIRONMENT: Final = f'{ENVIRONMENT}=~"$environment"'
OF_SERVICES: Final = f'{OF_ENVIRONMENT},job=~"$job"'
OF_PROCESSES: Final = f'{OF_SERVICES},instance=~"$instance"'
_OF_REQUESTS: Final = {names.TIER: 'otel_ratelimit_tier=~"$tier"', names.HTTP_ROUTE: 'http_route=~"$route"'}


def ours(name: str, *matchers: str) -> str:
    """Selector of a counter or gauge of ours, narrowed by every variable that it has a label for."""
    instrument = INSTRUMENTS[name]
    if instrument.kind is Kind.HISTOGRAM:
        raise ValueError(f"{name} is a histogram: select its buckets or its count")
    return _select(prometheus_name(instrument), name, matchers)


def buckets(name: str, *matchers: str) -> str:
    """Selector of a histogram's buckets."""
    return _select(f"{prometheus_name(INSTRUMENTS[name])}_bucket", name, matchers)


def count(name: str, *matchers: str) -> str:
    """Selector of how often a histogram was recorded."""
    return _select(f"{prometheus_name(INSTRUMENTS[name])}_count", name, matchers)


def _select(metric: str, name: str, matchers: Sequence[str]) -> str:
    narrowed = [text for attribute, text in _OF_REQUESTS.items() if attribute in INSTRUMENTS[name].attributes]
    return f"{metric}{{{','.join((OF_PROCESSES, *narrowed, *matchers))}}}"


def report(name: str) -> str:
    """Selector of a metric of the nightly report, which another service than those that limit may make."""
    return f"{prometheus_name(INSTRUMENTS[name])}{{{OF_ENVIRONMENT}}}"


def spans(metric: str, *matchers: str) -> str:
    """Selector of a metric of spanmetrics for served requests; there is one series for each service."""
    served = (OF_SERVICES, 'span_kind="SPAN_KIND_SERVER"', 'http_route=~"$route"')
    return f"{foreign(metric)}{{{','.join((*served, *matchers))}}}"


def foreign(metric: str) -> str:
    """The name of a metric of `foreign`, which must be a known one."""
    return FOREIGN_METRICS[metric].name


def equals(attribute: str, value: str) -> str:
    """Matcher of an attribute's value."""
    return f'{label(attribute)}="{value}"'


def differs(attribute: str, value: str) -> str:
    """Matcher of every other value."""
    return f'{label(attribute)}!="{value}"'


def by(*attributes: str) -> str:
    """The `by` clause of an aggregation."""
    return f"by ({', '.join(label(attribute) for attribute in attributes)})"


def rate(selector: str, *attributes: str) -> str:
    """The rate per second, summed over everything except the attributes."""
    return f"{_sum(attributes)}(rate({selector}[$__rate_interval]))"


def increase(selector: str, *attributes: str, window: str = "$__range") -> str:
    """The increase over the time shown, or between two points of a graph; summed in the same way."""
    return f"{_sum(attributes)}(increase({selector}[{window}]))"


def happened(selector: str, *attributes: str, window: str = "$__range") -> str:
    """How often a rare event happened, over the time shown or between two points of a graph.

    `increase` does not see the occurrences with which a series begins. A series is new if there was none of
    it for an hour before, so that one that was away for a while does not count as new.
    """
    before = f"last_over_time({selector}[1h] offset {window})"
    return (
        f"{_sum(attributes)}(last_over_time({selector}[{window}]) unless {before}"
        f" or increase({selector}[{window}]))"
    )


def share(part: str, whole: str) -> str:
    """A share: 0 if the whole has no such part yet; no value if there is no whole."""
    return f"({part} or {whole} * 0) / ({whole} > 0)"


def quantile(of: float, selector: str, *attributes: str) -> str:
    """A quantile of a histogram's buckets, over time."""
    return f"histogram_quantile({of}, {rate(selector, 'le', *attributes)})"


def quantile_of_all(of: float, selector: str, *attributes: str) -> str:
    """A quantile of a histogram's buckets, over the whole time shown."""
    return f"histogram_quantile({of}, {increase(selector, 'le', *attributes)})"


def _sum(attributes: Sequence[str]) -> str:
    return f"sum {by(*attributes)} " if attributes else "sum"
