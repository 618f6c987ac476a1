"""What can go wrong with the demo, each with what to do about it."""

from __future__ import annotations

from otel_ratelimit.errors import RateLimitError

FAILED = 1
WRONG_USE = 2


class DemoError(RateLimitError):
    """The demo cannot go on.

    Args:
        what: what went wrong.
        remedy: what to do about it.
        exit_status: of the command: 1 when something failed, 2 when it was called wrongly.
    """

    def __init__(self, what: str, remedy: str, *, exit_status: int = FAILED) -> None:
        self.what = what
        self.remedy = remedy
        self.exit_status = exit_status
        super().__init__(f"{what}\nWhat to do: {remedy}")


class ExtraMissingError(DemoError):
    """Packages of the extra `demo` are not installed."""

    def __init__(self, missing: list[str]) -> None:
        super().__init__(
            f"the demo needs packages that are not installed: {', '.join(missing)}",
            'pip install "otel-ratelimit[demo]"',
            exit_status=WRONG_USE,
        )
