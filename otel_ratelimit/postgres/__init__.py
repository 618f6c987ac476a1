"""The analytics database: what is written there, read from there, and kept in order."""

from otel_ratelimit.postgres.batch_writer import PostgresBatchWriter
from otel_ratelimit.postgres.connection import Database

__all__ = ["Database", "PostgresBatchWriter"]
