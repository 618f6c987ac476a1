"""The PostgreSQL of the demo: private, cleaned up, and refused with a reason."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import psycopg2
import pytest
from components import wheel_postgres
from processes import runs
from waiting import wait_for

from otel_ratelimit.demo.errors import DemoError
from otel_ratelimit.demo.workspace import PREFIX, clear_leftovers, locked, workspace
from otel_ratelimit.postgres.embedded import (
    THROW_AWAY,
    EmbeddedPostgres,
    PostgresError,
)

TEMPORARY = Path("/tmp")
"""Short, because a socket's address is; and every user may enter it."""


@pytest.fixture(scope="module")
def binaries():
    return wheel_postgres()


@pytest.fixture(scope="module")
def postgres(binaries):
    with workspace(TEMPORARY) as scratch:
        server = EmbeddedPostgres(
            scratch / "data", scratch, environ=os.environ, settings=THROW_AWAY, binaries=binaries
        )
        server.start()
        yield server
        server.stop()


def test_postgres_speaks_on_a_private_socket_only(postgres):
    connection = psycopg2.connect(postgres.dsn())
    folder = Path(connection.info.host)
    with connection.cursor() as cursor:
        cursor.execute("SHOW data_directory")
        [data] = cursor.fetchone()
    connection.close()
    server = psutil.Process(int((Path(data) / "postmaster.pid").read_text().split()[0]))
    assert server.uids().effective != 0
    assert not [c for c in server.net_connections(kind="inet") if c.status == psutil.CONN_LISTEN]
    assert folder.stat().st_mode & 0o077 == 0


def test_a_database_whose_filling_failed_is_filled_again(postgres):
    def fail(dsn):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        postgres.create_database("jobs", fail)
    assert postgres.create_database("jobs", lambda dsn: psycopg2.connect(dsn).close())
    assert not postgres.create_database("jobs", fail)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to hand over to another user")
def test_root_runs_it_from_a_copy_where_the_wheel_is_private(binaries):
    with workspace(TEMPORARY) as scratch, tempfile.TemporaryDirectory() as private:
        package = binaries.parent.parent
        for folder in (package, package.with_name(f"{package.name}.libs")):
            (Path(private) / folder.name).symlink_to(folder)
        hidden = Path(private) / package.name / binaries.parent.name / "bin"
        postgres = EmbeddedPostgres(
            scratch / "data", scratch, environ=os.environ, settings=THROW_AWAY, binaries=hidden
        )
        postgres.start()
        assert postgres.version()
        postgres.stop()
        assert Path(private).stat().st_mode & 0o077 == 0


def test_data_that_are_kept_are_there_again_and_nothing_else_is(binaries):
    with workspace(TEMPORARY) as scratch:
        for turn in range(2):
            postgres = EmbeddedPostgres(scratch / "data", scratch, environ=os.environ, settings=THROW_AWAY)
            postgres.start()
            assert postgres.create_database("jobs", lambda dsn: None) is (turn == 0)
            pid = int((scratch / "data" / "postmaster.pid").read_text().split()[0])
            postgres.stop()
            assert not runs(pid)
    assert not scratch.exists()


def test_a_postgres_that_cannot_start_says_why_and_what_to_do(binaries):
    with workspace(TEMPORARY) as scratch:
        settings = {"shared_buffers": "no size"}
        postgres = EmbeddedPostgres(scratch / "data", scratch, environ=os.environ, settings=settings)
        with pytest.raises(PostgresError, match=r"PostgreSQL could not start: .*exited at once") as raised:
            postgres.start()
        assert 'invalid value for parameter "shared_buffers"' in str(raised.value)
        assert "What to do: " in str(raised.value)


def test_data_of_another_version_are_named_as_the_reason(binaries):
    with workspace(TEMPORARY) as scratch:
        (scratch / "data").mkdir()
        (scratch / "data" / "PG_VERSION").write_text("9\n")
        (scratch / "data" / "postgresql.conf").touch()
        postgres = EmbeddedPostgres(scratch / "data", scratch, environ=os.environ)
        with pytest.raises(PostgresError, match="data belong to another PostgreSQL version"):
            postgres.start()


def test_a_folder_too_long_for_a_socket_is_refused(binaries, tmp_path):
    deep = tmp_path / ("x" * 100)
    with pytest.raises(PostgresError, match="TMPDIR=/tmp"):
        EmbeddedPostgres(deep / "data", deep, environ=os.environ, settings=THROW_AWAY).start()


def test_what_a_killed_run_left_is_cleared_up(binaries):
    with workspace(TEMPORARY) as parent:
        parent.chmod(0o711)
        starter = (
            "import os, sys, time\nfrom pathlib import Path\n"
            "from otel_ratelimit.postgres.embedded import EmbeddedPostgres\n"
            "from otel_ratelimit.demo.workspace import workspace\n"
            "with workspace(Path(sys.argv[1])) as scratch:\n"
            "    postgres = EmbeddedPostgres(scratch / 'data', scratch, environ=os.environ)\n"
            "    postgres.start()\n"
            "    (scratch / 'ready').touch()\n"
            "    time.sleep(60)\n"
        )
        starter_process = subprocess.Popen([sys.executable, "-c", starter, str(parent)])
        wait_for(lambda: list(parent.glob(f"{PREFIX}*/ready")))
        [left] = parent.glob(f"{PREFIX}*")
        assert clear_leftovers(parent) == []
        pid = int((left / "data" / "postmaster.pid").read_text().split()[0])
        # The supervisor too, so that the server really is left.
        os.kill(psutil.Process(pid).ppid(), signal.SIGKILL)
        starter_process.kill()
        starter_process.wait()
        assert runs(pid)
        [sentence] = clear_leftovers(parent)
        assert str(left) in sentence
        assert not left.exists()
        assert not runs(pid)


def test_a_folder_in_use_is_refused(tmp_path):
    with locked(tmp_path), pytest.raises(DemoError, match="in use by another running demo"), locked(tmp_path):
        pass
