# ruff: noqa: INP001  # Alembic loads it by its path; it is in no package
"""Which service ran the queries that are recorded, and up to when each service's old ones are deleted."""

from otel_ratelimit.postgres.migration_steps import sql_step

revision = "0008_query_services"
down_revision = "0007_query_hashes"
upgrade, downgrade = sql_step(__file__)
