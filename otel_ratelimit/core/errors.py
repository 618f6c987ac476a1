"""The errors this package raises on purpose.

    RateLimitError
    ├── ConfigurationError     something the operator wrote is wrong
    │   ├── PolicyError        ... in the policy file or model
    │   └── SettingsError      ... in the environment or in arguments
    ├── StorageUnavailableError  the counter store did not answer
    ├── StorageNotMeasuredError  the counter store does not say how full it is
    ├── DatabaseError          the analytics database cannot be used now
    │   ├── DatabaseUnreachableError ... because there is no connection to it
    │   ├── DatabaseTimeoutError ... because a statement took too long
    │   ├── NoTimeLeftError    ... because the caller's deadline is over
    │   ├── DatabaseBusyError  ... because another process holds a table
    │   ├── DataRejectedError  ... for these values, which it always rejects
    │   ├── PartWrittenError   ... for the part of a batch whose tables were dropped
    │   └── SchemaMissingError ... because `otel-ratelimit db upgrade` has not been run on it
    ├── MailError              the mail server did not take a message
    └── RemediableError        a program could not be started; says what to do about it

A configuration error carries every problem found, not the first only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where it is, what is wrong, what would be right."""

    where: str
    """File and line and key (`ratelimit.toml:12: routes[0].limits`), or a variable's name."""
    what: str
    """The mistake, with the offending value."""
    instead: str = ""
    """The correction; empty when `what` says it already."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f"; {self.instead}" if self.instead else "")


class PicklableError(Exception):
    """Arrives in another process as it was, whatever its `__init__` takes (`concurrent.futures`, Celery)."""

    def __reduce__(self) -> tuple[Callable[..., Exception], tuple[Any, ...]]:
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[Exception], args: tuple[Any, ...], attributes: dict[str, Any]) -> Exception:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class RateLimitError(PicklableError):
    """Base of every error of this package."""


class ConfigurationError(RateLimitError):
    """The configuration cannot be used; `problems` holds every problem found."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


class PolicyError(ConfigurationError):
    """The policy file is not valid."""


class SettingsError(ConfigurationError):
    """An `OTEL_RATELIMIT_*` variable, or the argument of the same meaning, is not valid."""


class StorageUnavailableError(RateLimitError):
    """The counter store failed or did not answer in time; `error_type` is safe as a metric attribute."""

    def __init__(self, error_type: str) -> None:
        self.error_type = error_type
        super().__init__(f"counter storage unavailable ({error_type})")


class StorageNotMeasuredError(RateLimitError):
    """The counters are in a remote store, and this process cannot know how full that is.

    Args:
        name: the store's scheme.
    """

    def __init__(self, name: str) -> None:
        super().__init__(
            f"counters are in {name}, which does not say how much memory they take;"
            " a Redis or Valkey server answers INFO memory and DBSIZE"
        )


class DatabaseError(RateLimitError):
    """The analytics database cannot be used now; trying again may help."""


class DatabaseUnreachableError(DatabaseError):
    """There is no connection, so nothing was done."""


class DatabaseTimeoutError(DatabaseError):
    """A statement took too long; it is not known whether it took effect. A smaller one may succeed."""


class NoTimeLeftError(DatabaseError):
    """The caller's deadline was over before the statement was sent, so nothing was done."""


class DatabaseBusyError(DatabaseError):
    """Another process holds a table; nothing was done."""


class DataRejectedError(DatabaseError):
    """The database rejected the values, and would reject them again; nothing was done."""


class PartWrittenError(DatabaseError):
    """A batch was written without the rows of `tables`, which were dropped; those rows are lost."""

    def __init__(self, tables: frozenset[str]) -> None:
        self.tables = tables
        super().__init__(f"these tables were dropped: {', '.join(sorted(tables))}")


class SchemaMissingError(DatabaseError):
    """The database is missing tables that this version needs: `otel-ratelimit db upgrade` makes them."""


class MailError(RateLimitError):
    """A mail server did not take a message, as far as is known: its answer may have been lost.

    Args:
        server: host and port.
        step: what was being done.
        said: what the server, or the system, said to that; holds no password.
        remedy: what would help; empty where that is not known.
        may_pass: whether the same may go well later.
        attempts: how often it was tried.
    """

    def __init__(
        self, *, server: str, step: str, said: str, remedy: str, may_pass: bool, attempts: int
    ) -> None:
        self.server = server
        self.step = step
        self.said = said
        self.remedy = remedy
        self.may_pass = may_pass
        self.attempts = attempts
        tried = f" (tried {attempts} times)" if attempts > 1 else ""
        super().__init__(f"mail server {server}, {step}: {said}{tried}" + (f"; {remedy}" if remedy else ""))


class RemediableError(RateLimitError):
    """Something could not be started; the message says what to do about it.

    Args:
        what: what went wrong.
        remedy: what to do about it.
        exit_status: of a command that ends with it: 1 when something failed, 2 when it was called wrongly.
    """

    FAILED = 1
    WRONG_USE = 2

    def __init__(self, what: str, remedy: str, *, exit_status: int = FAILED) -> None:
        self.what = what
        self.remedy = remedy
        self.exit_status = exit_status
        super().__init__(f"{what}\nWhat to do: {remedy}")
