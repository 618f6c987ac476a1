"""Gives applications their limits at their first request.

Until then an application may be half-built, and is not called.
"""

from __future__ import annotations

import logging
from typing import Protocol

from flask import Flask, Response

from otel_ratelimit.core.waiting import LateLock
from otel_ratelimit.runtime.attachment import attached_or_none
from otel_ratelimit.web.api import URL_PREFIX
from otel_ratelimit.web.app_set import AppSet
from otel_ratelimit.web.first_request import (
    Environ,
    FirstRequest,
    WsgiEntry,
    awaited_by,
    entry_of,
    make_way,
    match_again,
    stand_in_of,
)
from otel_ratelimit.web.refusal_responses import unavailable

_logger = logging.getLogger(__name__)


class Attaches(Protocol):
    """A `RateLimit`, as far as its applications wait for it."""

    closed: bool

    def init_app(self, app: Flask) -> None:
        """Give `app` its limits."""


class LateAttachment:
    """The applications that wait for their limits.

    Args:
        owner: gives them their limits.
        shadow: whether an application is served where that fails; else it answers 503.
    """

    def __init__(self, owner: Attaches, *, shadow: bool) -> None:
        self.waiting = AppSet()
        self._owner = owner
        self._shadow = shadow
        self._consequence = "serves without limits (shadow)" if shadow else "answers 503"
        self._failed = AppSet()
        self._attaching = LateLock()

    def add(self, app: Flask, entry: WsgiEntry | None = None) -> None:
        """Attach `app` at its first request.

        Args:
            app: the application.
            entry: what stands in its `wsgi_app` already.
        """
        self.waiting.add(app)
        FirstRequest(app, self._attach, owner=self._owner, entry=entry or WsgiEntry(app))

    def make_way(self, app: Flask) -> FirstRequest | None:
        """Let the stand-in of `app` give its place back, to be taken away by `done`."""
        return make_way(app, self._owner)

    def done(self, app: Flask, stand_in: FirstRequest) -> None:
        """`app` has its limits: take its stand-in away; the entry is the hooks' from now on."""
        self.waiting.discard(app)
        stand_in.remove(app)

    def discard(self, app: Flask) -> None:
        """Take away from `app` what waits in it for its first request."""
        stand_in = stand_in_of(app, self._owner)
        if stand_in is None:
            return
        self.done(app, stand_in)
        if stand_in.entry is not None:
            stand_in.entry.remove()

    def _attach(self, app: Flask, environ: Environ) -> Response | None:
        """Do the work that `add` postponed; returns a response that refuses the request if it fails."""
        with self._attaching:
            stand_in = stand_in_of(app, self._owner)
            try:
                if not self._owner.closed and attached_or_none(app) is None:
                    self._owner.init_app(app)
                    match_again(environ, URL_PREFIX)
            except Exception:
                # A fault of ours is neither a 500 nor a free pass.
                if app not in self._failed:
                    self._failed.add(app)
                    _logger.exception(
                        "rate limits could not be attached to a %s; it %s",
                        type(app).__name__,
                        self._consequence,
                    )
                return self._not_attached(app, entry_of(stand_in))
        hooks = attached_or_none(app)
        if hooks is not None:
            hooks.place(environ)
        return None

    def _not_attached(self, app: Flask, entry: WsgiEntry | None) -> Response | None:
        if self._shadow:
            return None
        if awaited_by(app) is None:
            self.add(app, entry)
        return unavailable(1.0)
