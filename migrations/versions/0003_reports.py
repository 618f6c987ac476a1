# ruff: noqa: INP001  # Alembic loads it by its path; it is in no package
"""Conclusions: the daily cache analysis and acknowledged alerts."""

from otel_ratelimit.postgres.migration_steps import sql_step

revision = "0003_reports"
down_revision = "0002_queries"
upgrade, downgrade = sql_step(__file__)
