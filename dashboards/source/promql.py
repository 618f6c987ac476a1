"""PromQL over our metrics: selectors that obey the dashboard's variables, and what is made of them.

Sums drop `instance`: it is one worker process and gone with its next restart. Where one process is the point
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
    """Selector of a metric of spanmetrics, of requests that were served; its series are of services."""
    served = (OF_SERVICES, 'span_kind="SPAN_KIND_SERVER"', 'http_route=~"$route"')
    return f"{foreign(metric)}{{{','.join((*served, *matchers))}}}"


def foreign(metric: str) -> str:
    """The name of a metric that somebody else defines, which must be a known one."""
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
    """A second, summed over everything but the attributes."""
    return f"{_sum(attributes)}(rate({selector}[$__rate_interval]))"


def increase(selector: str, *attributes: str, window: str = "$__range") -> str:
    """Over the time shown, or from one point of a graph to the next; summed likewise."""
    return f"{_sum(attributes)}(increase({selector}[{window}]))"


def happened(selector: str, *attributes: str, window: str = "$__range") -> str:
    """How often, of what is counted from its first occurrence on; over the time shown, or to a graph's point.

    `increase` does not see the occurrences with which a series begins. A series is new if there was none of
    it for an hour before, so that one that was away for a while does not count as new.
    """
    before = f"last_over_time({selector}[1h] offset {window})"
    return (
        f"{_sum(attributes)}(last_over_time({selector}[{window}]) unless {before}"
        f" or increase({selector}[{window}]))"
    )


def share(part: str, whole: str) -> str:
    """0 where there is a whole and no part of it yet; nothing where there is no whole."""
    return f"({part} or {whole} * 0) / ({whole} > 0)"


def quantile(of: float, selector: str, *attributes: str) -> str:
    """Of a histogram's buckets, as it changes."""
    return f"histogram_quantile({of}, {rate(selector, 'le', *attributes)})"


def quantile_of_all(of: float, selector: str, *attributes: str) -> str:
    """Of a histogram's buckets, over the time shown."""
    return f"histogram_quantile({of}, {increase(selector, 'le', *attributes)})"


def _sum(attributes: Sequence[str]) -> str:
    return f"sum {by(*attributes)} " if attributes else "sum"
