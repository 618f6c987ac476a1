"""Where captured executions go. Connections hold on to it before there is an application to observe them."""

from __future__ import annotations

from otel_ratelimit.queries.execution import QueryObserver


class CaptureTarget:
    """Shared by all captured connections, which are often opened before there is an application.

    Attributes:
        observer: receives the executions; None while nothing observes them.
    """

    __slots__ = ("observer",)

    def __init__(self) -> None:
        self.observer: QueryObserver | None = None
