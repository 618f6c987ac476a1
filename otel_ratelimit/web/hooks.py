"""Where our hooks stand among the application's, and how they are taken away again.

They are put in place at the first request, when all the others are known: the check right after
OpenTelemetry's hook has opened the span and before anything of the application's; the headers
after everything else. What fails is seen from two places further out: around the application's
`handle_exception`, and around its `wsgi_app`, which also brings the first request here before its
session is opened.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from flask import Flask, Response, request

from otel_ratelimit.errors import StorageUnavailableError
from otel_ratelimit.web.extension import RequestHooks
from otel_ratelimit.web.refusals import LimitsUnavailableError, QuotaExceededError

_log = logging.getLogger(__name__)

_WSGI_APP: Final = "wsgi_app"
_DISPATCH: Final = "full_dispatch_request"
_HANDLE_EXCEPTION: Final = "handle_exception"

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


class FirstServed(Protocol):
    """Answers some requests before the application's hooks see them."""

    def may_serve(self, path: str) -> bool:
        """Whether a request for this path (`PATH_INFO`) may be one of them; asked of every request."""

    def serve(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes] | None:
        """The answer; None where the application is to give it."""


class AttachedHooks:
    """The hooks of one application, from attachment to removal.

    Args:
        app: the application.
        hooks: what is done.
        on_first_request: called once, when the hooks are in place; with the WSGI environment.
        first_served: what is answered before the application's hooks.
    """

    def __init__(
        self,
        app: Flask,
        hooks: RequestHooks,
        on_first_request: Callable[[Environ], None],
        first_served: FirstServed | None = None,
    ) -> None:
        self._app = app
        self.hooks = hooks
        self._on_first_request = on_first_request
        self._first_served = first_served
        self._lock = threading.Lock()
        self._placed = False
        self._removed = False
        # Bound once: each look-up on the instance makes a new object, and removal goes by identity.
        self._before = hooks.before_request
        self._after = hooks.after_request
        self._handlers: dict[tuple[int | None, type[Exception]], Callable[[Any], Response]] = {
            (None, StorageUnavailableError): hooks.storage_failed,
            (QuotaExceededError.code, QuotaExceededError): hooks.refusals.handle,
            (LimitsUnavailableError.code, LimitsUnavailableError): hooks.refusals.handle,
        }
        self._replaced = [
            _Replaced(app, _WSGI_APP, self._wsgi_app),
            _Replaced(app, _DISPATCH, self._dispatch),
        ]

    def remove(self) -> None:
        """Leave the application as it was before."""
        self._removed = True
        for replaced in self._replaced:
            replaced.undo()
        if not self._placed:
            return
        app = self._app
        app.before_request_funcs[None].remove(self._before)
        app.after_request_funcs[None].remove(self._after)
        for (code, kind), handler in self._handlers.items():
            registered = app.error_handler_spec[None][code]
            if registered.get(kind) == handler:
                del registered[kind]
        self._placed = False

    def _wsgi_app(self, inner: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        first_served, escaped = self._first_served, self.hooks.escaped

        def wsgi_app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            if not self._placed:
                if self._removed:
                    return inner(environ, start_response)
                self._place_once(environ)
            try:
                if first_served is not None and first_served.may_serve(environ.get("PATH_INFO", "")):
                    answer = first_served.serve(environ, start_response)
                    if answer is not None:
                        return answer
                return inner(environ, start_response)
            except BaseException as error:
                response = escaped(environ, error)
                if response is None:
                    raise
                return response(environ, _instead(start_response))

        return wsgi_app

    def _dispatch(self, inner: Callable[..., Response]) -> Callable[..., Response]:
        """Places the hooks where nothing comes through `wsgi_app`; goes with the first request."""

        def full_dispatch_request(*args: Any, **kwargs: Any) -> Response:
            if not self._placed and not self._removed:
                self._place_once(request.environ)
            return inner(*args, **kwargs)

        return full_dispatch_request

    def _handle_exception(self, inner: Callable[[Exception], Response]) -> Callable[[Exception], Response]:
        failed = self.hooks.failed

        def handle_exception(e: Exception) -> Response:
            return inner(e) if self._removed else failed(e, inner)

        return handle_exception

    def _place_once(self, environ: Environ) -> None:
        with self._lock:
            if not self._placed:
                self._place()
                try:
                    self._on_first_request(environ)
                except Exception:  # noqa: BLE001 - limits are in place, and the request can be served
                    _log.exception("what is to be done at the first request failed; limits are in force")

    def _place(self) -> None:
        app = self._app
        before = app.before_request_funcs.setdefault(None, [])
        # Set by OpenTelemetry's Flask instrumentation; without it there is no span to wait for.
        opens_span = getattr(app, "_before_request", None)
        before.insert(before.index(opens_span) + 1 if opens_span in before else 0, self._before)
        app.after_request_funcs.setdefault(None, []).insert(0, self._after)
        for (code, kind), handler in self._handlers.items():
            app.error_handler_spec[None][code].setdefault(kind, handler)
        self._replaced.append(_Replaced(app, _HANDLE_EXCEPTION, self._handle_exception))
        self._placed = True
        for replaced in self._replaced:
            if replaced.name == _DISPATCH:
                replaced.undo()


def _instead(start_response: StartResponse) -> StartResponse:
    """For a response in place of one that the server was given and has not sent (PEP 3333, `exc_info`)."""
    raised = sys.exc_info()
    return lambda status, headers: start_response(status, headers, raised)


class _Replaced:
    """A method of one application with ours around it."""

    def __init__(
        self, app: Flask, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]
    ) -> None:
        self.name = name
        self._app = app
        self._former = app.__dict__.get(name)
        self._ours = wrap(getattr(app, name))
        setattr(app, name, self._ours)

    def undo(self) -> None:
        """Put back what was there. Where someone has wrapped ours since, it stays, and passes through."""
        if self._app.__dict__.get(self.name) is not self._ours:
            return
        if self._former is None:
            delattr(self._app, self.name)
        else:
            setattr(self._app, self.name, self._former)
