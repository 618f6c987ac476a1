"""Keeps our histograms in the buckets that alert rules and dashboards read, whatever an exporter prefers.

`OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION=base2_exponential_bucket_histogram` changes every
histogram of a process, and a scrape of the collector then has the bucket `+Inf` only. The buckets that our
instruments advise are ignored in that case (OpenTelemetry specification, "Instrument advisory parameters"); a
View is not. A provider accepts Views only in its constructor, which OpenTelemetry calls in zero-code use, so
ours is added to the provider's configuration. The configuration is private to the SDK: where it is not as
expected, nothing is changed, and the log says what to set instead.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry.metrics import MeterProvider, get_meter_provider
from opentelemetry.sdk.metrics import Histogram
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)

from otel_ratelimit.core import names
from otel_ratelimit.core.secret import HiddenEnvironment

_logger = logging.getLogger(__name__)

VARIABLE: Final = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
EXPONENTIAL: Final = "base2_exponential_bucket_histogram"


class _OurBuckets(View):
    """The buckets that our instruments advise, except where a View of the application applies."""

    def __init__(self, others: Sequence[View]) -> None:
        super().__init__(
            instrument_type=Histogram,
            meter_name=names.METER,
            aggregation=ExplicitBucketHistogramAggregation(),
        )
        self._others = others

    def _match(self, instrument: Any) -> bool:
        others = (other._match(instrument) for other in self._others)  # noqa: SLF001 - no public method reads or changes views
        return super()._match(instrument) and not any(others)


class HistogramBuckets:
    """Keeps the buckets of one provider's histograms.

    Args:
        provider: where our instruments are made; None for the global one, which may be set later.
        environ: where exporters look up their preference.
    """

    def __init__(self, provider: MeterProvider | None, environ: Mapping[str, str]) -> None:
        self._provider = provider
        self._environ = HiddenEnvironment(environ)
        self._has_warned = False

    def keep(self) -> None:
        """Add our View if it is needed; logs once what to set if that is impossible. May be called again."""
        provider = get_meter_provider() if self._provider is None else self._provider
        if not isinstance(provider, SdkMeterProvider):
            return  # not set yet, or not OpenTelemetry's
        try:
            if _prefers_exponential(provider):
                _add_our_view(provider)
        except (AttributeError, TypeError):
            self._warn()

    def _warn(self) -> None:
        if self._has_warned or self._environ.get(VARIABLE, "").strip() != EXPONENTIAL:
            return
        self._has_warned = True
        _logger.warning(
            "%s=%s: this version of opentelemetry-sdk does not let otel_ratelimit keep the buckets of its"
            " histograms, so the alerts RateLimitCheckSlow and RateLimitEndpointNearLimit do not fire and"
            " panels are empty; set it to explicit_bucket_histogram, or give the MeterProvider a View with"
            " ExplicitBucketHistogramAggregation() for the histograms of the meter %s",
            VARIABLE,
            EXPONENTIAL,
            names.METER,
        )


def _prefers_exponential(provider: SdkMeterProvider) -> bool:
    return any(
        isinstance(aggregation, ExponentialBucketHistogramAggregation)
        for reader in provider._metric_readers  # noqa: SLF001 - no public method reads or changes views
        for aggregation in reader._instrument_class_aggregation.values()  # noqa: SLF001 - no public method reads or changes views
    )


def _add_our_view(provider: SdkMeterProvider) -> None:
    configuration = provider._sdk_config  # noqa: SLF001 - no public method reads or changes views
    views = tuple(configuration.views)
    if not any(isinstance(view, _OurBuckets) for view in views):
        configuration.views = (*views, _OurBuckets(views))
