"""The analytics database: what is written there, read from there, and kept in order."""

from otel_ratelimit.postgres.analytics_writer import PostgresAnalyticsWriter
from otel_ratelimit.postgres.connection import Database

__all__ = ["Database", "PostgresAnalyticsWriter"]
