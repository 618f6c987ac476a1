"""Tells `opentelemetry-instrument` about our variables before it starts the application.

It imports this module (entry point `opentelemetry_environment_variables`) and makes an option of each
constant whose name starts with `OTEL_`: `--ratelimit_policy` for `OTEL_RATELIMIT_POLICY`. Secrets are left
out, because other users of the machine can read a command line.

This module also selects our distro, which puts limits in place and then hands over to the usual one, unless
the operator has selected another.
"""

from __future__ import annotations

import os

from otel_ratelimit.core.settings import public_variable_names

globals().update({name: name for name in public_variable_names()})

_DISTRO = "OTEL_PYTHON_DISTRO"
if not os.environ.get(_DISTRO):  # empty means not set (OpenTelemetry's specification)
    os.environ[_DISTRO] = "otel_ratelimit"
