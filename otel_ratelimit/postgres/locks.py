"""Work that one process does at a time, whatever machine it runs on: PostgreSQL's advisory locks.

The lock belongs to the connection. Behind a pooler it must be one that gives a client a connection of its own
(PgBouncer: `pool_mode = session`); elsewhere two processes may do the same work, which is idempotent.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from otel_ratelimit.errors import DatabaseError
from otel_ratelimit.postgres.connection import Session
from otel_ratelimit.postgres.statements import statements

_log = logging.getLogger(__name__)


@contextmanager
def alone(session: Session, lock: int, patience_seconds: float) -> Iterator[bool]:
    """Whether no other process is at it; the lock is held meanwhile, and goes with a session that fails.

    Args:
        session: that holds it.
        lock: its key, one for each kind of work.
        patience_seconds: how long to wait for the server's answer; not for the lock.
    """
    named = statements("locks")
    with session.transaction(patience_seconds) as transaction:
        (is_alone,) = transaction.run(named["try_lock"], {"lock": lock}).rows[0]
    yield is_alone
    if not is_alone:
        return
    try:
        with session.transaction(patience_seconds) as transaction:
            transaction.run(named["unlock"], {"lock": lock})
    except DatabaseError as error:
        # The work is done all the same. The lock goes with the session, which must not be used again with it.
        session.close()
        _log.warning("the connection that held a lock broke while the work was done: %s", error)
