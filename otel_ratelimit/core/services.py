"""Which services are read where several record to one database: figures are never mixed silently."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from otel_ratelimit.core.errors import PicklableError
from otel_ratelimit.core.periods import Period

ALL_SERVICES: Final = "*"
"""Given in place of a name: all services together."""
UNNAMED: Final = "(without a name)"
MAX_NAMED: Final = 10
"""The most names in one sentence."""


class ServiceReader(Protocol):
    """Reads which services recorded anything; raises `DatabaseError` where that fails."""

    def services(self, period: Period | None = None) -> list[str]:
        """The services of the period, or of all time, in the order of their names."""


class QueryServiceReader(ServiceReader, Protocol):
    """Reads which services' queries are recorded; raises `DatabaseError` where that fails."""

    def without_service(self, period: Period) -> int:
        """Executions of the period that were recorded without their service."""


class UnknownServiceError(PicklableError, ValueError):
    """Nothing is recorded of a service of this name; the message names the recorded services.

    Args:
        asked: the name that was given.
        known: all services that have recorded something.
    """

    def __init__(self, asked: str, known: Sequence[str]) -> None:
        self.asked = asked
        self.known = tuple(known)
        there = f"recorded are {named(known)}" if known else "nothing is recorded of any service"
        super().__init__(f"nothing is recorded of a service {asked!r}; {there}")


class SeveralServicesWarning(UserWarning):
    """Figures of several services were added up, because no service was named."""


class QueriesWithoutServiceWarning(UserWarning):
    """The figures of one service leave out queries that were recorded without a service."""


class SeveralServicesError(PicklableError, ValueError):
    """An answer is possible for one service only, and several are recorded; the message names them.

    Args:
        services: those of the period.
        why: what only one service can have.
        how: how to name it.
    """

    def __init__(self, services: Sequence[str], why: str, how: str) -> None:
        self.services = tuple(services)
        super().__init__(f"{len(services)} services are recorded here: {named(services)}; {why}: {how}")


@dataclass(frozen=True, slots=True)
class ServicesRead:
    """The services whose figures are read."""

    service: str | None
    """The only service; None where all `services` are read together."""
    services: tuple[str, ...]
    """All services that recorded anything in the period, in the order of their names."""

    @property
    def is_mixed(self) -> bool:
        """Whether figures of several services are added up."""
        return self.service is None and len(self.services) > 1

    def sentence(self, how: str) -> str:
        """A sentence on whose figures are read; empty where nothing is recorded and no service was named.

        Args:
            how: how to narrow it, for instance `--service NAME`.
        """
        if self.is_mixed:
            return f"{len(self.services)} services together: {named(self.services)}; narrow with {how}"
        if self.service is None:
            return ""
        this = self.service or UNNAMED
        others = [name for name in self.services if name != self.service]
        if not others:
            return f"service {this}"
        return f"service {this}; others in this database: {named(others)}"


def services_read(
    reader: ServiceReader, period: Period, asked: str | None = None, own: str = ""
) -> ServicesRead:
    """The service to read: the one asked for, else the only one there is, else one's own, else all.

    Args:
        reader: reads the services of the database.
        period: only services that recorded in it count as present.
        asked: the name given, `*` for all together; None where none was given.
        own: the service that calls; empty where it has no name.

    Raises:
        DatabaseError: the services cannot be read.
        UnknownServiceError: the service asked for never recorded anything.
    """
    there = tuple(reader.services(period))
    if asked == ALL_SERVICES:
        return ServicesRead(None, there)
    if asked is not None:
        if asked not in there and asked not in (known := reader.services()):
            raise UnknownServiceError(asked, known)
        return ServicesRead(asked, there)
    if len(there) == 1:
        return ServicesRead(there[0], there)
    return ServicesRead(own if own and own in there else None, there)


@dataclass(frozen=True, slots=True)
class QueriesRead:
    """The services whose queries are read; some may have been recorded without a service."""

    service: str | None
    """The only service whose queries count; None for all queries."""
    services: tuple[str, ...]
    """All services with queries in the period, in the order of their names."""
    without_service: int = 0
    """Executions of the period that an earlier version recorded; the figures of no service contain them."""

    @property
    def is_mixed(self) -> bool:
        """Whether figures of several services are added up."""
        return self.service is None and len(self.services) > 1

    @property
    def left_out(self) -> int:
        """Executions that may belong to the service, and that its figures do not contain."""
        return 0 if self.service is None else self.without_service


OF_ALL_QUERIES: Final = QueriesRead(None, ())


def queries_read(
    reader: QueryServiceReader, period: Period, asked: str | None = None, own: str = ""
) -> QueriesRead:
    """Choose the services whose queries to read, as in `services_read`.

    Where only one service is recorded and none was asked for, all queries are read: those that were recorded
    without a service must be its own.

    Args:
        reader: reads the services of the database.
        period: only services that recorded in it count as present.
        asked: the name given, `*` for all together; None where none was given.
        own: the service that calls; empty where it has no name.

    Raises:
        DatabaseError: the services cannot be read.
        UnknownServiceError: the service asked for never recorded anything.
    """
    of = services_read(reader, period, asked, own)
    is_all = asked is None and len(of.services) <= 1
    return QueriesRead(None if is_all else of.service, of.services, reader.without_service(period))


def warnings_of(of: QueriesRead, asked: str | None) -> Iterator[Warning]:
    """The warnings that a function gives beside its answer.

    Args:
        of: whose queries it read.
        asked: the service that was named; `*` for all together.
    """
    if of.is_mixed and asked is None:
        yield SeveralServicesWarning(
            f"{len(of.services)} services together: {named(of.services)};"
            ' narrow with service=NAME, or give "*"'
        )
    if of.left_out:
        yield QueriesWithoutServiceWarning(
            f"left out because an earlier version recorded them without a service: {of.left_out:,}"
            f" {'execution' if of.left_out == 1 else 'executions'} of this time"
        )


def named(services: Iterable[str]) -> str:
    """`a, b, c`; where there are many, also how many more."""
    names = [name or UNNAMED for name in services]
    shown, more = names[:MAX_NAMED], len(names) - MAX_NAMED
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
