"""Where our hooks stand among the application's, and how they are taken away again.

They are put in place at the first request, when all the others are known: the check right after
OpenTelemetry's hook has opened the span and before anything of the application's; the headers
after everything else. Until then the application only carries a stand-in, which removes itself, so
that no later request pays for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from flask import Flask, got_request_exception

from otel_ratelimit.errors import StorageUnavailableError
from otel_ratelimit.web.extension import RequestHooks
from otel_ratelimit.web.first_request import FirstRequest


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
        self._stand_in = FirstRequest(app, lambda _app: self.place(), owner=self)

    def remove(self) -> None:
        """Leave the application as it was before."""
        self._removed = True
        app = self._app
        self._stand_in.remove(app)
        if not self._placed:
            return
        app.before_request_funcs[None].remove(self._before)
        app.after_request_funcs[None].remove(self._after)
        got_request_exception.disconnect(self._failed, app)
        app.error_handler_spec[None][None].pop(StorageUnavailableError, None)
        self._placed = False

    def place(self) -> None:
        """Put the hooks in place, once; what else a first request needs is done as well."""
        with self._lock:
            if self._placed or self._removed:
                return
            self._place()
        self._stand_in.remove(self._app)
        # Starting a thread waits for it: that must not happen with the lock held.
        self._on_first_request()

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
