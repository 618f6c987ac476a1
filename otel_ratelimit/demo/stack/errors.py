"""The errors of the stack, each with what to do about it."""

from __future__ import annotations

from otel_ratelimit.core.errors import RemediableError


class StackError(RemediableError):
    """One of its programs is missing, did not start or has ended."""
