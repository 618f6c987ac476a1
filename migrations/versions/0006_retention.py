# ruff: noqa: INP001  # Alembic loads it by its path; it is in no package
"""How long the rows of each service are kept, and how deletion stands."""

from otel_ratelimit.postgres.migration_steps import sql_step

revision = "0006_retention"
down_revision = "0005_report_days"
upgrade, downgrade = sql_step(__file__)
