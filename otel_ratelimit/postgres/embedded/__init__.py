"""A PostgreSQL without installation, for development, tests and the demo."""

from otel_ratelimit.postgres.embedded.server import (
    THROW_AWAY,
    EmbeddedPostgres,
    PostgresError,
    WheelMissingError,
    find_binaries,
)

__all__ = ["THROW_AWAY", "EmbeddedPostgres", "PostgresError", "WheelMissingError", "find_binaries"]
