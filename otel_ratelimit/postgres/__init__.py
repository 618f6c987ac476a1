"""The analytics database: readers, writers, maintenance and migrations."""

from otel_ratelimit.postgres.analytics_writer import PostgresAnalyticsWriter
from otel_ratelimit.postgres.connection import Database

__all__ = ["Database", "PostgresAnalyticsWriter"]
