"""Cursors that report what they execute, from directly above psycopg2's own.

The class stands below every other Python class of cursors, OpenTelemetry's included: it is within the span,
sees the statement as it is sent, and is called once however many classes stand above it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

from psycopg2 import extensions

from otel_ratelimit.queries.capture_psycopg2.execution_reporter import ExecutionReporter

T = TypeVar("T")


class CapturingCursor(extensions.cursor):
    """Cursors of synchronous connections; the subclass that `capturing_cursor` makes adds `execute`."""

    __slots__ = ()
    otel_ratelimit_reporter: ClassVar[ExecutionReporter]

    def callproc(self, *args: Any, **kwargs: Any) -> Any:
        """Call a procedure, and report it."""
        with _Call(self).reported():
            return super().callproc(*args, **kwargs)

    def copy_from(self, *args: Any, **kwargs: Any) -> None:
        """Run COPY FROM, and report it."""
        with _Call(self).reported():
            super().copy_from(*args, **kwargs)

    def copy_to(self, *args: Any, **kwargs: Any) -> None:
        """Run COPY TO, and report it."""
        with _Call(self).reported():
            super().copy_to(*args, **kwargs)

    def copy_expert(self, *args: Any, **kwargs: Any) -> None:
        """Run COPY, and report it."""
        with _Call(self).reported():
            super().copy_expert(*args, **kwargs)

    def executemany(self, query: Any, vars_list: Iterable[Any]) -> None:
        """Run a statement several times, and report each execution."""
        call = _Call(self)
        try:
            super().executemany(query, call.each(query, vars_list))
        except BaseException as error:
            call.failed(query, error)
            raise


def capturing_cursor(reporter: ExecutionReporter) -> type[extensions.cursor]:
    """The class of cursors that report to `reporter`; to be the last base before psycopg2's own."""
    ours = type(
        "CapturingCursor",
        (CapturingCursor,),
        {"__slots__": (), "execute": _reported_execute(reporter), "otel_ratelimit_reporter": reporter},
    )
    return named_as(ours, extensions.cursor)


def _reported_execute(reporter: ExecutionReporter) -> Callable[..., None]:
    """`cursor.execute`. Most queries run here, so it reads local names and no attributes where it can."""
    own_execute, timer = extensions.cursor.execute, time.perf_counter_ns
    target, plain, size_of = reporter.target, reporter.plain, reporter.size_of

    def execute(self: Any, query: Any, vars: Any = None) -> None:  # noqa: A002 - psycopg2's name for it
        connection: Any = self.connection
        try:
            session = connection.otel_ratelimit_session
            status = connection.get_transaction_status()
            in_txn = (status or session.has_changes) and session.begins(status, connection.isolation_level)
        except Exception:  # noqa: BLE001 - it is the first statement, or the connection is closed
            session, in_txn = reporter.begun(connection)
        if session is None:
            own_execute(self, query, vars)
            return
        writes = plain.get(query) if type(query) is str and self.name is None else None
        ambiguous = "" if writes is not None else session.ambiguous()
        begun = timer()
        try:
            own_execute(self, query, vars)
        except BaseException as error:
            reporter.failed(self, session, query, timer() - begun, in_txn, ambiguous, error)
            raise
        took = timer() - begun
        # From here on as few steps as possible: most texts are known, and those are reported at once.
        if writes is not None:
            try:
                observer = target.observer
                if observer is not None:
                    sent: Any = self.query
                    observer.executed(query, sent, session, took, in_txn, size_of, self)
                if writes:
                    session.wrote()
            except Exception as error:  # noqa: BLE001 - the application must get its result
                reporter.internal_error(error, connection)
        else:
            reporter.ran(self, session, query, took, in_txn, ambiguous)

    return execute


def named_as(ours: type[T], psycopg2s: type) -> type[T]:
    """`ours`, under the name of psycopg2's class, which is shown when an object is printed."""
    ours.__name__, ours.__qualname__, ours.__module__ = (
        psycopg2s.__name__,
        psycopg2s.__qualname__,
        psycopg2s.__module__,
    )
    return ours


class _Call:
    """Executions other than those of `execute`, each between `begin` and `ended` or `failed`."""

    def __init__(self, cursor: CapturingCursor) -> None:
        self._cursor = cursor
        self._reporter = cursor.otel_ratelimit_reporter
        self.begin()

    def begin(self) -> None:
        self._session, self._in_txn = self._reporter.begun(self._cursor.connection)
        self._ambiguous = "" if self._session is None else self._session.ambiguous()
        self._begun = time.perf_counter_ns()

    def ended(self, query: object) -> None:
        took = time.perf_counter_ns() - self._begun
        if self._session is not None:
            self._reporter.ran(self._cursor, self._session, query, took, self._in_txn, self._ambiguous)

    def failed(self, query: object, error: BaseException) -> None:
        """It failed, or its parameters could not be made."""
        took = time.perf_counter_ns() - self._begun
        if self._session is not None:
            self._reporter.failed(
                self._cursor, self._session, query, took, self._in_txn, self._ambiguous, error
            )

    @contextmanager
    def reported(self) -> Iterator[None]:
        """One execution, for which psycopg2 makes the statement."""
        try:
            yield
        except BaseException as error:
            self.failed(None, error)
            raise
        self.ended(None)

    def each(self, query: object, vars_list: Iterable[Any]) -> Iterator[Any]:
        """The same parameters. One execution has ended when the parameters of the next are asked for."""
        for values in vars_list:
            self.begin()
            yield values
            self.ended(query)
