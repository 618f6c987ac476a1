# ruff: noqa: INP001  # Alembic loads it by its path; it is in no package
"""Indexes on what is looked up in the query log: a template, and a key."""

from otel_ratelimit.postgres.migration_steps import sql_step

revision = "0007_query_hashes"
down_revision = "0006_retention"
upgrade, downgrade = sql_step(__file__)
