# ruff: noqa: INP001  # Alembic loads it by its path; it is in no package
"""Decisions: violations, usage, keys of hashes, batches already written."""

from otel_ratelimit.postgres.migration_steps import sql_step

revision = "0001_rate_limits"
down_revision = None
upgrade, downgrade = sql_step(__file__)
