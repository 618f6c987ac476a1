"""`--date DAY` of the report commands."""

from __future__ import annotations

from datetime import date
from typing import Any

import click


class DayParameter(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions only
    """A day as `2026-01-31`."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """The day; a usage error for anything else."""
        try:
            return value if isinstance(value, date) else date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day; write for instance 2026-01-31", param, ctx)


DAY = DayParameter()
