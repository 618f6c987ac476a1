"""Joins the HTTP API to the store, the recorder and the database."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from flask import Flask

from otel_ratelimit.runtime.attachment import attached
from otel_ratelimit.runtime.parts import Parts
from otel_ratelimit.web.api import BLUEPRINT_NAME, URL_PREFIX, ApiServices

_logger = logging.getLogger(__name__)


def api_services(
    app: Flask,
    parts: Parts,
    authorize: Callable[[str], bool] | None,
    keys_by_user: Callable[[], Mapping[str, int]],
) -> ApiServices:
    """The services behind the API of one application."""
    settings, storage, analytics = parts.settings, parts.storage, parts.recording.analytics
    memory = parts.policy.policy.memory
    placed = attached(app)  # now, because the limits may be taken away before the request ends
    return ApiServices(
        store=storage.store,
        enforcement=lambda: placed.hooks.enforcement,
        clock=parts.clock,
        storage_name=storage.store.name,
        storage_healthy=storage.healthy,
        retry_seconds=storage.retry_seconds,
        snapshot=storage.snapshot,
        keys_by_user=keys_by_user,
        cleanup=storage.cleanup,
        recorder=lambda: analytics.recorder.state if analytics is not None else None,
        reader=analytics.reader if analytics is not None else None,
        cache_reports=analytics.cache_reports if analytics is not None else None,
        own_service=analytics.service if analytics is not None else lambda: "",
        read_tokens=settings.read_tokens,
        admin_tokens=settings.admin_tokens,
        authorize=authorize,
        memory_warning_bytes=memory.warning,
        memory_critical_bytes=memory.critical,
    )


def warn_of_hidden_routes(app: Flask) -> None:
    """Log once which routes of the application lie where the API is."""
    hidden = [
        str(rule)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(f"{URL_PREFIX}/") and not rule.endpoint.startswith(f"{BLUEPRINT_NAME}.")
    ]
    if hidden:
        _logger.warning(
            "%s belongs to otel-ratelimit, which may answer in place of %s", URL_PREFIX, ", ".join(hidden)
        )
