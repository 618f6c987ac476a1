"""The errors of the demo, each with what to do about it."""

from __future__ import annotations

from typing import Final

from otel_ratelimit.core.errors import RemediableError

WRONG_USE: Final = RemediableError.WRONG_USE


class DemoError(RemediableError):
    """The demo cannot go on."""


class ExtraMissingError(DemoError):
    """Packages of the extra `demo` are not installed."""

    def __init__(self, missing: list[str]) -> None:
        super().__init__(
            f"the demo needs packages that are not installed: {', '.join(missing)}",
            'pip install "otel-ratelimit[demo]"',
            exit_status=WRONG_USE,
        )
