"""What can go wrong with the stack, each with what to do about it."""

from __future__ import annotations

from otel_ratelimit.errors import RemediableError


class StackError(RemediableError):
    """The stack cannot be started, or cannot go on."""
