"""Executions for a query log, one after another."""

from __future__ import annotations

from otel_ratelimit.queries.execution import FixedContext

SHOP = FixedContext(b"shop", "shop")


def run(log, numbers, size=None, *, statement="SELECT x FROM a WHERE id = %s", status="ok", started=6_000.0):
    for number in numbers:
        sent = f"{statement} {number}".encode()
        log.intake.executed(
            statement, sent, SHOP, 1_500_999, False, lambda result, _: (1, result), size, status, started
        )
