"""The lines of the application log that tell of refused requests."""

from __future__ import annotations

from otel_ratelimit.core import names

LOGGER = "otel_ratelimit.refusals"


def written(caplog):
    return [record for record in caplog.records if record.name == LOGGER]


def counts(caplog):
    return [vars(record)[names.REFUSED_REQUESTS] for record in written(caplog)]
