# ruff: noqa: INP001  # Alembic loads it by its path; it is in no package
"""The day that a report is of, in a time zone, and when it was mailed."""

from otel_ratelimit.postgres.migration_steps import sql_step

revision = "0005_report_days"
down_revision = "0004_query_totals"
upgrade, downgrade = sql_step(__file__)
