"""The answers that clients got, reported by the process that drives them: one JSON object a line.

Only the clients can say who was limited: no metric ever names a client.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

TOO_MANY_REQUESTS: Final = 429
_SERVER_ERROR: Final = 500
_CLIENT_ERROR: Final = 400


@dataclass(slots=True)
class Tally:
    """Answers of one kind of client on one endpoint."""

    persona: str
    endpoint: str
    answered: int = 0
    limited: int = 0
    refused: int = 0
    """4xx other than 429: a missing session, an unknown path."""
    failed: int = 0
    """5xx."""
    broken: int = 0
    """Requests without any answer."""

    def count(self, status: int) -> None:
        """Count one answer; status 0 means that there was none."""
        if status == 0:
            self.broken += 1
            return
        self.answered += 1
        if status == TOO_MANY_REQUESTS:
            self.limited += 1
        elif status >= _SERVER_ERROR:
            self.failed += 1
        elif status >= _CLIENT_ERROR:
            self.refused += 1


@dataclass(frozen=True, slots=True)
class Refusal:
    """One 429 as the client saw it."""

    persona: str
    address: str
    request: str
    status: str
    headers: list[tuple[str, str]]
    body: str


@dataclass(frozen=True, slots=True)
class ClientReport:
    """Everything that the clients have seen so far."""

    elapsed: float = 0.0
    people: Mapping[str, int] = field(default_factory=dict)
    """How many clients of each persona."""
    tallies: tuple[Tally, ...] = ()
    refusal: Refusal | None = None
    """The latest 429."""
    finished: bool = False

    @property
    def answered(self) -> int:
        """Requests that got an answer."""
        return sum(tally.answered for tally in self.tallies)

    @property
    def limited(self) -> int:
        """Answers 429."""
        return sum(tally.limited for tally in self.tallies)

    @property
    def broken(self) -> int:
        """Requests without an answer."""
        return sum(tally.broken for tally in self.tallies)

    def to_line(self) -> str:
        """The report as one line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_line(cls, line: str) -> ClientReport:
        """The report that `to_line` wrote."""
        raw: dict[str, Any] = json.loads(line)
        refusal = raw["refusal"]
        return cls(
            elapsed=raw["elapsed"],
            people=raw["people"],
            tallies=tuple(Tally(**tally) for tally in raw["tallies"]),
            refusal=Refusal(**{**refusal, "headers": [(k, v) for k, v in refusal["headers"]]})
            if refusal
            else None,
            finished=raw["finished"],
        )


class ReportReader:
    """Reads the lines on a thread of its own; `latest` never waits."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.latest = ClientReport()
        self._thread = threading.Thread(target=self._read, args=(lines,), name="client-reports", daemon=True)
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait until the lines have ended."""
        self._thread.join(timeout)

    def _read(self, lines: Iterable[str]) -> None:
        for line in lines:
            if line.startswith("{"):
                self.latest = ClientReport.from_line(line)


class Recorder:
    """Counts in the process that drives the clients; `report` is called with each new state."""

    def __init__(self, report: Callable[[ClientReport], None], people: Mapping[str, int]) -> None:
        self._report = report
        self._people = dict(people)
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._refusal: Refusal | None = None

    @property
    def requests(self) -> int:
        """How many requests were made."""
        return sum(tally.answered + tally.broken for tally in self._tallies.values())

    def count(self, persona: str, endpoint: str, status: int) -> None:
        """Count one answer; status 0 means that there was none."""
        self._tallies.setdefault((persona, endpoint), Tally(persona, endpoint)).count(status)

    def keep(self, refusal: Refusal) -> None:
        """Keep a 429, to show it."""
        self._refusal = refusal

    def tell(self, elapsed: float, *, finished: bool = False) -> None:
        """Report the current state."""
        tallies = tuple(self._tallies.values())
        self._report(ClientReport(elapsed, self._people, tallies, self._refusal, finished))
