"""Puts limits in place even if `opentelemetry-instrument` stops halfway.

It stops when an exporter cannot be found, a configurator fails or any instrumentor raises. The application
then starts without the remaining instrumentors. So two more entry points of OpenTelemetry's loader put ours
in place before any of these; the loader asks for them in this order:

`opentelemetry_distro`          the first entry point of all, before the loader looks for exporters. The
loader
                                asks for it by name: `environment_variables` sets OTEL_PYTHON_DISTRO unless
                                that is set.
`opentelemetry_pre_instrument`  before the first instrumentor, with any distro.

Nothing here raises, because that would stop the others. But a process that must not serve without limits
(`OTEL_RATELIMIT_REQUIRED`) exits.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import Final

from opentelemetry.instrumentation.distro import BaseDistro, DefaultDistro  # type: ignore[attr-defined]  # in __all__
from opentelemetry.util._importlib_metadata import entry_points

from otel_ratelimit.core.settings import is_required

_logger = logging.getLogger(__name__)

NAME: Final = "otel_ratelimit"
"""The name of our entry points."""
_DISABLED: Final = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"


def distro() -> BaseDistro:
    """Put limits in place, and answer the distro that the loader would have taken without us."""
    pre_instrument()
    for entry_point in entry_points(group="opentelemetry_distro"):
        if entry_point.name == NAME:
            continue
        try:
            made = entry_point.load()()
        except Exception:
            _logger.exception("distribution %s could not be loaded", entry_point.name)
            raise
        if isinstance(made, BaseDistro):
            return made
    return DefaultDistro()


def pre_instrument() -> None:
    """Put limits in place, unless they are in place already or switched off."""
    try:
        # Imported late: if this fails, the instrumentors of others must still run.
        from otel_ratelimit.runtime.instrumentor import RateLimitInstrumentor

        instrumentor = RateLimitInstrumentor()
        if is_disabled(os.environ):
            if is_required(os.environ):
                instrumentor.refuse(f"contradicts {_DISABLED}, which switches otel_ratelimit off")
            return
        instrumentor.put_in_place()
    except Exception:
        # An exception that leaves this function would stop every instrumentor.
        _logger.exception("rate limits are NOT active: otel_ratelimit could not be loaded")
        if is_required(os.environ):
            sys.exit("OTEL_RATELIMIT_REQUIRED is set and rate limits are not active: the process ends")


def is_disabled(environ: Mapping[str, str]) -> bool:
    """Whether OpenTelemetry's own switch disables this package, or all."""
    names = {name.strip() for name in environ.get(_DISABLED, "").split(",")}
    return NAME in names or "*" in names
