"""Hooks for an application's own Alembic that exclude the schema `otel_ratelimit` from its comparison.

With `include_schemas=True` Alembic's autogenerate compares every schema of the database and proposes to drop
tables that are not in the application's models, ours included. In `env.py`:

    from otel_ratelimit.postgres.alembic import include_name

    context.configure(..., include_schemas=True, include_name=include_name)

If you already have such a function: `include_name=include_name_and(mine)`.

If `otel_ratelimit` is on the search path (`search_path`, or a role of that name), Alembic also finds our
tables in the default schema, for which it has no name. Then the database is asked for the schema of a table
with one of our names, so that tables of the application are compared whatever their names. Outside of an
`env.py` there is no database to ask, and our names are left out of the default schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeAlias

from alembic import context
from sqlalchemy import text

IncludeName: TypeAlias = Callable[[str | None, Any, Any], bool]
"""Alembic's hook: a name, its kind (`schema`, `table`, ...), the names above it; whether it is compared."""

SCHEMA: Final = "otel_ratelimit"
TABLES: Final = frozenset(
    {
        "alert_acknowledgements",
        "cache_analysis_daily",
        "cache_analysis_latest",
        "hash_keys",
        "ingested_batches",
        "maintenance_state",
        "query_logs",
        "query_logs_default",
        "query_repeats",
        "query_templates",
        "query_totals",
        "rate_limit_analytics",
        "rate_limit_usage",
        "schema_version",
        "service_retention",
        "table_writes",
    }
)
"""Ours, views included; the partitions of `query_logs` have a day in their names."""
_SCHEMA_OF: Final = "SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass(:table)"
_PARTITION: Final = re.compile(r"query_logs_\d{8}")


def include_name(name: str | None, type_: str, parent_names: Mapping[str, str | None]) -> bool:
    """Whether Alembic compares the object `name`: everything except the schema `otel_ratelimit`.

    Args:
        name: of the object; None for the default schema.
        type_: `schema`, `table`, `column`, `index`, `unique_constraint` or `foreign_key_constraint`.
        parent_names: by `schema_name`, `table_name`, `schema_qualified_table_name`.
    """
    schema = name if type_ == "schema" else parent_names.get("schema_name")
    if schema is not None or type_ == "schema":
        return schema != SCHEMA
    table = name if type_ in {"table", "view"} else parent_names.get("table_name")
    return not (_is_ours(table) and _schema_of(table) in {SCHEMA, None})


def _is_ours(table: str | None) -> bool:
    return table is not None and (table in TABLES or _PARTITION.fullmatch(table) is not None)


def _schema_of(table: str | None) -> str | None:
    """The schema of `table` for the connection of the running `env.py`; None outside of an `env.py`."""
    connection = None
    # Alembic raises NameError outside of env.py, and a bare Exception before `configure`.
    with suppress(Exception):
        connection = context.get_context().connection
    return None if connection is None else connection.scalar(text(_SCHEMA_OF), {"table": table})


def include_name_and(other: IncludeName) -> IncludeName:
    """A hook that combines `include_name` and `other`, which is not called for our tables."""

    def both(name: str | None, type_: str, parent_names: Mapping[str, str | None]) -> bool:
        return include_name(name, type_, parent_names) and other(name, type_, parent_names)

    return both
