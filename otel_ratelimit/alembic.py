"""For an application's own Alembic: leave the schema `otel_ratelimit` out of what it compares.

With `include_schemas=True` Alembic's autogenerate looks at every schema of the database and proposes to drop
what the application's models do not have, these tables included. In `env.py`:

    from otel_ratelimit.alembic import include_name

    context.configure(..., include_schemas=True, include_name=include_name)

Where there is a function of that kind already: `include_name=include_name_and(mine)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

IncludeName: TypeAlias = Callable[[str | None, Any, Any], bool]
"""Alembic's hook: a name, its kind (`schema`, `table`, ...), the names above it; whether it is compared."""

SCHEMA: Final = "otel_ratelimit"


def include_name(name: str | None, type_: str, parent_names: Mapping[str, str | None]) -> bool:
    """Whether Alembic is to compare what bears `name`: all but the schema `otel_ratelimit` and what is in it.

    Args:
        name: of the object; None for the default schema.
        type_: `schema`, `table`, `column`, `index`, `unique_constraint` or `foreign_key_constraint`.
        parent_names: by `schema_name`, `table_name`, `schema_qualified_table_name`.
    """
    schema = name if type_ == "schema" else parent_names.get("schema_name")
    return schema != SCHEMA


def include_name_and(other: IncludeName) -> IncludeName:
    """A hook that compares what both `include_name` and `other` do; `other` is not asked about our tables."""

    def both(name: str | None, type_: str, parent_names: Mapping[str, str | None]) -> bool:
        return include_name(name, type_, parent_names) and other(name, type_, parent_names)

    return both
