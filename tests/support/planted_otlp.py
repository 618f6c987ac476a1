"""OTLP with a secret wherever there is room for text, and where to look for it afterwards."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE as CUMULATIVE,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

MARK = "sesame"
IDS = {"trace_id", "span_id", "parent_span_id"}
NOW = 1_700_000_000_000_000_000

HARMLESS = {
    "http.route": "/api/<int:id>",
    "http.request.method": "GET",
    "http.response.status_code": 429,
    "otel_ratelimit.tier": "default",
    "otel_ratelimit.decision": "blocked",
    "otel_ratelimit.limit": "10 per 1 minute",
    "otel_ratelimit.remaining": 0,
    "otel_ratelimit.client": "u" + "0123456789abcdef" * 2,
}
TEMPTING = (
    "http.target", "http.url", "url.full", "url.path", "url.query", "http.host", "http.user_agent",
    "user_agent.original", "client.address", "net.peer.ip", "network.peer.address", "server.address",
    "http.request.header.authorization", "http.request.header.cookie", "http.response.header.set_cookie",
    "enduser.id", "user.email", "db.user", "db.query.parameter.0", "db.statement", "db.query.text",
    "db.connection_string", "code.stacktrace", "exception.message", "exception.stacktrace", "thread.name",
    "process.command_args", "host.name", "messaging.message.body", "session.id", "peer.service",
)  # fmt: skip


class Secrets:
    """Hands out secrets, each another; `count` says how many are about."""

    def __init__(self) -> None:
        self.count = 0

    def one(self) -> str:
        self.count += 1
        return f"open@{MARK}!{self.count:04d}"


def spellings() -> Iterator[bytes]:
    """How a secret could read in what was written down."""
    yield MARK.encode()
    yield MARK.encode().hex().encode()
    for shift in range(3):
        # The letters of base64 that depend on this word alone, at each of its three alignments.
        encoded = base64.b64encode(b"\0" * shift + MARK.encode())
        yield encoded[-(-shift * 4 // 3) : (shift + len(MARK)) * 4 // 3]


def assert_nowhere(collector, backend) -> None:
    left = {
        "what was sent on": b"".join(body for _, body in backend.bodies),
        "the collector's own metrics": collector.own_metrics().encode(),
        "log": collector.said().encode(),
        "queue on disk": collector.on_disk(),
    }
    if collector.collector.role == "node":
        left |= {
            "metrics": collector.scrape().encode(),
            "metrics as text": collector.scrape("text/plain").encode(),
        }
    assert all(left.values())
    found = {
        place
        for place, content in left.items()
        if any(each in content or each in content.lower() for each in spellings())
    }
    assert found == set()


def plant(message: Message, secrets: Secrets, *, everywhere: bool) -> None:
    """A secret in every field of text: in those that are empty, or in all."""
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None and field.message_type.name == "KeyValue":
            _plant_attributes(getattr(message, field.name), secrets)
        elif field.message_type is not None:
            _plant_below(message, field, secrets, everywhere=everywhere)
        elif field.type == FieldDescriptor.TYPE_STRING and (everywhere or not _filled(message, field)):
            if field.is_repeated:
                getattr(message, field.name).append(secrets.one())
            else:
                setattr(message, field.name, secrets.one())
        elif (
            field.type == FieldDescriptor.TYPE_BYTES
            and field.name in IDS
            and not getattr(message, field.name)
        ):
            setattr(message, field.name, random.randbytes(16 if field.name == "trace_id" else 8))


def _filled(message: Message, field: FieldDescriptor) -> bool:
    return bool(getattr(message, field.name))


def _plant_below(message: Message, field: FieldDescriptor, secrets: Secrets, *, everywhere: bool) -> None:
    if field.is_repeated:
        children = getattr(message, field.name)
        if not children:
            children.add()
    elif field.containing_oneof is not None and not message.HasField(field.name):
        return
    else:
        children = [getattr(message, field.name)]
    for child in children:
        child.SetInParent()
        plant(child, secrets, everywhere=everywhere)


def _plant_attributes(attributes, secrets: Secrets) -> None:
    """Under keys of every kind, as values of every type."""
    for key in (
        f"bytes.{secrets.one()}",
        "otel_ratelimit.policy.hash",
        "otel_ratelimit.tier",
        "service.version",
    ):
        attributes.add(key=key).value.bytes_value = secrets.one().encode()
    for key in (secrets.one(), "telemetry.sdk.name", "otel_ratelimit.outcome"):
        attributes.add(key=key).value.array_value.values.add().string_value = secrets.one()
    for key in (secrets.one(), "telemetry.sdk.language", "otel_ratelimit.level"):
        attributes.add(key=key).value.kvlist_value.values.add(
            key=secrets.one()
        ).value.string_value = secrets.one()
    known = {attribute.key for attribute in attributes}
    for key in [
        secrets.one(),
        *TEMPTING,
        *(key for key in HARMLESS if key not in known),
        "error.type",
        "service.name",
    ]:
        if key not in known:
            attributes.add(key=key).value.string_value = secrets.one()


def spans(secrets: Secrets, *, everywhere: bool) -> bytes:
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    scope.scope.name = "opentelemetry.instrumentation.flask"
    for kind in (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_INTERNAL):
        span = scope.spans.add(
            name="otel_ratelimit.report", kind=kind, start_time_unix_nano=NOW, end_time_unix_nano=NOW + 1
        )
        if kind == Span.SPAN_KIND_CLIENT:
            span.attributes.add(key="db.system.name").value.string_value = "postgresql"
    plant(request, secrets, everywhere=everywhere)
    return request.SerializeToString()


def metrics(secrets: Secrets, *, everywhere: bool) -> bytes:
    request = ExportMetricsServiceRequest()
    scope = request.resource_metrics.add().scope_metrics.add()
    for name in ("otel_ratelimit.a", "http.server.b"):
        sum_ = scope.metrics.add(name=f"{name}.sum", unit="s").sum
        sum_.aggregation_temporality, sum_.is_monotonic = CUMULATIVE, True
        sum_.data_points.add(as_int=1, time_unix_nano=NOW).exemplars.add(as_int=1)
        scope.metrics.add(name=f"{name}.gauge", unit="s").gauge.data_points.add(as_int=1, time_unix_nano=NOW)
        histogram = scope.metrics.add(name=f"{name}.histogram").histogram
        histogram.aggregation_temporality = CUMULATIVE
        histogram.data_points.add(
            count=1, sum=1, bucket_counts=[1, 0], explicit_bounds=[1], time_unix_nano=NOW
        ).exemplars.add(as_double=0.5)
        exponential = scope.metrics.add(name=f"{name}.exponential").exponential_histogram
        exponential.aggregation_temporality = CUMULATIVE
        exponential.data_points.add(count=1, sum=1, zero_count=1, time_unix_nano=NOW).exemplars.add(
            as_double=0
        )
        scope.metrics.add(name=f"{name}.summary").summary.data_points.add(count=1, sum=1, time_unix_nano=NOW)
    plant(request, secrets, everywhere=everywhere)
    return request.SerializeToString()
