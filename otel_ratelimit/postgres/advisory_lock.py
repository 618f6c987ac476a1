"""Work that one process does at a time, whatever machine it runs on: PostgreSQL's advisory locks.

The lock belongs to a transaction, which stays open on a connection of its own while the work is done on
another. A pooler that gives a client another connection with each transaction (PgBouncer, `pool_mode =
transaction`) keeps such a lock where it was taken. A session's lock would be left behind on one of the
pooler's connections, and nobody would give it back.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from otel_ratelimit.core.errors import DatabaseError
from otel_ratelimit.postgres.connection import Database, Session
from otel_ratelimit.postgres.error_translation import first_transaction
from otel_ratelimit.postgres.sql_files import statements

_log = logging.getLogger(__name__)


@contextmanager
def try_advisory_lock(database: Database, lock: int, patience_seconds: float) -> Iterator[bool]:
    """Whether no other process is at it; the lock is held meanwhile, and goes with its connection.

    Args:
        database: where; its connections for the work itself are others than that of the lock.
        lock: its key, one for each kind of work.
        patience_seconds: how long to wait for the server's answer; not for the lock.
    """
    with database.session() as session:
        is_locked = _taken(session, lock, patience_seconds)
        if is_locked:
            yield True
            _give_back(session, patience_seconds)
    if not is_locked:
        yield False


def _taken(session: Session, lock: int, patience_seconds: float) -> bool:
    named = statements("advisory_lock")
    deadline = session.deadline(patience_seconds)
    with first_transaction():
        session.run(named["begin"], deadline=deadline)
        session.run(named["no_transaction_timeout"], deadline=deadline)
    [(is_taken,)] = session.run(named["try_lock"], {"lock": lock}, deadline=deadline).rows
    if not is_taken:
        session.run("ROLLBACK", deadline=deadline)
    return bool(is_taken)


def _give_back(session: Session, patience_seconds: float) -> None:
    try:
        session.run("COMMIT", deadline=session.deadline(patience_seconds))
    except DatabaseError as error:
        # The work is done all the same. The lock goes with the session, which must not be used again with it.
        session.close()
        _log.warning("the connection that held a lock broke while the work was done: %s", error)
