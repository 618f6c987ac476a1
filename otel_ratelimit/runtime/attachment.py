"""The parts that an application gets from its `RateLimit`, and where they are found: `app.extensions`."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final, Protocol

from flask import Flask
from flask.globals import app_ctx
from flask_limiter import Limiter

from otel_ratelimit.web.api import BLUEPRINT_NAME, URL_PREFIX, ApiBeforeHooks, ApiServices, api_blueprint
from otel_ratelimit.web.first_request import awaited_by
from otel_ratelimit.web.flask_limiter_decisions import EXTENSION as LIMITER_EXTENSION
from otel_ratelimit.web.hook_placement import AttachedHooks
from otel_ratelimit.web.policy_limiter import PolicyLimiter
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


def owners_of(app: Flask) -> tuple[object, ...]:
    """The owners of the stand-in and of the hooks in `app`; None in place of each that it does not have."""
    return awaited_by(app), app.extensions.get(EXTENSION)


def register(app: Flask, owner: object, hooks: AttachedHooks, limiter: Limiter) -> None:
    """Make `owner` and its hooks known to `app`; its Flask-Limiter too, unless there is another."""
    app.extensions[EXTENSION] = owner
    app.extensions[HOOKS] = hooks
    if not app.extensions.get(LIMITER_EXTENSION):
        app.extensions[LIMITER_EXTENSION] = {limiter}


def deregister(app: Flask, limiter: PolicyLimiter) -> None:
    """Take back what `register` did; the limits that are declared on `limiter` let requests through."""
    limiter.release(app)
    # In this order: who finds the owner may look for its hooks.
    del app.extensions[EXTENSION], app.extensions[HOOKS]
    if not _withdraw(app, limiter):
        app.extensions.pop(LIMITER_EXTENSION, None)


def leave_own_limiters_alone(app: Flask, limiter: Limiter) -> None:
    """Withdraw our Flask-Limiter where the application has made its own since `register`."""
    if len(app.extensions.get(LIMITER_EXTENSION, ())) > 1:
        _withdraw(app, limiter)


def _withdraw(app: Flask, limiter: Limiter) -> set[Limiter]:
    """Take our Flask-Limiter out of the set; the ones that stay."""
    limiters: set[Limiter] = app.extensions.get(LIMITER_EXTENSION, set())
    if limiter in limiters:
        # A new set, because requests in flight iterate over the old one.
        limiters = app.extensions[LIMITER_EXTENSION] = limiters - {limiter}
    return limiters


def users_of(apps: Iterable[Flask]) -> dict[str, str]:
    """Names of the users that were seen lately, by client key."""
    found: dict[str, str] = {}
    for app in apps:
        placed = attached_or_none(app)
        if placed is not None:
            found |= placed.hooks.enforcement.identifier.users()
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


def offer_api(app: Flask, hooks: RequestHooks, *, is_served_ahead: bool) -> ApiBeforeHooks | None:
    """Add the HTTP API's routes, which Flask cannot take back: without limits they answer 404.

    Args:
        app: the application.
        hooks: its hooks, which check requests to the API too.
        is_served_ahead: whether the API works without its routes too.

    Returns:
        What serves the API before the hooks of the application, if it is served ahead of them.
    """
    _add_routes(app, warns=not is_served_ahead)
    if not is_served_ahead:
        return None
    return ApiBeforeHooks(app, hooks.before_request, hooks.after_request, api_services_here)


def _add_routes(app: Flask, *, warns: bool) -> None:
    if BLUEPRINT_NAME in app.blueprints:
        return
    try:
        # Past the methods of a subclass, which may not expect the call.
        api_blueprint(api_services_here).register(app, {})
    except AssertionError:  # Flask's, after the first request
        if warns:
            _logger.warning("%s is not offered: the application has served requests already", URL_PREFIX)
