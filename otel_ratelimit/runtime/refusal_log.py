"""Joins the log of refused requests to the policy, the database's secret and the background thread."""

from __future__ import annotations

from functools import partial

from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.core.secret import SecretKey
from otel_ratelimit.core.settings import Settings
from otel_ratelimit.policy.model import Analytics as AnalyticsPolicy
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.hash_key import shared_secret
from otel_ratelimit.telemetry.logs import FLUSH_SECONDS, RefusalLog, ShownAddresses


def open_refusal_log(
    settings: Settings, policy: AnalyticsPolicy, database: Database | None, worker: BackgroundWorker
) -> RefusalLog:
    """What writes refused requests to the log; `database` is where analytics are kept, if they are."""
    shared_key = partial(shared_secret, database) if database is not None else None
    hash_key = SecretKey(settings.hash_key.reveal().encode())
    addresses = ShownAddresses(policy.client_addresses, hash_key, shared_key)
    refusal_log = RefusalLog(addresses)
    worker.every(FLUSH_SECONDS, "refusal log", refusal_log.tick, start=False)
    return refusal_log
