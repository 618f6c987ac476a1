"""From decisions to what is kept of them: summed up on the request's thread, written on the background's."""

from otel_ratelimit.recorder.recorder import Recorder, RecorderState
from otel_ratelimit.recorder.usage import UsageBuffer
from otel_ratelimit.recorder.violations import ViolationBuffer

__all__ = ["Recorder", "RecorderState", "UsageBuffer", "ViolationBuffer"]
