"""An advisory lock of PostgreSQL, for work that only one process on any machine may do at a time.

The lock belongs to a transaction, which stays open on its own connection while the work is done on another.
A pooler that gives a client another connection for each transaction (PgBouncer, `pool_mode = transaction`)
keeps such a lock on its connection. A session's lock would stay on one of the pooler's connections, and
nobody would release it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from otel_ratelimit.core.errors import DatabaseError
from otel_ratelimit.postgres.connection import Database, Session
from otel_ratelimit.postgres.error_translation import first_transaction
from otel_ratelimit.postgres.sql_files import statements

_logger = logging.getLogger(__name__)


@contextmanager
def try_advisory_lock(database: Database, lock: int, patience_seconds: float) -> Iterator[bool]:
    """Try to take the lock, and hold it in the context; yields whether it was free.

    Args:
        database: the database; the work itself uses other connections than the lock.
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
        # The work is done anyway. The session must not be used again, because it may still hold the lock.
        session.close()
        _logger.warning("the connection that held the advisory lock was lost during the work: %s", error)
