"""Names of files of zones, their folder, and which files are stale."""

import os
import tempfile
from pathlib import Path

import pytest
from forks import Child, gate, in_child

from otel_ratelimit.core.errors import ZoneMemoryError
from otel_ratelimit.storage.zone.process_tree import ProcessIdentity, own_identity, pid_namespace
from otel_ratelimit.storage.zone.zone_files import (
    named_path,
    remove_stale,
    server_path,
    temporary_path,
    zone_folder,
)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


@pytest.fixture
def ended():
    """A process that has ended."""
    return in_child(own_identity)


def names(folder):
    return {each.name for each in folder.iterdir()}


def test_files_of_servers_and_makers_that_have_ended_are_removed(tmp_path, ended):
    server_path(tmp_path, ended, 1, 1000).touch()
    in_child(lambda: temporary_path(tmp_path).touch())
    remove_stale(tmp_path)
    assert names(tmp_path) == set()


def test_files_of_living_processes_stay(tmp_path):
    with gate() as (wait, open_gate):
        maker = Child(lambda: (temporary_path(tmp_path).touch(), wait()))
        server_path(tmp_path, own_identity(), 1, 1000).touch()
        while len(names(tmp_path)) < 2:
            os.sched_yield()
        before = names(tmp_path)
        remove_stale(tmp_path)
        assert names(tmp_path) == before
        open_gate()
    maker.end()


def test_a_file_of_an_earlier_process_with_the_number_of_a_living_one_is_removed(tmp_path):
    itself = own_identity()
    server_path(tmp_path, ProcessIdentity(itself.pid, itself.start - 1), 1, 1000).touch()
    remove_stale(tmp_path)
    assert names(tmp_path) == set()


def test_what_is_not_stale_for_certain_stays(tmp_path, ended):
    stale = server_path(tmp_path, ended, 1, 1000).name
    user, elsewhere = os.geteuid(), pid_namespace() + 1
    for name in (
        named_path(tmp_path, "shop").name,
        named_path(tmp_path, stale.partition("-server=")[2]).name,
        named_path(tmp_path, f"server={stale.partition('=')[2]}").name,
        f"otel-ratelimit-{user}-server={elsewhere}-{ended.pid}-{ended.start}-1-1000",
        f"otel-ratelimit-{user + 1}-server={stale.partition('=')[2]}",
        f"other-{stale}",
        "otel-ratelimit",
    ):
        (tmp_path / name).touch()
    (tmp_path / (stale + "1")).mkdir()
    (tmp_path / (stale + "2")).symlink_to(tmp_path / "otel-ratelimit")
    before = names(tmp_path)
    assert len(before) == 9
    remove_stale(tmp_path)
    assert names(tmp_path) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_file_of_another_user_stays_whatever_its_name(tmp_path, ended):
    path = server_path(tmp_path, ended, 1, 1000)
    path.touch()
    os.chown(path, 1234, 1234)
    remove_stale(tmp_path)
    assert path.exists()


def test_a_folder_that_is_missing_has_nothing_stale(tmp_path):
    remove_stale(tmp_path / "missing")


@pytest.mark.parametrize("name", ["../../etc/passwd", "server=1-2-3-4-5", "new=1-2-3-4", "lock=", "a b", "ü"])
def test_a_name_never_leaves_the_folder_nor_looks_like_another_kind_of_file(tmp_path, name):
    path = named_path(tmp_path, name)
    assert path.parent == tmp_path
    assert path.name.startswith(f"otel-ratelimit-{os.geteuid()}-")
    assert set("/= ").isdisjoint(path.name)
    assert path.name.isascii()


def test_different_names_are_different_files(tmp_path):
    given = ["shop", "Shop", "shop%20", "shop ", "shop+", "shop/", "shop.", "sh-op"]
    assert len({named_path(tmp_path, name) for name in given}) == len(given)


def test_files_are_in_memory_where_that_can_be_written(tmp_path):
    assert zone_folder(tmp_path) == tmp_path


def test_files_are_in_the_temporary_folder_elsewhere(tmp_path):
    assert zone_folder(tmp_path / "missing") == Path(tempfile.gettempdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_effective_user_counts(tmp_path):
    assert in_child(lambda: (os.seteuid(65534), zone_folder(tmp_path))[1]) == Path(tempfile.gettempdir())


def test_no_folder_at_all_is_an_error_that_says_what_to_do(tmp_path):
    def attempt():
        os.chdir("/proc")  # the folder that Python tries last
        tempfile.tempdir = None
        tempfile._candidate_tempdir_list = lambda: ["/proc/missing"]
        with pytest.raises(ZoneMemoryError) as refused:
            zone_folder(tmp_path / "missing")
        return str(refused.value)

    assert "set TMPDIR to a folder that is" in in_child(attempt)
