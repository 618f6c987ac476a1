"""For an application's own Alembic: leave the schema `otel_ratelimit` out of what it compares.

With `include_schemas=True` Alembic's autogenerate looks at every schema of the database and proposes to drop
what the application's models do not have, these tables included. In `env.py`:

    from otel_ratelimit.postgres.alembic import include_name

    context.configure(..., include_schemas=True, include_name=include_name)

Where there is a function of that kind already: `include_name=include_name_and(mine)`.

Where `otel_ratelimit` is on the search path (`search_path`, or a role of that name) Alembic finds our tables
in the default schema, too, for which it has no name. Then the database is asked in which schema a table with
one of our names is, so that tables of the application are compared whatever they are called. Outside of an
`env.py` there is nobody to ask, and our names are left out of the default schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
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
    """Whether Alembic is to compare what bears `name`: all but the schema `otel_ratelimit` and what is in it.

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
    """Where the connection that the running `env.py` compares finds `table`; None outside of one."""
    try:
        connection = context.get_context().connection
    except Exception:  # noqa: BLE001 - Alembic raises NameError outside of env.py, Exception before `configure`
        return None
    return None if connection is None else connection.scalar(text(_SCHEMA_OF), {"table": table})


def include_name_and(other: IncludeName) -> IncludeName:
    """A hook that compares what both `include_name` and `other` do; `other` is not asked about our tables."""

    def both(name: str | None, type_: str, parent_names: Mapping[str, str | None]) -> bool:
        return include_name(name, type_, parent_names) and other(name, type_, parent_names)

    return both
