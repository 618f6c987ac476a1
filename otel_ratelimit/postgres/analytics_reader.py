"""Reads violations and usage from PostgreSQL, which aggregates them."""

from __future__ import annotations

from typing import Any, Final, get_args

from otel_ratelimit.analytics.reader import (
    EVERYTHING,
    Excess,
    GroupBy,
    GroupName,
    LimitUse,
    RequestTotal,
    Scope,
    ViolationGroup,
    ViolationPage,
    group_named,
)
from otel_ratelimit.core.decision import DecisionKind
from otel_ratelimit.core.names import OTHER_CLIENTS
from otel_ratelimit.core.periods import Period
from otel_ratelimit.postgres.connection import Database, Row
from otel_ratelimit.postgres.sql_files import statements
from otel_ratelimit.postgres.storable_text import storable, storable_names

READ_SECONDS: Final = 5.0
"""How long the database may take for a statement of the HTTP API, which waits for the answer."""


class PostgresAnalytics:
    """An `AnalyticsReader` over `rate_limit_analytics` and `rate_limit_usage`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = statements("analytics")

    def services(self, period: Period | None = None) -> list[str]:
        """The services that recorded anything in the period, or at all; by name.

        Raises:
            DatabaseError: it cannot be read.
        """
        start, end = period if period is not None else (None, None)
        found = self._database.rows(self._sql["services"], {"start": start, "end": end})
        return [name for (name,) in found]

    def violations(
        self,
        period: Period,
        group_by: GroupName,
        scope: Scope = EVERYTHING,
        *,
        limit: int = 50,
        offset: int = 0,
    ) -> ViolationPage:
        """Violations of the period, grouped.

        Raises:
            DatabaseError: they cannot be read.
            ValueError: no such grouping.
        """
        group_by = group_named(group_by)
        if group_by not in get_args(GroupBy):
            raise ValueError(f"{group_by!r} is no grouping; write one of {', '.join(get_args(GroupBy))}")
        rows = self._rows("violations", period, scope, group_by=group_by, limit=limit, offset=offset)
        groups, violations = rows[0][:2]
        return ViolationPage(
            groups=[ViolationGroup(*row[2:]) for row in rows if row[2] is not None],
            total_groups=groups,
            total_violations=violations,
        )

    def requests(self, period: Period, scope: Scope = EVERYTHING) -> list[RequestTotal]:
        """Requests of the period by endpoint, method, tier and decision.

        Raises:
            DatabaseError: they cannot be read.
        """
        return [
            RequestTotal(endpoint, method, tier, DecisionKind(decision), requests)
            for endpoint, method, tier, decision, requests in self._rows("requests", period, scope)
        ]

    def limits(self, period: Period, scope: Scope = EVERYTHING) -> list[LimitUse]:
        """How far each limit was used in the period.

        Raises:
            DatabaseError: it cannot be read.
        """
        histograms: dict[tuple[Any, ...], list[dict[int, int]]] = {}
        for *limit, percent, requests, clients in self._rows("limits", period, scope):
            by_requests, by_clients = histograms.setdefault(tuple(limit), [{}, {}])
            by_requests[percent] = requests
            if clients:
                by_clients[percent] = clients
        return [LimitUse(*limit, *found) for limit, found in histograms.items()]

    def excess(self, period: Period, scope: Scope = EVERYTHING) -> list[Excess]:
        """How far clients exceeded each limit in the period, without clients that are not distinguished.

        Raises:
            DatabaseError: it cannot be read.
        """
        return [Excess(*row) for row in self._rows("excess", period, scope, others=OTHER_CLIENTS)]

    def _rows(self, name: str, period: Period, scope: Scope, **more: object) -> list[Row]:
        parameters = {
            "start": period.start,
            "end": period.end,
            "endpoint": storable_names(scope.endpoint),
            "service": None if scope.service is None else storable(scope.service),
            **more,
        }
        return self._database.rows(self._sql[name], parameters)
