"""Facts that one process can know about the server: how many processes it has, and what cannot work."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Mapping, Sequence

_logger = logging.getLogger(__name__)


def warn_of_separate_counts(argv: Sequence[str], environ: Mapping[str, str]) -> None:
    """Log how many times each limit a client may have where every worker process counts for itself."""
    count = worker_count(argv, environ)
    _logger.warning(
        "%s worker processes each count for themselves, so a client may have %s times each limit;"
        " set OTEL_RATELIMIT_STORAGE_URI to a Redis or Valkey that they share",
        count or "several",
        count or "as many",
    )


def warn_of_uwsgi(uwsgi: object | None) -> None:
    """Log what does not work in uWSGI with its options.

    Args:
        uwsgi: the module of that name, which exists in processes of uWSGI only.
    """
    if uwsgi is None:
        return
    # The names are text or bytes, depending on uWSGI's version.
    options = {_text(name) for name in getattr(uwsgi, "opt", ())}
    if not getattr(uwsgi, "has_threads", True):
        _logger.error(
            "uWSGI runs no Python threads: metrics and analytics are written late or never;"
            " set enable-threads = true. Rate limits hold"
        )
    if "master" in options and not options & {"py-call-osafterfork", "py-call-uwsgi-fork-hooks"}:
        _logger.error(
            "uWSGI forks workers without Python's fork hooks: OpenTelemetry exports nothing from them, and"
            " they stop late; set py-call-osafterfork = true. Rate limits hold"
        )


def _text(name: object) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


class ExportersOfProcess:
    """Where OpenTelemetry's exporters were set up; those of a forked process may reach nobody.

    Args:
        environ: what selects the exporters.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._process: int | None = os.getpid()

    def warn(self, set_up_in: int | None = None) -> None:
        """Log once, in a process that was forked after OpenTelemetry was set up, what does not work there.

        Args:
            set_up_in: the process in which that was, if it need not be the one that made this object.
        """
        self._process = set_up_in or self._process
        if self._process not in {None, os.getpid()}:
            self._process = None
            warn_of_prometheus(self._environ)


def warn_of_prometheus(environ: Mapping[str, str]) -> None:
    """Log, in a process that was forked after OpenTelemetry was set up, that nobody can scrape it."""
    exporters = {name.strip() for name in environ.get("OTEL_METRICS_EXPORTER", "").split(",")}
    if "prometheus" in exporters:
        _logger.error(
            "OTEL_METRICS_EXPORTER=prometheus exports no metrics from this worker process: the exporter"
            " listens in the process that forked it; use OTEL_METRICS_EXPORTER=otlp and a collector."
            " Rate limits hold"
        )


def worker_count(argv: Sequence[str], environ: Mapping[str, str]) -> int | None:
    """Number of worker processes that a gunicorn or uWSGI command line asks for; None if it does not say.

    Reads `-w N`, `-wN`, `--workers N`, `--workers=N`, uWSGI's `-p` and `--processes`, and the
    variables `GUNICORN_CMD_ARGS` and `WEB_CONCURRENCY`; a later option wins, as in these servers.
    """
    program = argv[0].rsplit("/", 1)[-1] if argv else ""
    found = _number(environ.get("WEB_CONCURRENCY", ""))
    options = {"-p", "--processes", "--workers"} if "uwsgi" in program else {"-w", "--workers"}
    for arguments in (_split(environ.get("GUNICORN_CMD_ARGS", "")), list(argv[1:])):
        found = _from_arguments(arguments, options) or found
    return found


def _from_arguments(arguments: Sequence[str], options: set[str]) -> int | None:
    found: int | None = None
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in options:
            following = arguments[index + 1] if index + 1 < len(arguments) else ""
            found = _number(value if equals else following) or found
        elif argument[:2] in options and not argument.startswith("--"):
            found = _number(argument[2:]) or found
    return found


def _split(arguments: str) -> list[str]:
    try:
        return shlex.split(arguments)
    except ValueError:
        return []


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and int(text) > 0 else None
