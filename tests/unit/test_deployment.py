from __future__ import annotations

from types import SimpleNamespace

import pytest

from otel_ratelimit.runtime.worker_processes import warn_of_prometheus, warn_of_uwsgi, worker_count


@pytest.mark.parametrize(
    ("command", "environ", "expected"),
    [
        ("/usr/bin/gunicorn -w 4 app:app", {}, 4),
        ("gunicorn -w4 app:app", {}, 4),
        ("gunicorn --workers 3 app:app", {}, 3),
        ("gunicorn --workers=3 app:app", {}, 3),
        ("gunicorn app:app", {"WEB_CONCURRENCY": "6"}, 6),
        ("gunicorn -w 2 app:app", {"WEB_CONCURRENCY": "6"}, 2),
        ("gunicorn app:app", {"GUNICORN_CMD_ARGS": "--workers=5 --bind=:80"}, 5),
        ("gunicorn -w 2 app:app", {"GUNICORN_CMD_ARGS": "--workers=5"}, 2),
        ("uwsgi --processes 8 --module app", {}, 8),
        ("uwsgi -p 8", {}, 8),
        ("gunicorn app:app", {}, None),
        ("gunicorn -w many app:app", {}, None),
        ("gunicorn -w", {}, None),
        ("python -c pass", {"GUNICORN_CMD_ARGS": "unbalanced '"}, None),
    ],
)
def test_the_number_of_workers_is_read_from_the_command_line(command, environ, expected):
    assert worker_count(command.split(), environ) == expected


def test_a_process_without_arguments_is_no_error():
    assert worker_count([], {}) is None


@pytest.mark.parametrize(
    ("uwsgi", "said"),
    [
        (None, []),
        (SimpleNamespace(opt={"master": True, "py-call-osafterfork": True}, has_threads=1), []),
        (SimpleNamespace(opt={b"master": True, b"py-call-uwsgi-fork-hooks": True}), []),
        (SimpleNamespace(opt={"http": b":80"}, has_threads=1), []),
        (SimpleNamespace(opt={b"master": True, b"lazy-apps": True}), ["py-call-osafterfork = true"]),
        (
            SimpleNamespace(opt={"master": True}, has_threads=0),
            ["enable-threads = true", "py-call-osafterfork = true"],
        ),
    ],
)
def test_what_does_not_work_below_uwsgi_is_said(caplog, uwsgi, said):
    warn_of_uwsgi(uwsgi)
    assert len(caplog.records) == len(said)
    for record, sentence in zip(caplog.records, said, strict=True):
        assert sentence in record.getMessage()
        assert record.levelname == "ERROR"


@pytest.mark.parametrize(
    ("exporters", "said"),
    [("prometheus", True), ("otlp, prometheus", True), ("otlp", False), ("", False), (None, False)],
)
def test_an_exporter_that_nobody_can_scrape_is_said(caplog, exporters, said):
    warn_of_prometheus({} if exporters is None else {"OTEL_METRICS_EXPORTER": exporters})
    assert bool(caplog.records) is said
