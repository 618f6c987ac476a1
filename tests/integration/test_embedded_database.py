"""`embedded:/a/folder`: one server for all processes that name the folder, and another when it has gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from components import wheel_postgres

from otel_ratelimit.core.deadline import within
from otel_ratelimit.core.errors import DatabaseError, DatabaseUnreachableError
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.embedded.database import EmbeddedDatabase, is_embedded
from otel_ratelimit.postgres.migrate import upgrade

OTHER_PROCESS = """
import os, sys
from otel_ratelimit.postgres.embedded.database import EmbeddedDatabase
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.migrate import upgrade

embedded = EmbeddedDatabase(sys.argv[1], upgrade, os.environ)
database = Database(embedded.url)
[(started,)] = database.rows("SELECT pg_postmaster_start_time()::text")
[(table,)] = database.rows("SELECT to_regclass('otel_ratelimit.rate_limit_usage')::text")
print(started, table, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def url():
    wheel_postgres()
    # Not pytest's own folder, which as root no other user may enter.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o711)
        yield f"embedded:{folder}/data of ours"


@pytest.fixture
def other_process(url):
    started = []

    def start():
        process = subprocess.Popen(
            [sys.executable, "-c", OTHER_PROCESS, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_nothing_starts_before_it_is_needed(url):
    EmbeddedDatabase(url, upgrade, os.environ).close()
    assert not Path(url.removeprefix("embedded:")).exists()


def test_processes_share_one_server_that_has_the_tables(url, other_process):
    _, first = other_process()
    _, second = other_process()
    assert first == second
    assert first.endswith("otel_ratelimit.rate_limit_usage")


def test_when_its_process_is_killed_another_takes_over_and_the_data_are_there(url, other_process):
    process, first = other_process()
    embedded = EmbeddedDatabase(url, upgrade, os.environ)
    database = Database(embedded.url)
    database.rows("CREATE TABLE public.kept AS SELECT 7 AS figure")
    process.send_signal(signal.SIGKILL)
    process.wait()
    try:
        # The server may take a moment to notice.
        deadline, started = time.monotonic() + 60, first
        while first.startswith(started):
            assert time.monotonic() < deadline
            with suppress(DatabaseError):
                [(started,)] = database.rows("SELECT pg_postmaster_start_time()::text")
        assert database.rows("SELECT figure FROM public.kept") == [(7,)]
    finally:
        database.close()
        embedded.close()


def ask_in_vain(embedded):
    with within(1.0), pytest.raises(DatabaseUnreachableError, match="does not answer in time"):
        embedded.url()


def test_while_the_tables_are_made_the_other_processes_wait(url):
    may_go_on, answers = threading.Event(), threading.Event()

    def prepare(server):
        answers.set()
        assert may_go_on.wait(60)
        upgrade(server)

    first, second = (EmbeddedDatabase(url, then, os.environ) for then in (prepare, upgrade))
    with ThreadPoolExecutor() as pool:
        try:
            started, waiting = pool.submit(first.url), None
            assert answers.wait(60)
            ask_in_vain(second)
            waiting = pool.submit(second.url)
            may_go_on.set()
            database = Database(waiting.result(60))
            assert database.rows("SELECT count(*) FROM otel_ratelimit.rate_limit_usage") == [(0,)]
            database.close()
            assert started.result() == waiting.result() == second.url()
        finally:
            may_go_on.set()
            first.close()


def test_where_the_tables_could_not_be_made_it_is_tried_again(url):
    tried = []

    def prepare(server):
        tried.append(server)
        if len(tried) == 1:
            raise DatabaseError("no room on the disk")
        upgrade(server)

    first, second = (EmbeddedDatabase(url, prepare, os.environ) for _ in range(2))
    try:
        with pytest.raises(DatabaseError, match="no room"):
            first.url()
        ask_in_vain(second)
        assert first.url() == second.url()
        assert len(tried) == 2
    finally:
        first.close()


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseError, match="cannot be used for a database"):
        EmbeddedDatabase(f"embedded:{tmp_path}/file/below", upgrade, os.environ).url()


def test_only_its_scheme_means_embedded():
    assert is_embedded("embedded:")
    assert is_embedded("embedded:/a/folder")
    assert not is_embedded("postgresql://embedded:pw@host/db")
