# ruff: noqa: INP001  # Alembic loads it by its path; it is in no package
"""Queries: templates, executions by day, writes by table."""

from otel_ratelimit.postgres.migration_steps import sql_step

revision = "0002_queries"
down_revision = "0001_rate_limits"
upgrade, downgrade = sql_step(__file__)
