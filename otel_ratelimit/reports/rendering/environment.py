"""The templates: whatever they are given is text and never markup, and a name that is missing is an error."""

from __future__ import annotations

from functools import cache
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from otel_ratelimit.reports.rendering import figures

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
    made.filters["with_units"] = figures.with_units
    return made


def template(name: str) -> Template:
    """One of the files in `templates`.

    Args:
        name: without its ending.
    """
    return _environment().get_template(f"{name}.jinja")
