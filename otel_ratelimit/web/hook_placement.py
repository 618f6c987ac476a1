"""Places our hooks among the application's, and removes them again.

They are placed at the first request, when all other hooks are known: the check right after OpenTelemetry's
hook has opened the span and before all hooks of the application, the headers after everything else. Failures
are seen at two places further out: around the application's `handle_exception`, and around its `wsgi_app`,
which also brings the first request here before its session is opened.
"""

from __future__ import annotations

import functools
import logging
import sys
import threading
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, Final, Protocol, TypeAlias

from flask import Flask, Response

from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.web.first_request import (
    Environ,
    FirstRequest,
    Serve,
    StartResponse,
    WsgiEntry,
    attributes_of,
)
from otel_ratelimit.web.refusal_errors import LimitsUnavailableError, QuotaExceededError
from otel_ratelimit.web.request_hooks import RequestHooks

_logger = logging.getLogger(__name__)

_HANDLE_EXCEPTION: Final = "handle_exception"

Hooks: TypeAlias = MutableMapping[str | None, list[Callable[..., Any]]]
"""Flask's hooks of one kind, by blueprint; None for those of the application.

A request in flight iterates over a list. If that list changed, the request would skip a hook of the
application, which may be its login check, or run one twice. So a list is replaced and never changed.
"""


class FirstServed(Protocol):
    """Answers some requests before the application's hooks see them."""

    def may_serve(self, path: str) -> bool:
        """Whether a request for this path (`PATH_INFO`) may be one of them; asked of every request."""

    def serve(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes] | None:
        """The response; None if the application answers."""


class AttachedHooks:
    """The hooks of one application, from attachment to removal.

    Args:
        app: the application.
        hooks: the hooks to place.
        on_first_request: called once with the WSGI environment, when the hooks are in place.
        first_served: answers some requests before the application's hooks.
        entry: our stand-in for the application's `wsgi_app`, if it exists already.
    """

    def __init__(
        self,
        app: Flask,
        hooks: RequestHooks,
        on_first_request: Callable[[Environ], None],
        first_served: FirstServed | None = None,
        entry: WsgiEntry | None = None,
    ) -> None:
        self._app = app
        self.hooks = hooks
        self._on_first_request = on_first_request
        self._first_served = first_served
        self._lock = threading.Lock()
        self._placed = False
        self._removed = False
        # Bound once: each look-up on the instance makes a new object, and removal compares by identity.
        self._before = hooks.before_request
        self._after = hooks.after_request
        self._handlers: dict[tuple[int | None, type[Exception]], Callable[[Any], Response]] = {
            (None, StorageUnavailableError): hooks.storage_failed,
            (QuotaExceededError.code, QuotaExceededError): hooks.refusals.handle,
            (LimitsUnavailableError.code, LimitsUnavailableError): hooks.refusals.handle,
        }
        self._entry = WsgiEntry(app) if entry is None else entry
        self._handles_exceptions: Callable[[Exception], Response] | None = None
        self._former_handler: Callable[[Exception], Response] | None = None

    def take_entry(self) -> None:
        """Serve requests from now on: everything that they need is ready."""
        # The first one may come before the stand-in is known here; it waits for the lock.
        with self._lock:
            self._stand_in = FirstRequest(self._app, lambda _app, environ: self.place(environ), owner=self)
        self._entry.around = self._serve

    def remove(self) -> None:
        """Restore the application as it was before."""
        with self._lock:
            self._removed = True
            self._entry.remove()
            self._stand_in.remove(self._app)
            if self._placed:
                self._take_back()

    def _take_back(self) -> None:
        app = self._app
        _remove_hook(app.before_request_funcs, self._before)
        _remove_hook(app.after_request_funcs, self._after)
        for (code, kind), handler in self._handlers.items():
            registered = app.error_handler_spec[None][code]
            if registered.get(kind) == handler:
                del registered[kind]
        attributes = attributes_of(app)
        # If ours has been wrapped since, it stays and passes requests through.
        if attributes.get(_HANDLE_EXCEPTION) is self._handles_exceptions:
            if self._former_handler is None:
                del attributes[_HANDLE_EXCEPTION]
            else:
                attributes[_HANDLE_EXCEPTION] = self._former_handler
        self._placed = False

    def place(self, environ: Environ) -> None:
        """Place the hooks, once, and call `on_first_request`."""
        with self._lock:
            if self._placed or self._removed:
                return
            self._place()
        self._stand_in.remove(self._app)
        # Outside of the lock: it may start a thread, which waits until the thread runs.
        try:
            self._on_first_request(environ)
        except Exception:
            _logger.exception("starting background work at the first request failed; limits are in force")

    def _serve(self, environ: Environ, start_response: StartResponse, inner: Serve) -> Iterable[bytes]:
        if not self._placed:
            self.place(environ)
        first_served = self._first_served
        try:
            if first_served is not None and first_served.may_serve(environ.get("PATH_INFO", "")):
                answer = first_served.serve(environ, start_response)
                if answer is not None:
                    return answer
            return inner(environ, start_response)
        except BaseException as error:
            response = None if self._removed else self.hooks.escaped(environ, error)
            if response is None:
                raise
            return response(environ, _instead(start_response))

    def _place(self) -> None:
        app = self._app
        before = app.before_request_funcs.get(None, [])
        # Set by OpenTelemetry's Flask instrumentation; without it there is no span to wait for.
        opens_span = getattr(app, "_before_request", None)
        place = before.index(opens_span) + 1 if opens_span in before else 0
        app.before_request_funcs[None] = [*before[:place], self._before, *before[place:]]
        app.after_request_funcs[None] = [self._after, *app.after_request_funcs.get(None, [])]
        for (code, kind), handler in self._handlers.items():
            app.error_handler_spec[None][code].setdefault(kind, handler)
        self._wrap_exception_handler()
        self._placed = True

    def _wrap_exception_handler(self) -> None:
        attributes = attributes_of(self._app)
        self._former_handler = attributes.get(_HANDLE_EXCEPTION)
        inner = self._app.handle_exception

        @functools.wraps(inner)
        def handle_exception(e: Exception) -> Response:
            return inner(e) if self._removed else self.hooks.failed(e, inner)

        attributes[_HANDLE_EXCEPTION] = self._handles_exceptions = handle_exception


def _remove_hook(hooks: Hooks, hook: Callable[..., Any]) -> None:
    hooks[None] = [each for each in hooks[None] if each is not hook]


def _instead(start_response: StartResponse) -> StartResponse:
    """For a response that replaces one that the server has and has not sent (PEP 3333, `exc_info`)."""
    raised = sys.exc_info()
    return lambda status, headers: start_response(status, headers, raised)
