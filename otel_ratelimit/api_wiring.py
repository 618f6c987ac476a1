"""Joins the HTTP API to the store, the recorder and the database."""

from __future__ import annotations

from collections.abc import Callable

from otel_ratelimit.analytics_wiring import Analytics
from otel_ratelimit.events import Clock
from otel_ratelimit.policy import Memory
from otel_ratelimit.settings import Settings
from otel_ratelimit.storage_wiring import OpenedStorage
from otel_ratelimit.web.api import ApiServices
from otel_ratelimit.web.extension import Enforcement


def api_services(  # noqa: PLR0913 - the place where these are joined
    settings: Settings,
    storage: OpenedStorage,
    memory: Memory,
    analytics: Analytics | None,
    authorize: Callable[[str], bool] | None,
    *,
    clock: Clock,
    enforcement: Callable[[], Enforcement],
) -> ApiServices:
    """What the API of one application asks."""
    return ApiServices(
        store=storage.store,
        enforcement=enforcement,
        clock=clock,
        storage_name=storage.store.name,
        storage_healthy=storage.healthy,
        retry_seconds=storage.retry_seconds,
        snapshot=storage.snapshot,
        cleanup=storage.cleanup,
        recorder=lambda: analytics.recorder.state if analytics is not None else None,
        reader=analytics.reader if analytics is not None else None,
        read_tokens=settings.read_tokens,
        admin_tokens=settings.admin_tokens,
        authorize=authorize,
        memory_warning_bytes=memory.warning,
        memory_critical_bytes=memory.critical,
    )
