"""Which `RateLimit` a call without arguments means: the current application's, else the only one."""

from __future__ import annotations

import os

from flask import Flask
from flask.globals import app_ctx

from otel_ratelimit.core.secret import Secret
from otel_ratelimit.runtime.rate_limit import RateLimit, rate_limit_of, rate_limits_in_use
from otel_ratelimit.storage.default_store import NO_RATE_LIMITS
from otel_ratelimit.storage.key_namespace import service_of
from otel_ratelimit.telemetry import service_name


def application_here() -> Flask | None:
    """The application of the current context, itself and not its proxy; None outside of one."""
    return app_ctx.app if app_ctx else None


def service_here() -> str:
    """The service that runs here, as it is recorded; empty where it has no name."""
    # An application without a name for OpenTelemetry records under its import name.
    app = application_here()
    return service_name(service_of(os.environ).name if app is None else app.import_name)


def current_rate_limit() -> RateLimit:
    """The `RateLimit` of the current application, else the only one of this process.

    Raises:
        RuntimeError: there is no RateLimit, or several could be meant; the message says what to do.
    """
    app = application_here()
    if app is not None:
        found = rate_limit_of(app)
        if found is None:
            raise RuntimeError(_has_none(app))
        return found
    in_use = rate_limits_in_use()
    if len(in_use) == 1:
        return in_use[0]
    if not in_use:
        raise RuntimeError(NO_RATE_LIMITS)
    raise RuntimeError(
        f"{len(in_use)} RateLimit objects in this process; call this within"
        " `with app.app_context()` of the application that is meant"
    )


def recording_here() -> tuple[Flask, RateLimit]:
    """The current application, and its `RateLimit`, to record with.

    Raises:
        RuntimeError: there is no current application, or it has no rate limits; the message says what to do.
    """
    app = application_here()
    if app is None:
        raise RuntimeError("no application here; call this within a request or `with app.app_context()`")
    found = rate_limit_of(app)
    if found is None:
        raise RuntimeError(_has_none(app, ", so nothing is recorded"))
    return app, found


def database_url_here() -> Secret | None:
    """The URL of the current application's database; None without an application or a database."""
    app = application_here()
    rate_limit = None if app is None else rate_limit_of(app)
    return None if rate_limit is None else rate_limit.settings.database_url or None


def _has_none(app: Flask, so: str = "") -> str:
    start = "start it with `opentelemetry-instrument`, or call `RateLimit(app)`"
    return f"the application {app.name} has no rate limits{so}; {start}"
