"""The version, read by the package and by telemetry."""

from __future__ import annotations

from typing import Final

__version__: Final = "0.1.0"
