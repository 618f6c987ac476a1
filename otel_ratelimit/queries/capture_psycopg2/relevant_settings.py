"""Which settings of a session make a query another question: all of them, except those that are named here.

Two sessions that differ in a relevant setting have different contexts (`session_state`), so the same text is
another query in each.
"""

from __future__ import annotations

from typing import Final

WITHOUT_EFFECT: Final = frozenset(
    {
        b"application_name",
        b"client_min_messages",
        b"idle_in_transaction_session_timeout",
        b"idle_session_timeout",
        b"lock_timeout",
        b"statement_timeout",
        b"transaction_timeout",
        b"work_mem",
    }
)
"""Settings that do not change the result of a query."""
