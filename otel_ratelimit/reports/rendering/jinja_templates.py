"""Loads the Jinja templates: values are text and never markup, and a missing name is an error."""

from __future__ import annotations

from functools import cache
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from otel_ratelimit.reports.rendering import formatting

_PACKAGE: Final = "otel_ratelimit.reports.rendering"


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader(_PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["with_units"] = formatting.with_units
    return made


def template(name: str) -> Template:
    """One of the files in the folder `templates`.

    Args:
        name: without its ending.
    """
    return _environment().get_template(f"{name}.jinja")
