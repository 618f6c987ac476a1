"""The logger for what is in force at the start, whichever module writes the line."""

from __future__ import annotations

import logging
from typing import Final

START: Final = logging.getLogger("otel_ratelimit.start")
"""A name that operators filter by: see docs/reference/logs.md."""
