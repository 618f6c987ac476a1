"""The answer of `GET /metrics`; the OpenAPI document describes it from here."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from otel_ratelimit.storage.health import Status
from otel_ratelimit.web.api.answer_types import Answer, Count, Seconds


class MemoryAnswer(Answer):
    """How much memory the counters take."""

    used_bytes: Count = Field(description="Memory that the counters use.")
    used_megabytes: float = Field(description="`used_bytes` in megabytes of 10^6 bytes.", ge=0.0)
    capacity_bytes: Count | None = Field(description="The limit; null if there is none.")
    used_percent: float | None = Field(description="Percent of the limit; null if there is none.", ge=0.0)
    status: Status = Field(description="Compared with the two thresholds.")
    warning_bytes: Count = Field(description="`status` is `warning` from this size on.")
    critical_bytes: Count = Field(description="`status` is `critical` from this size on.")
    message: str = Field(description="`status` as a sentence.")


class KeysAnswer(Answer):
    """The counters in the store."""

    active: Count = Field(description="Number of counters; an expired one counts until it is removed.")
    overflows: Count = Field(description="Hits counted in a shared bucket because the store was full.")
    by_endpoint: dict[str, Count] = Field(
        description=(
            "Counters by the name of the Flask endpoint (`jobs.detail`, not its route), the most first; `*`"
            " for those that several endpoints share."
        )
    )
    routes: dict[str, list[str]] = Field(
        default={},
        description="The route templates of each endpoint in `by_endpoint`; empty if an endpoint has none.",
    )
    by_client_kind: dict[str, Count] = Field(description="Counters by kind of client key, the most first.")
    by_user: dict[str, Count] = Field(
        default={},
        description=(
            "Counters by user, the hundred with the most; empty text for those without a user, `<other>` for"
            " other users and those whose names are not remembered."
        ),
    )


class CleanupAnswer(Answer):
    """Removal of expired counters since the process started."""

    runs: Count
    removed_keys: Count
    freed_bytes: int
    last_at: datetime | None = Field(description="When the last run ended; null before the first.")
    last_duration_seconds: Seconds
    longest_pause_seconds: Seconds = Field(description="The longest time for which a run held up requests.")


class StorageAnswer(Answer):
    """The counter store."""

    name: str = Field(description="The scheme of its URI.", examples=["bounded-memory"])
    healthy: bool = Field(description="Whether it answered when last asked.")
    tells_contents: bool = Field(
        description="False for a remote store: `memory`, `keys` and `cleanup` are null then."
    )


class RecorderAnswer(Answer):
    """The recorder of violations, since the process started."""

    recorded: Count = Field(description="Violations written.")
    dropped: Count = Field(description="Violations lost.")
    pending: Count = Field(description="Violations not written yet.")
    healthy: bool = Field(description="Whether the last write succeeded.")


class MetricsAnswer(Answer):
    """The present state of the limiter; of the worker process that answers, if each has its own store."""

    at: datetime
    process_id: Count = Field(description="The worker process that answers.")
    storage: StorageAnswer
    memory: MemoryAnswer | None
    keys: KeysAnswer | None
    cleanup: CleanupAnswer | None
    recorder: RecorderAnswer | None = Field(description="Null where analytics are off.")
