"""The parts that an application gets from its `RateLimit`, and where they are found: `app.extensions`."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final, Protocol

from flask import Flask
from flask.globals import app_ctx
from flask_limiter import Limiter

from otel_ratelimit.web.api import BLUEPRINT_NAME, URL_PREFIX, ApiBeforeHooks, ApiServices, api_blueprint
from otel_ratelimit.web.flask_limiter_decisions import EXTENSION as LIMITER_EXTENSION
from otel_ratelimit.web.hook_placement import AttachedHooks
from otel_ratelimit.web.request_hooks import RequestHooks

_logger = logging.getLogger(__name__)

EXTENSION: Final = "otel_ratelimit"
"""Where a `RateLimit` stands in `app.extensions`."""
HOOKS: Final = "otel_ratelimit.hooks"


def attached(app: Flask) -> AttachedHooks:
    """The hooks of an application that has its limits."""
    found: AttachedHooks = app.extensions[HOOKS]
    return found


def attached_or_none(app: Flask) -> AttachedHooks | None:
    """The hooks of an application; None where it has no limits."""
    found = app.extensions.get(HOOKS)
    return found if isinstance(found, AttachedHooks) else None


def register(app: Flask, owner: object, hooks: AttachedHooks, limiter: Limiter) -> None:
    """Make `owner` and its hooks known to `app`; its Flask-Limiter too, unless there is another."""
    app.extensions[EXTENSION] = owner
    app.extensions[HOOKS] = hooks
    limiters: set[Limiter] = app.extensions.setdefault(LIMITER_EXTENSION, set())
    if not limiters:
        limiters.add(limiter)


def deregister(app: Flask, limiter: Limiter) -> None:
    """Take back what `register` did."""
    del app.extensions[HOOKS], app.extensions[EXTENSION]
    limiters: set[Limiter] = app.extensions.get(LIMITER_EXTENSION, set())
    limiters.discard(limiter)
    if not limiters:
        app.extensions.pop(LIMITER_EXTENSION, None)


def leave_own_limiters_alone(app: Flask, limiter: Limiter) -> None:
    """Withdraw our Flask-Limiter where the application has made its own since `register`."""
    limiters: set[Limiter] = app.extensions.get(LIMITER_EXTENSION, set())
    if len(limiters) > 1:
        limiters.discard(limiter)


def users_of(apps: Iterable[Flask]) -> dict[str, str]:
    """Names of the users that were seen lately, by client key."""
    found: dict[str, str] = {}
    for app in apps:
        found |= attached(app).hooks.enforcement.identifier.users()
    return found


class ServesApi(Protocol):
    """A `RateLimit`, as far as the HTTP API asks it."""

    def api_services(self, app: Flask) -> ApiServices:
        """The services behind the HTTP API of `app`."""


def api_services_here() -> ApiServices | None:
    """Those of the current application; None where it has no limits any more."""
    app = app_ctx.app
    owner: ServesApi | None = app.extensions.get(EXTENSION)
    return None if owner is None else owner.api_services(app)


def api_ahead(app: Flask, hooks: RequestHooks) -> ApiBeforeHooks:
    """Serves the HTTP API of `app` before the hooks of the application."""
    return ApiBeforeHooks(app, hooks.before_request, hooks.after_request, api_services_here)


def offer_api(app: Flask, *, is_served_ahead: bool) -> None:
    """Add the HTTP API's routes, which Flask cannot take back: without limits they answer 404.

    Args:
        app: the application.
        is_served_ahead: whether the API works without its routes too.
    """
    if BLUEPRINT_NAME in app.blueprints:
        return
    try:
        # Past the methods of a subclass, which may not expect the call.
        api_blueprint(api_services_here).register(app, {})
    except AssertionError:  # Flask's, after the first request
        if not is_served_ahead:
            _logger.warning("%s is not offered: the application has served requests already", URL_PREFIX)
