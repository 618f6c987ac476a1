"""Decisions and the state of the store as OpenTelemetry metrics and span attributes."""

from otel_ratelimit.telemetry.current_trace import current_trace_id
from otel_ratelimit.telemetry.decisions import DecisionTelemetry
from otel_ratelimit.telemetry.histogram_buckets import HistogramBuckets
from otel_ratelimit.telemetry.policy import PolicyTelemetry
from otel_ratelimit.telemetry.queues import QueueTelemetry
from otel_ratelimit.telemetry.recorder import RecorderTelemetry
from otel_ratelimit.telemetry.resource import service_name
from otel_ratelimit.telemetry.storage import StorageTelemetry

__all__ = [
    "DecisionTelemetry",
    "HistogramBuckets",
    "PolicyTelemetry",
    "QueueTelemetry",
    "RecorderTelemetry",
    "StorageTelemetry",
    "current_trace_id",
    "service_name",
]
