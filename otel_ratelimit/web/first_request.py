"""What stands in `app.full_dispatch_request` until the first request, and prepares the application for it.

`Flask.__init__` runs before the `__init__` of a subclass has finished. So nothing of the application may be
called there, and nothing may be set that its `__setattr__` or a property would see: the stand-in goes into
the instance's `__dict__`, which is all that is touched. At the first request the application is complete.
Then the stand-in steps aside, so that no later request pays for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flask import Flask, current_app, request
from flask.globals import request_ctx

from otel_ratelimit.web.app_set import AppSet

_DISPATCH: Final = "full_dispatch_request"

Prepare = Callable[[Flask], Any]
"""Prepares the application; answers a response that takes the place of the application's, or None.

Several threads may call it at once. It must not start a thread while it holds a lock: below gevent that lets
another request run, which would wait for the lock for ever.
"""


class FirstRequest:
    """The stand-in of one application, and of the copies that are made of it meanwhile.

    Args:
        app: the application, which may be half-built.
        prepare: called with the application that serves its first request.
        owner: whom the application belongs to.
    """

    def __init__(self, app: Flask, prepare: Prepare, owner: object = None) -> None:
        self.owner = owner
        self._prepare = prepare
        self._prepared = AppSet()
        attributes = _attributes(app)
        self._former = attributes.get(_DISPATCH)
        attributes[_DISPATCH] = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Serve a request: prepare the application unless that is done, then dispatch."""
        app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - werkzeug's documented way
        inner = self._inner(app)
        answer = self._prepare_once(app)
        return inner(*args, **kwargs) if answer is None else answer

    def remove(self, app: Flask) -> None:
        """Step aside. Where someone has wrapped the stand-in since, it stays and passes through."""
        self._prepared.add(app)
        attributes = _attributes(app)
        if attributes.get(_DISPATCH) is not self:
            return
        if self._former is None:
            del attributes[_DISPATCH]
        else:
            attributes[_DISPATCH] = self._former

    def _inner(self, app: Flask) -> Callable[..., Any]:
        if self._former is not None:
            return self._former  # type: ignore[no-any-return]  # what was there is a method
        return getattr(type(app), _DISPATCH).__get__(app, type(app))  # type: ignore[no-any-return]  # a method

    def _prepare_once(self, app: Flask) -> Any:
        if app in self._prepared:
            return None
        answer = self._prepare(app)
        if answer is None:
            self.remove(app)
        return answer


def awaited_by(app: Flask) -> object | None:
    """The owner of the stand-in that the application has, if it has one."""
    found = _attributes(app).get(_DISPATCH)
    return found.owner if isinstance(found, FirstRequest) else None


def step_aside(app: Flask, owner: object) -> None:
    """Remove the stand-in that belongs to `owner`."""
    found = _attributes(app).get(_DISPATCH)
    if isinstance(found, FirstRequest) and found.owner is owner:
        found.remove(app)


def _attributes(app: Flask) -> dict[str, Any]:
    """The instance's own, past every `__getattribute__`."""
    found: dict[str, Any] = object.__getattribute__(app, "__dict__")
    return found


def match_again(prefix: str) -> None:
    """Match the current request to its route again if it lies below `prefix`, whose routes are new."""
    if request.path.startswith(f"{prefix}/") and request_ctx.url_adapter is not None:
        request.routing_exception = None
        request_ctx.match_request()
