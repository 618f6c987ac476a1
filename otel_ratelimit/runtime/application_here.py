"""Which `RateLimit` a call without arguments means: the current application's, else the only one there is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from flask import Flask, current_app

from otel_ratelimit.storage.default_store import NO_RATE_LIMITS
from otel_ratelimit.storage.key_namespace import service_of
from otel_ratelimit.telemetry import service_name

_Owner = TypeVar("_Owner")


def application_here() -> Flask | None:
    """The application of the current context, itself and not its proxy; None outside of one."""
    return current_app._get_current_object() if current_app else None  # type: ignore[attr-defined]  # noqa: SLF001 - werkzeug's documented way


def service_here() -> str:
    """The service that runs here, as it is recorded; empty where it has no name."""
    # An application without a name for OpenTelemetry records under its import name.
    app = application_here()
    return service_name(service_of(os.environ).name if app is None else app.import_name)


def owner_here(of_app: Callable[[Flask], _Owner | None], in_use: Callable[[], Sequence[_Owner]]) -> _Owner:
    """The one that is meant here.

    Args:
        of_app: the one that an application has.
        in_use: all of this process.

    Raises:
        RuntimeError: there is none, or more than one could be meant; with what to do.
    """
    app = application_here()
    if app is not None:
        found = of_app(app)
        if found is None:
            raise RuntimeError(_has_none(app))
        return found
    all_of_them = in_use()
    if len(all_of_them) == 1:
        return all_of_them[0]
    if not all_of_them:
        raise RuntimeError(NO_RATE_LIMITS)
    raise RuntimeError(
        f"{len(all_of_them)} RateLimit objects in this process; call this within"
        " `with app.app_context()` of the application that is meant"
    )


def recording_here(of_app: Callable[[Flask], _Owner | None]) -> tuple[Flask, _Owner]:
    """The current application, and the one that it has, to record with.

    Args:
        of_app: the one that an application has.

    Raises:
        RuntimeError: there is no current application, or it has none; with what to do.
    """
    app = application_here()
    if app is None:
        raise RuntimeError("no application here; call this within a request or `with app.app_context()`")
    found = of_app(app)
    if found is None:
        raise RuntimeError(_has_none(app, ", so nothing is recorded"))
    return app, found


def _has_none(app: Flask, so: str = "") -> str:
    start = "start it with `opentelemetry-instrument`, or call `RateLimit(app)`"
    return f"the application {app.name} has no rate limits{so}; {start}"
