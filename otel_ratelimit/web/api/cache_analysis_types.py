"""The types of figures in the answer of `GET /cache-analysis`."""

from __future__ import annotations

from datetime import UTC, date, datetime
from math import inf, isfinite
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from otel_ratelimit.web.api.answer_types import Count

Day: TypeAlias = date
"""`date`, for models with a field of that name."""
Moment: TypeAlias = Annotated[datetime, AfterValidator(lambda at: at.astimezone(UTC))]
"""A time in UTC; the database answers in the time zone of its own settings."""
Number: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]


def _at_most(most: float) -> BeforeValidator:
    """Clamp to 0 and `most`: sums of many parts may exceed the range by a rounding error."""

    def clamped(value: object) -> object:
        # Anything but a finite number is left as it is, and refused by the type.
        return min(max(value, 0.0), most) if isinstance(value, float) and isfinite(value) else value

    return BeforeValidator(clamped)


def _rounded(value: object) -> object:
    return max(round(value), 0) if isinstance(value, float) and isfinite(value) else value


Amount: TypeAlias = Annotated[Number, Field(ge=0.0), _at_most(inf)]
Share: TypeAlias = Annotated[Number, Field(ge=0.0, le=1.0), _at_most(1.0)]
Percentage: TypeAlias = Annotated[Number, Field(ge=0.0, le=100.0), _at_most(100.0)]
Estimate: TypeAlias = Annotated[Count, BeforeValidator(_rounded)]
"""A whole number, estimated in fractions."""
