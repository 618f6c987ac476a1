"""Where our hooks stand among the application's, and how they are taken away again.

They are put in place at the first request, when all the others are known: the check right after
OpenTelemetry's hook has opened the span and before anything of the application's; the headers
after everything else. Until then the application only carries a shim, which removes itself, so
that no later request pays for it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from flask import Flask, got_request_exception

from otel_ratelimit.errors import StorageUnavailableError
from otel_ratelimit.web.extension import RequestHooks

_DISPATCH = "full_dispatch_request"


class AttachedHooks:
    """The hooks of one application, from attachment to removal."""

    def __init__(
        self,
        app: Flask,
        hooks: RequestHooks,
        on_first_request: Callable[[], None],
    ) -> None:
        self._app = app
        self.hooks = hooks
        self._on_first_request = on_first_request
        self._lock = threading.Lock()
        self._placed = False
        self._removed = False
        # Bound once: each look-up on the instance makes a new object, and removal goes by identity.
        self._before = hooks.before_request
        self._after = hooks.after_request
        self._failed = hooks.got_request_exception
        self._shim = self._make_shim()
        setattr(app, _DISPATCH, self._shim)

    def remove(self) -> None:
        """Leave the application as it was before."""
        self._removed = True
        self._drop_shim()
        if not self._placed:
            return
        app = self._app
        app.before_request_funcs[None].remove(self._before)
        app.after_request_funcs[None].remove(self._after)
        got_request_exception.disconnect(self._failed, app)
        app.error_handler_spec[None][None].pop(StorageUnavailableError, None)
        self._placed = False

    def _make_shim(self) -> Callable[..., Any]:
        app = self._app
        inner = getattr(app, _DISPATCH)

        @functools.wraps(inner)
        def dispatch(*args: Any, **kwargs: Any) -> Any:
            if not self._placed and not self._removed:
                with self._lock:
                    if not self._placed:
                        self._place()
                        self._drop_shim()
                        self._on_first_request()
            return inner(*args, **kwargs)

        return dispatch

    def _place(self) -> None:
        app = self._app
        before = app.before_request_funcs.setdefault(None, [])
        # Set by OpenTelemetry's Flask instrumentation; without it there is no span to wait for.
        opens_span = getattr(app, "_before_request", None)
        before.insert(before.index(opens_span) + 1 if opens_span in before else 0, self._before)
        app.after_request_funcs.setdefault(None, []).insert(0, self._after)
        got_request_exception.connect(self._failed, app)
        app.error_handler_spec[None][None][StorageUnavailableError] = self.hooks.storage_failed
        self._placed = True

    def _drop_shim(self) -> None:
        # Someone may have wrapped it since: then it stays, and passes through.
        if self._app.__dict__.get(_DISPATCH) is self._shim:
            delattr(self._app, _DISPATCH)
