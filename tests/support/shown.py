"""All ways in which somebody comes to read a value or an error: repr, logs, tracebacks, copies, JSON."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import operator
import pprint
from collections.abc import Callable, Iterator
from types import TracebackType

from rich.pretty import pretty_repr

OURS = "/otel_ratelimit/"


def outcome_of(deed: Callable[[], object], raises: tuple[type[Exception], ...]) -> list[str]:
    """All that can be read of what `deed` answers, or of the error that it raises."""
    try:
        value = deed()
    except raises as error:
        return list(ways_to_report(error))
    return list(ways_to_show(value))


def ways_to_show(value: object) -> Iterator[str]:
    yield repr(value)
    yield str(value)
    yield f"{value} {value!s} {value!r:>3}"
    yield operator.mod("%s %r", (value, value))
    yield pprint.pformat([value])
    yield pretty_repr({"value": value})
    yield json.dumps([value], default=str) + json.dumps([value], default=repr)
    yield logging.makeLogRecord({"msg": "%s %r", "args": (value, value)}).getMessage()
    yield repr([copy.copy(value), copy.deepcopy(value)])
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for flat in (dataclasses.asdict(value), dataclasses.astuple(value)):
            yield repr(flat)
            yield json.dumps(flat, default=str)
        yield repr(dataclasses.replace(value))


def ways_to_report(error: BaseException) -> Iterator[str]:
    """The error as a log or an error tracker shows it: message, arguments, cause, our frames' variables."""
    seen: set[int] = set()
    told: BaseException | None = error
    while told is not None and id(told) not in seen:
        seen.add(id(told))
        yield from (str(told), repr(told), repr(told.args), repr(vars(told)))
        yield from _variables(told.__traceback__)
        told = told.__cause__ or (None if told.__suppress_context__ else told.__context__)


def _variables(traceback: TracebackType | None) -> Iterator[str]:
    while traceback is not None:
        frame = traceback.tb_frame
        if OURS in frame.f_code.co_filename and "/tests/" not in frame.f_code.co_filename:
            for name, value in frame.f_locals.items():
                yield f"{frame.f_code.co_qualname}: {name} = {value!r}"
        traceback = traceback.tb_next
