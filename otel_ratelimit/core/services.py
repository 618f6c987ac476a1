"""Which services are read, where several write to one database: never more than one without saying so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from otel_ratelimit.core.periods import Period

ALL_SERVICES: Final = "*"
"""In place of a name: all of them together, on purpose."""
UNNAMED: Final = "(without a name)"
MAX_NAMED: Final = 10
"""So many names stand in one sentence."""


class ServiceReader(Protocol):
    """Who recorded anything; raises `DatabaseError` where that cannot be read."""

    def services(self, period: Period | None = None) -> list[str]:
        """By name, those of the period, or of all time."""


class QueryServiceReader(ServiceReader, Protocol):
    """Whose queries are recorded; raises `DatabaseError` where that cannot be read."""

    def without_service(self, period: Period) -> int:
        """Executions of the period that were recorded without their service."""


class UnknownServiceError(ValueError):
    """Nothing is recorded of a service of this name; the message names those that there are.

    Args:
        asked: the name that was given.
        known: all services of which something is recorded.
    """

    def __init__(self, asked: str, known: Sequence[str]) -> None:
        self.asked = asked
        self.known = tuple(known)
        there = f"recorded are {named(known)}" if known else "nothing is recorded of any service"
        super().__init__(f"nothing is recorded of a service {asked!r}; {there}")


class SeveralServicesWarning(UserWarning):
    """Figures of several services were added up, since none of them was named."""


class QueriesWithoutServiceWarning(UserWarning):
    """Figures are of one service, and there are queries that were recorded without theirs."""


class SeveralServicesError(ValueError):
    """An answer can be of one service only, and there are several; the message names them.

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
    """What the figures are of."""

    service: str | None
    """The only one; None where they are of all `services` together."""
    services: tuple[str, ...]
    """All that recorded anything in the period, by name."""

    @property
    def is_mixed(self) -> bool:
        """Whether figures of several services are added up."""
        return self.service is None and len(self.services) > 1

    def sentence(self, how: str) -> str:
        """Who is read, in words; empty where nothing is recorded and no service was named.

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
        reader: of the database.
        period: in which services count as being there.
        asked: the name given, `*` for all together; None where none was given.
        own: the service that runs here; empty where it has no name.

    Raises:
        DatabaseError: the services cannot be read.
        UnknownServiceError: nothing was ever recorded of the one asked for.
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
    """Whose queries are read, where some may have been recorded without their service."""

    service: str | None
    """The only one whose queries count; None for all queries."""
    services: tuple[str, ...]
    """All whose queries are recorded in the period, by name."""
    without_service: int = 0
    """Executions of the period that an earlier version recorded; no service's figures have them."""

    @property
    def is_mixed(self) -> bool:
        """Whether figures of several services are added up."""
        return self.service is None and len(self.services) > 1

    @property
    def left_out(self) -> int:
        """Executions that may be the service's, and that no figure has."""
        return 0 if self.service is None else self.without_service


OF_ALL_QUERIES: Final = QueriesRead(None, ())


def queries_read(
    reader: QueryServiceReader, period: Period, asked: str | None = None, own: str = ""
) -> QueriesRead:
    """Whose queries to read, chosen as `services_read` does.

    Where only one service is recorded and none was asked for, all queries are read: those that were recorded
    without a service can be nobody else's.

    Args:
        reader: of the database.
        period: in which services count as being there.
        asked: the name given, `*` for all together; None where none was given.
        own: the service that runs here; empty where it has no name.

    Raises:
        DatabaseError: the services cannot be read.
        UnknownServiceError: nothing was ever recorded of the one asked for.
    """
    of = services_read(reader, period, asked, own)
    is_all = asked is None and len(of.services) <= 1
    return QueriesRead(None if is_all else of.service, of.services, reader.without_service(period))


def warnings_of(of: QueriesRead, asked: str | None) -> Iterator[Warning]:
    """What a function that answers has to say beside it.

    Args:
        of: what it read.
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
    """`a, b, c`, and how many more where they are many."""
    names = [name or UNNAMED for name in services]
    shown, more = names[:MAX_NAMED], len(names) - MAX_NAMED
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
