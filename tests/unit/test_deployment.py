from __future__ import annotations

import pytest

from otel_ratelimit.deployment import worker_count


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
