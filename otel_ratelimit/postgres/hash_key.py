"""The key in the database with which all processes hash addresses and queries."""

from __future__ import annotations

import secrets
from typing import Final

from otel_ratelimit.core.errors import DatabaseError
from otel_ratelimit.postgres.connection import Database
from otel_ratelimit.postgres.sql_files import statements

SECRET_BYTES: Final = 32


def shared_secret(database: Database) -> bytes:
    """The key; created if there is none yet.

    Raises:
        DatabaseError: the database cannot be used, or does not keep the key.
    """
    named = statements("analytics_writer")
    found = database.rows(named["hash_key"])
    if not found:
        database.rows(named["make_hash_key"], {"secret": secrets.token_bytes(SECRET_BYTES)})
        found = database.rows(named["hash_key"])
    if not found:
        raise DatabaseError("the table otel_ratelimit.hash_keys is empty although a key was inserted")
    return bytes(found[0][0])
