"""`[report]`: who gets the nightly report and when, with strict checks of addresses, time zone and time.

An address is written into the SMTP envelope and into headers, so it must be one address and nothing else.
"""

from __future__ import annotations

import difflib
import re
import zoneinfo
from datetime import UTC, time, tzinfo
from email.errors import MessageError
from email.headerregistry import Address
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, StrictStr, field_validator

from otel_ratelimit.policy import defaults
from otel_ratelimit.policy.invalid_value import InvalidValueError, shown
from otel_ratelimit.policy.toml_table import TomlTable

_ADDRESS_EXAMPLE: Final = 'write the address alone, for instance "team@example.com"'
_VISIBLE: Final = re.compile(r"[!-~]+")
_MAX_CHARACTERS: Final = 254
"""The longest address that fits into an SMTP path with its brackets (RFC 5321, section 4.5.3.1.3)."""
_MAX_CHARACTERS_BEFORE_AT: Final = 64
_ZONE_EXAMPLE: Final = 'write for instance "Europe/Berlin", or "UTC"'
_NO_ZONES: Final = (
    "this system has no time zone database: install the package tzdata, of the system or from PyPI,"
    ' or write "UTC"'
)
_NOT_OF_IANA: Final = ("posix/", "right/", "posixrules", "localtime")
"""Other files in the zone folders of some systems: other ways to count seconds, and the system's own zone."""
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def parse_mail_address(text: str) -> str:
    """`text` if it is an e-mail address (RFC 5322, `addr-spec`) of visible ASCII characters.

    Raises:
        InvalidValueError: `text` is not such an address.
    """
    if not _VISIBLE.fullmatch(text):
        what = f"{shown(text)} has a character that not every mail server accepts in an address"
        raise InvalidValueError(
            what, "use ASCII without spaces and line breaks; a domain's xn-- form where it has one"
        )
    try:
        address = Address(addr_spec=text)
    except (MessageError, ValueError, IndexError) as error:  # IndexError: nothing after the @
        raise InvalidValueError(f"{shown(text)} is not an e-mail address", _ADDRESS_EXAMPLE) from error
    if address.addr_spec != text or not address.username or not address.domain:
        raise InvalidValueError(f"{shown(text)} is not an e-mail address", _ADDRESS_EXAMPLE)
    if len(text) > _MAX_CHARACTERS or len(text.rpartition("@")[0]) > _MAX_CHARACTERS_BEFORE_AT:
        most = f"{_MAX_CHARACTERS_BEFORE_AT} characters before the @, {_MAX_CHARACTERS} in all"
        raise InvalidValueError(f"{shown(text)} is too long for an address", f"use at most {most}")
    return text


def is_mail_address(text: str) -> bool:
    """Whether `parse_mail_address` accepts `text`."""
    try:
        parse_mail_address(text)
    except InvalidValueError:
        return False
    return True


def parse_time_zone(name: str) -> tzinfo:
    """The time zone with that name in IANA's database; `UTC` works without the database.

    Raises:
        InvalidValueError: no time zone has that name.
    """
    if name == "UTC":
        return UTC
    try:
        if not name.startswith(_NOT_OF_IANA):
            return zoneinfo.ZoneInfo(name)
    except (
        zoneinfo.ZoneInfoNotFoundError,
        ValueError,
        OSError,
    ) as error:  # ValueError, OSError: not a zone file
        raise _no_zone(name) from error
    raise _no_zone(name)


def parse_time_of_day(value: Any) -> time:
    """The time of day in `HH:MM`.

    Raises:
        InvalidValueError: `value` is not a time of day.
    """
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise InvalidValueError(
            f"{shown(value)} is not a time of day", 'write hours and minutes, for instance "00:15"'
        )
    return time(int(found[1]), int(found[2]))


def _no_zone(name: str) -> InvalidValueError:
    known = {zone.casefold(): zone for zone in zoneinfo.available_timezones()}
    close = difflib.get_close_matches(name.casefold(), known, n=1)
    instead = f"did you mean {known[close[0]]!r}?" if close else _ZONE_EXAMPLE
    return InvalidValueError(f"{shown(name)} is not a time zone", instead if known else _NO_ZONES)


def _zone(name: str) -> str:
    parse_time_zone(name)
    return name


def _time(value: Any) -> Any:
    parse_time_of_day(value)
    return value


MailAddress = Annotated[StrictStr, AfterValidator(parse_mail_address)]
ZoneName = Annotated[StrictStr, AfterValidator(_zone)]
TimeOfDay = Annotated[StrictStr, BeforeValidator(_time)]


class Report(TomlTable):
    """`[report]`: who gets the nightly report, and when it is made."""

    to: tuple[MailAddress, ...] = ()
    sender: MailAddress | None = Field(default=None, alias="from")
    """`from` in the file; that is a keyword in Python."""
    time_zone: ZoneName = defaults.REPORT_TIME_ZONE
    at: TimeOfDay = defaults.REPORT_TIME

    @field_validator("to")
    @classmethod
    def _each_once(cls, to: tuple[str, ...]) -> tuple[str, ...]:
        seen: set[str] = set()
        for address in to:
            if address.casefold() in seen:
                raise InvalidValueError(
                    f"{shown(address)} is there twice", "each address gets the report once"
                )
            seen.add(address.casefold())
        return to

    @property
    def zone(self) -> tzinfo:
        """The time zone in which a day of the report begins and ends."""
        return parse_time_zone(self.time_zone)

    @property
    def starts_at(self) -> time:
        """When the report of the previous day is started, in that zone."""
        return parse_time_of_day(self.at)
