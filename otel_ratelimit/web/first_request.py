"""Stand-ins in an application's instance that prepare it at its first request.

`Flask.__init__` runs before the `__init__` of a subclass has finished. So nothing of the application may be
called there, and nothing may be set that its `__setattr__` or a property would see. The stand-ins are stored
in the instance's `__dict__`, and nothing else is touched. At the first request the application is complete.

There are two: `WsgiEntry` in `wsgi_app`, which every server calls and which stays, and `FirstRequest` in
`full_dispatch_request`, for requests that do not come through `wsgi_app`. The second one is removed at the
first request, so that later requests do not pay for it.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from flask import Flask, Response, has_request_context, request
from flask.globals import app_ctx, request_ctx

from otel_ratelimit.web.app_set import AppSet

_DISPATCH: Final = "full_dispatch_request"
_WSGI_APP: Final = "wsgi_app"
_STAND_IN: Final = "_otel_ratelimit_stand_in"
"""Attribute of the function in `full_dispatch_request`: its `FirstRequest`. A wrapper may copy it."""

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Any]
Serve: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]
Around: TypeAlias = Callable[[Environ, StartResponse, Serve], Iterable[bytes]]
"""Serves a request; the third argument is the function that it wraps."""

Prepare: TypeAlias = Callable[[Flask, Environ], Response | None]
"""Prepares the application for the request of this WSGI environment; returns a response that replaces the
application's, or None.

Several threads may call it at once. It must not start a thread while it holds a lock: with gevent, another
request would run meanwhile and wait for the lock for ever.
"""


class WsgiEntry:
    """The stand-in in `app.wsgi_app`, inside every middleware that wraps it later.

    Args:
        app: the application, which may be half-built.
    """

    def __init__(self, app: Flask) -> None:
        attributes = attributes_of(app)
        self._app = weakref.ref(app)
        self._former: Serve | None = attributes.get(_WSGI_APP)
        self.around: Around | None = None
        """Serves requests; None passes them through."""
        self._function = attributes[_WSGI_APP] = self._made_function()

    def remove(self) -> None:
        """Restore the former `wsgi_app`; one that was wrapped since stays and passes requests through."""
        self.around = None
        app = self._app()
        if app is not None:
            _put_back(app, _WSGI_APP, self._function, self._former)

    def _made_function(self) -> Serve:
        # A function, because others expect a method here; and one stack frame less for each request.
        former, reference = self._former, self._app

        @_bound_as(Flask.wsgi_app)
        def wsgi_app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            inner = former
            if inner is None:
                app = reference()
                if app is None:
                    raise RuntimeError("the application no longer exists")
                inner = type(app).wsgi_app.__get__(app, type(app))
            around = self.around
            return (
                inner(environ, start_response) if around is None else around(environ, start_response, inner)
            )

        return wsgi_app


class FirstRequest:
    """The stand-ins of one application, and of copies that are made of it meanwhile.

    Args:
        app: the application, which may be half-built.
        prepare: called with the application that serves its first request.
        owner: the owner of the application.
        entry: the stand-in in `wsgi_app`, if it has something to do before the first request.
    """

    def __init__(
        self, app: Flask, prepare: Prepare, owner: object = None, entry: WsgiEntry | None = None
    ) -> None:
        self.owner = owner
        self.entry = entry
        self._prepare = prepare
        self._prepared = AppSet()
        self._app = weakref.ref(app)
        attributes = attributes_of(app)
        self._former: Callable[..., Any] | None = attributes.get(_DISPATCH)
        self._function = attributes[_DISPATCH] = self._made_function()
        # Bound once: each look-up on the instance makes a new object, and it is compared by identity.
        self._around: Around = self._serve
        if entry is not None:
            entry.around = self._around

    def make_way(self, app: Flask) -> None:
        """Free the place for the next stand-in; requests that come meanwhile wait in `prepare`."""
        _put_back(app, _DISPATCH, self._function, self._former)

    def remove(self, app: Flask) -> None:
        """Remove the stand-in. If it has been wrapped since, it stays and passes requests through."""
        self._prepared.add(app)
        self.make_way(app)
        if self.entry is not None and self.entry.around is self._around:
            self.entry.around = None

    def has_prepared(self, app: Flask) -> bool:
        """Whether it has prepared the application; a wrapper may have kept it in place."""
        return app in self._prepared

    def _made_function(self) -> Callable[..., Any]:
        @_bound_as(Flask.full_dispatch_request)
        def full_dispatch_request(*args: Any, **kwargs: Any) -> Any:
            app = app_ctx.app
            inner = self._inner(app)
            answer = self._prepare_once(app, request.environ)
            return inner(*args, **kwargs) if answer is None else answer

        setattr(full_dispatch_request, _STAND_IN, self)
        return full_dispatch_request

    def _serve(self, environ: Environ, start_response: StartResponse, inner: Serve) -> Iterable[bytes]:
        app = self._app()
        answer = self._prepare_once(app, environ) if app is not None else None
        if answer is not None:
            return answer(environ, start_response)
        # The next owner of the entry serves this request too.
        around = self.entry.around if self.entry is not None else None
        return inner(environ, start_response) if around is None else around(environ, start_response, inner)

    def _inner(self, app: Flask) -> Callable[..., Any]:
        if self._former is not None:
            return self._former
        return getattr(type(app), _DISPATCH).__get__(app, type(app))  # type: ignore[no-any-return]  # a method

    def _prepare_once(self, app: Flask, environ: Environ) -> Response | None:
        if app in self._prepared:
            return None
        answer = self._prepare(app, environ)
        if answer is None:
            self.remove(app)
        return answer


def awaited_by(app: Flask) -> object | None:
    """The owner of the stand-in that the application has, if it has one."""
    found = _stand_in_of(app)
    return found.owner if found is not None else None


def stand_in_of(app: Flask, owner: object) -> FirstRequest | None:
    """The stand-in that belongs to `owner`."""
    found = _stand_in_of(app)
    return found if found is not None and found.owner is owner else None


def make_way(app: Flask, owner: object) -> FirstRequest | None:
    """Free the place of the stand-in that belongs to `owner`; returns the stand-in."""
    found = stand_in_of(app, owner)
    if found is not None:
        found.make_way(app)
    return found


def entry_of(stand_in: FirstRequest | None) -> WsgiEntry | None:
    """The stand-in in `wsgi_app`, if there is one."""
    return stand_in.entry if stand_in is not None else None


def _bound_as(method: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a function the name and signature of `method` of an instance."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        functools.update_wrapper(function, method)
        signature = inspect.signature(method)
        _, *parameters = signature.parameters.values()
        vars(function).pop("__wrapped__")
        vars(function)["__signature__"] = signature.replace(parameters=parameters)
        return function

    return decorate


def _stand_in_of(app: Flask) -> FirstRequest | None:
    found: FirstRequest | None = getattr(attributes_of(app).get(_DISPATCH), _STAND_IN, None)
    return found if found is not None and not found.has_prepared(app) else None


def attributes_of(app: Flask) -> dict[str, Any]:
    """The instance's own attributes, without a call of its `__getattribute__`."""
    found: dict[str, Any] = object.__getattribute__(app, "__dict__")
    return found


def match_again(environ: Environ, prefix: str) -> None:
    """Match a request to its route again: it was matched before the routes below `prefix` existed."""
    if not has_request_context() or request.environ is not environ:
        return
    if request.path.startswith(f"{prefix}/") and request_ctx.url_adapter is not None:
        request.routing_exception = None
        request_ctx.match_request()


def _put_back(app: Flask, name: str, ours: object, former: object) -> None:
    attributes = attributes_of(app)
    if attributes.get(name) is not ours:
        return
    if former is None:
        del attributes[name]
    else:
        attributes[name] = former
