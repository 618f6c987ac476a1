"""The zero-code entry point: every Flask application that the process makes is given its limits.

Nothing is read or started before the first application is made, because every Python process
below `opentelemetry-instrument` comes through here. `_instrument` never raises: that would stop
the instrumentors after it. A policy that cannot be used stops the application instead, when it is
made: without its limits it must not serve.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from flask.app import Flask
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]  # in __all__
from opentelemetry.instrumentation.utils import unwrap
from wrapt import wrap_function_wrapper

from otel_ratelimit.settings import settings_from

if TYPE_CHECKING:
    from otel_ratelimit.wiring import RateLimit

_log = logging.getLogger(__name__)


class RateLimitInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # mypy cannot see it
    """Entry point `otel_ratelimit` in group `opentelemetry_instrumentor`."""

    _rate_limit: RateLimit | None = None
    _wrapped = False
    _has_prepared = False

    def instrumentation_dependencies(self) -> Collection[str]:
        """What must be installed for this to make sense."""
        return ("flask >= 3.0",)

    def _instrument(self, **kwargs: Any) -> None:
        try:
            settings = settings_from(os.environ)
            if not settings.enabled:
                _log.info("switched off by OTEL_RATELIMIT_ENABLED")
                return
            if settings.database_url:
                self._prepare_queries()
        except Exception as error:  # noqa: BLE001 - reported again, and refused, when an app is made
            _log.error("%s", error)
        try:
            self._options = kwargs
            wrap_function_wrapper("flask.app", "Flask.__init__", self._after_init)
            self._wrapped = True
        except Exception:  # noqa: BLE001 - raising here would stop the instrumentors after this one
            _log.exception("rate limits are NOT active: Flask could not be instrumented")

    def _prepare_queries(self) -> None:
        """Before the application opens connections, which it may do before it makes its Flask."""
        from otel_ratelimit.capture import prepare  # noqa: PLC0415 - most processes have no use for psycopg2

        self._has_prepared = prepare() is not None

    def _uninstrument(self, **_kwargs: Any) -> None:
        if self._wrapped:
            unwrap(Flask, "__init__")
            self._wrapped = False
        if self._rate_limit is not None:
            self._rate_limit.close()
            self._rate_limit = None
        if self._has_prepared:
            from otel_ratelimit.capture import remove  # noqa: PLC0415 - as above

            remove()
            self._has_prepared = False

    def _after_init(
        self, init: Callable[..., None], app: Flask, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        init(*args, **kwargs)
        if self._rate_limit is None or self._rate_limit.closed:
            # Imported late: most processes below `opentelemetry-instrument` make no application.
            from otel_ratelimit.wiring import RateLimit  # noqa: PLC0415 - see above

            self._rate_limit = RateLimit(meter_provider=self._options.get("meter_provider"))
        self._rate_limit.await_app(app)
