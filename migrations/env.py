# ruff: noqa: INP001  # Alembic loads it by its path; it is in no package
"""What Alembic runs around the steps; connection and options come from `otel_ratelimit.postgres.migrate`."""

from alembic import context

context.configure(**context.config.attributes["otel_ratelimit"])
with context.begin_transaction():
    context.run_migrations()
