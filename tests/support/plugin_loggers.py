"""Loggers of the plugin, and the lines that it wrote."""

from __future__ import annotations

import logging
import logging.config

OURS = logging.getLogger("otel_ratelimit")
CHILD = logging.getLogger("otel_ratelimit.something")


def lines(err):
    return err.getvalue().splitlines()
