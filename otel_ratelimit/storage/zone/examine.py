"""The memory that a process would get for a zone, for `otel-ratelimit doctor`. No zone is made."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from otel_ratelimit.core.errors import ZoneMemoryError
from otel_ratelimit.core.thresholds import MEGABYTE
from otel_ratelimit.storage.zone import head
from otel_ratelimit.storage.zone.lock import default_lock_kind
from otel_ratelimit.storage.zone.mapping import anonymous, examine_file
from otel_ratelimit.storage.zone.uri import parse_uri
from otel_ratelimit.storage.zone.zone_files import named_path, zone_folder


@dataclass(frozen=True, slots=True)
class Examined:
    """The findings; each is a clause, and empty where there is nothing to say."""

    found: str
    warning: str = ""
    remedy: str = ""


def examine_zone(uri: str, capacity: int) -> Examined:
    """The memory that a valid URI leads to.

    Args:
        uri: `shared-memory://...`.
        capacity: of the zone, if the URI does not say it; bytes.

    Raises:
        ZoneMemoryError: the memory cannot be had.
    """
    given = parse_uri(uri)
    size, lock = given.capacity or capacity, given.lock or default_lock_kind()
    folder = zone_folder()
    megabytes = f"{size / MEGABYTE:.1f} MB"
    if given.name:
        path = named_path(folder, given.name)
        state, rejected = examine_file(path, size, partial(head.unusable, size=size, lock=lock))
        if rejected:
            remedy = "write the same capacity and lock in the URI of every server that shares it"
            return Examined("", f"{path} will be replaced by the next process: {rejected}", remedy)
        return Examined(f"{path} {state}, {megabytes}")
    anonymous(size)
    found = f"memory of {megabytes} that workers inherit can be had"
    try:
        examine_file(named_path(folder, "="), size, lambda _: "")
    except ZoneMemoryError as error:
        warning = f"workers that inherit no memory would each count alone: {error.what}"
        return Examined(found, warning, f"{error.instead}; or use opentelemetry-instrument, or --preload")
    return Examined(found)
