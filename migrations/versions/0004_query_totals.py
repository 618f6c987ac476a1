# ruff: noqa: INP001  # Alembic loads it by its path; it is in no package
"""Exact totals of queries by template, and requests that ran one again and again."""

from otel_ratelimit.postgres.migration_steps import sql_step

revision = "0004_query_totals"
down_revision = "0003_reports"
upgrade, downgrade = sql_step(__file__)
