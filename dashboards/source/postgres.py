"""Queries of Grafana's PostgreSQL data source, for which the SDK has no type, and their statements."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from grafana_foundation_sdk.cog import builder, runtime, variants
from grafana_foundation_sdk.models.common import DataSourceRef

PLUGIN: Final = "grafana-postgresql-datasource"
_NAME: Final = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_FOLDER: Final = Path(__file__).parent / "sql"


class Format(StrEnum):
    """The form that the data source gives the rows."""

    TABLE = "table"
    TIME_SERIES = "time_series"
    """The rows have a column `time`, in order; a text column tells series apart."""


@dataclass
class PostgresQuery(variants.Dataquery):
    """A query in the form that the data source stores."""

    ref_id: str
    datasource: DataSourceRef
    raw_sql: str
    format: Format

    def to_json(self) -> dict[str, object]:
        """Written by hand, not with the query builder."""
        return {
            "refId": self.ref_id,
            "datasource": self.datasource,
            "editorMode": "code",
            "format": self.format,
            "rawQuery": True,
            "rawSql": self.raw_sql,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> PostgresQuery:
        """Read the result of `to_json`."""
        return cls(
            data["refId"], DataSourceRef.from_json(data["datasource"]), data["rawSql"], Format(data["format"])
        )


class PostgresQueryBuilder(builder.Builder[variants.Dataquery]):
    """A builder of such a query, in the form that the SDK's panels accept."""

    def __init__(self, query: PostgresQuery) -> None:
        self._query = query

    def build(self) -> variants.Dataquery:
        """The query."""
        return self._query


def register() -> None:
    """Let the SDK read such queries back."""
    runtime.register_dataquery_variant(runtime.DataqueryConfig(PLUGIN, PostgresQuery.from_json))


@lru_cache
def statement(file: str, name: str) -> str:
    """The statement of `sql/<file>.sql` that follows `-- name: <name>`, without comments.

    Raises:
        KeyError: no statement has that name.
    """
    parts = _NAME.split((_FOLDER / f"{file}.sql").read_text(encoding="utf-8"))[1:]
    body = dict(zip(parts[::2], parts[1::2], strict=True))[name]
    return "\n".join(line for line in body.splitlines() if not line.startswith("--")).strip()
