"""The TTLs that the analysis tries."""

from __future__ import annotations

from typing import Final

TTL_SECONDS: Final = (
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1_800,
    3_600,
    7_200,
    14_400,
    28_800,
    86_400,
)
"""About evenly spaced on a logarithmic scale, in numbers that people use."""
