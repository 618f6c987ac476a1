"""A report to send, the login of its sender, and a resolver that knows given addresses."""

from __future__ import annotations

import socket
from datetime import UTC, date, datetime

from otel_ratelimit.reports.mail import message

USER = "limits@example.com"
PASSWORD = "geheim/ü@1"


def report(*to):
    return message(
        sender=USER,
        to=to or ("team@example.com",),
        subject="Rate limits on Monday: 3 % refused, Größe unverändert",
        text="Grüße\n.\nA line of a dot is no end.\nFrom here on\n" + "x" * 2000,
        html="<p>Grüße — ✓</p>",
        report_date=date(2026, 11, 23),
        source="shop",
        now=datetime(2026, 11, 24, 0, 15, tzinfo=UTC),
    )


def resolve(monkeypatch, *addresses, error=None):
    """Let the resolver return `addresses` for every name, and an address for itself."""
    real = socket.getaddrinfo

    def getaddrinfo(host, *arguments, **options):
        if host[0].isdigit() or ":" in host:
            return real(host, *arguments, **options)
        if error is not None:
            raise error
        return [found for address in addresses for found in real(address, *arguments, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
