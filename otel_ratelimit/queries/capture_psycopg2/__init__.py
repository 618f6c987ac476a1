"""Captures the application's queries, as psycopg2 runs them.

This is the one part that depends on a driver: it reports executions to a `QueryObserver`, as the capture of
another driver would.

patch                   puts the capture into psycopg2
connections, cursors    classes that stand between psycopg2's own and the application's
async_cursors           the same for connections whose queries end when they are polled
class_below             how such a class gets below any other
execution_reporter      from a call of a cursor to an execution
sent_text               the text of a statement
session_state           the state of a session that a query's result depends on
statement_effects       how statements change that state, by their text
set_statements          the same for settings
relevant_settings       which settings make a query another question
result_size             rows and bytes of a result
capture_target          where executions go
"""

from __future__ import annotations

from otel_ratelimit.queries.capture_psycopg2.capture_target import CaptureTarget
from otel_ratelimit.queries.capture_psycopg2.patch import Capture, capture, prepare, remove

__all__ = ["Capture", "CaptureTarget", "capture", "prepare", "remove"]
