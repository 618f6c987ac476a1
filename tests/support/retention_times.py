"""Periods of retention, and a service that announces its own."""

from __future__ import annotations

from datetime import timedelta

from clocked import NOW

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MONTH = timedelta(days=30)


def announce(clocked, service, retention, at=NOW, **options):
    return clocked.maintain(at, service=service, retention=retention, announce=True, **options)
