"""The one who is told of queries, in a place that connections can hold on to before there is anyone."""

from __future__ import annotations

from otel_ratelimit.queries.execution import QueryObserver


class Relay:
    """Connections are often opened before there is an application to ask for its queries.

    Attributes:
        target: who is told; None while there is nobody.
    """

    __slots__ = ("target",)

    def __init__(self) -> None:
        self.target: QueryObserver | None = None
