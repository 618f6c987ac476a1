"""Types of the answers of all endpoints.

Shares are 0 to 1, percentages 0 to 100, sizes bytes (a megabyte is 10^6 of them), times ISO 8601 in UTC.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Count: TypeAlias = Annotated[int, Field(ge=0)]
Share: TypeAlias = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds: TypeAlias = Annotated[float, BeforeValidator(lambda seconds: max(seconds, 0.0)), Field(ge=0.0)]
"""Counted from now; a store elsewhere has a clock of its own."""


class Answer(BaseModel):
    """The base of all answers; made from the core's own objects where their fields match."""

    model_config = ConfigDict(from_attributes=True, frozen=True)
