"""Limits that hold although `opentelemetry-instrument` gives up halfway.

It gives up for good when an exporter cannot be found, a configurator fails or any instrumentor raises. The
application then starts without the instrumentors that were still to come. So our own is put in place before
each of these, by two more entry points of OpenTelemetry's loader, in the order in which it asks for them:

`opentelemetry_distro`          the first of all, before exporters are looked for. It is asked for by name:
                                `environment_variables` sets OTEL_PYTHON_DISTRO where nobody else has.
`opentelemetry_pre_instrument`  before the first instrumentor, whichever distro there is.

Nothing here raises, since that would stop the others; but a process that must not serve without limits
(`OTEL_RATELIMIT_REQUIRED`) ends.
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

_log = logging.getLogger(__name__)

NAME: Final = "otel_ratelimit"
"""What our entry points are called."""
_DISABLED: Final = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"


def distro() -> BaseDistro:
    """Put limits in place, and answer the distro that would have been taken without us."""
    pre_instrument()
    for entry_point in entry_points(group="opentelemetry_distro"):
        if entry_point.name == NAME:
            continue
        try:
            made = entry_point.load()()
        except Exception:
            _log.exception("distribution %s could not be loaded", entry_point.name)
            raise
        if isinstance(made, BaseDistro):
            return made
    return DefaultDistro()


def pre_instrument() -> None:
    """Put limits in place; does nothing where that is done already, or switched off."""
    try:
        # Imported late: where this fails, the instrumentors of others must run all the same.
        from otel_ratelimit.runtime.instrumentor import RateLimitInstrumentor

        instrumentor = RateLimitInstrumentor()
        if is_disabled(os.environ):
            if is_required(os.environ):
                instrumentor.refuse(f"contradicts {_DISABLED}, which switches otel_ratelimit off")
            return
        instrumentor.put_in_place()
    except Exception:  # noqa: BLE001 - raising here would stop every instrumentor
        _log.exception("rate limits are NOT active: otel_ratelimit could not be loaded")
        if is_required(os.environ):
            sys.exit("OTEL_RATELIMIT_REQUIRED is set and rate limits are not active: the process ends")


def is_disabled(environ: Mapping[str, str]) -> bool:
    """Whether OpenTelemetry's own switch is off for us, or for all."""
    names = {name.strip() for name in environ.get(_DISABLED, "").split(",")}
    return NAME in names or "*" in names
