"""The zero-code entry point: gives every Flask application that the process makes its limits.

Nothing is read or started before the first application is made, because every Python process under
`opentelemetry-instrument` imports this module. Nothing raises on the way, because that would stop the other
instrumentors. A policy that cannot be used stops the application when it is made: it must not serve without
its limits.

`runtime.auto_instrumentation` puts this in place early, because OpenTelemetry's loader may stop before its
turn.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from flask.app import Flask
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]  # in __all__
from opentelemetry.instrumentation.utils import unwrap
from opentelemetry.metrics import MeterProvider
from wrapt import wrap_function_wrapper

from otel_ratelimit.core.errors import ConfigurationError, Problem, SettingsError
from otel_ratelimit.core.settings import is_required, settings_from

if TYPE_CHECKING:
    from otel_ratelimit.queries.capture_psycopg2 import Capture
    from otel_ratelimit.runtime.rate_limit import RateLimit

_logger = logging.getLogger(__name__)


class RateLimitInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # mypy cannot see it
    """Entry point `otel_ratelimit` in group `opentelemetry_instrumentor`."""

    _rate_limit: RateLimit | None = None
    _meter_provider: MeterProvider | None = None
    _wrapped = False
    _process: int | None = None
    _capture: Capture | None = None
    _refusal = ""
    _has_finished = False
    _said_unfinished = False
    _said_cannot = ""

    def instrumentation_dependencies(self) -> Collection[str]:
        """The packages that this instruments."""
        return ("flask >= 3.0",)

    def put_in_place(self) -> None:
        """Do what `instrument` does, early and without counting as instrumented; never raises."""
        if self._wrapped:
            return
        try:
            conflict = self._check_dependency_conflicts()
            if conflict is not None:
                self._cannot(f"otel_ratelimit needs {conflict.required}, and {conflict.found} is installed")
                return
            settings = settings_from(os.environ)
            if not settings.enabled:
                _logger.info("switched off by OTEL_RATELIMIT_ENABLED")
                return
            if settings.database_url:
                self._prepare_queries()
        except ConfigurationError:
            pass  # raised again when an application is made, which stops the application
        except Exception:
            # The application must not fail because of it.
            _logger.exception("queries may not be recorded; rate limits are put in place")
        try:
            self._wrap()
        except Exception as error:
            _logger.exception("Flask could not be instrumented")
            self._cannot(repr(error))

    def refuse(self, why: str) -> None:
        """Let no application be made in this process."""
        self._refusal = why
        self._wrap()

    def _instrument(self, **kwargs: Any) -> None:
        self._meter_provider = kwargs.get("meter_provider")
        self._has_finished = True
        self.put_in_place()

    def _wrap(self) -> None:
        if not self._wrapped:
            wrap_function_wrapper("flask.app", "Flask.__init__", self._after_init)
            self._wrapped = True
            self._process = os.getpid()

    def _cannot(self, why: str) -> None:
        if why != self._said_cannot:
            self._said_cannot = why
            _logger.error("rate limits are NOT active: %s", why)
        if is_required(os.environ):
            # Not an Exception: OpenTelemetry's loader would continue, and the application would serve.
            sys.exit("OTEL_RATELIMIT_REQUIRED is set and rate limits are not active: the process ends")

    def _prepare_queries(self) -> None:
        """Capture queries early: the application may open connections before it makes its Flask."""
        from otel_ratelimit.queries.capture_psycopg2 import capture

        self._capture = capture()

    def _uninstrument(self, **_kwargs: Any) -> None:
        if self._wrapped:
            unwrap(Flask, "__init__")
            self._wrapped = False
        self._refusal = ""
        self._has_finished = False
        if self._rate_limit is not None:
            self._rate_limit.close()
            self._rate_limit = None
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _after_init(
        self, init: Callable[..., None], app: Flask, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if self._refusal:
            raise SettingsError([Problem("OTEL_RATELIMIT_REQUIRED", self._refusal)])
        init(*args, **kwargs)
        self._say_if_unfinished()
        if self._rate_limit is None or self._rate_limit.closed:
            # Imported late: most processes under `opentelemetry-instrument` make no application.
            from otel_ratelimit.runtime.rate_limit import RateLimit

            self._rate_limit = RateLimit(meter_provider=self._meter_provider)
        self._rate_limit.await_app(app, exporters_in=self._process)

    def _say_if_unfinished(self) -> None:
        if not self._has_finished and not self._said_unfinished:
            self._said_unfinished = True
            _logger.error(
                "OpenTelemetry's auto-instrumentation failed, and its own message says why: rate limits are"
                " active all the same, but metrics and traces may be missing"
            )
