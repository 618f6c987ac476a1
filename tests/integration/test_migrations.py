"""The schema upgrades and downgrades without a trace, also concurrently, and reports obstacles."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from opentelemetry.instrumentation.psycopg2 import Psycopg2Instrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from psycopg2 import extensions

from otel_ratelimit.core.errors import DatabaseError
from otel_ratelimit.postgres.migrate import (
    LOCK,
    Current,
    Downgrade,
    current,
    downgrade,
    plan_downgrade,
    upgrade,
)
from otel_ratelimit.postgres.migration_steps import find_migrations

STEPS = [
    *("0001_rate_limits", "0002_queries", "0003_reports", "0004_query_totals", "0005_report_days"),
    "0006_retention",
    "0007_query_hashes",
    "0008_query_services",
]
MIGRATIONS = Path(__file__).parents[2] / "migrations"

CATALOGUE = """
SELECT 'schema', nspname::text, coalesce(obj_description(oid), '') FROM pg_namespace WHERE nspname !~ '^pg_'
UNION ALL
SELECT 'relation', c.oid::regclass::text,
    concat_ws(' ', c.relkind, c.relacl, c.reloptions, obj_description(c.oid, 'pg_class'),
        pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid),
        CASE c.relkind WHEN 'v' THEN pg_get_viewdef(c.oid) END,
        CASE WHEN c.relkind IN ('i', 'I') THEN pg_get_indexdef(c.oid) END)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
UNION ALL
SELECT 'column', attrelid::regclass || '.' || attname,
    concat_ws(' ', attnum, format_type(atttypid, atttypmod), attnotnull, attidentity,
        pg_get_expr(adbin, adrelid), col_description(attrelid, attnum))
FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid JOIN pg_namespace AS n ON n.oid = relnamespace
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(o.oid)
FROM pg_constraint AS o JOIN pg_namespace AS n ON n.oid = connamespace
WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
ORDER BY 1, 2, 3
"""


def query(url, statement):
    with closing(extensions.connection(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(params=["postgres", "debian_postgres"])
def empty(request, new_database):
    """An empty database on each of the two versions."""
    return new_database(request.getfixturevalue(request.param))


def test_up_and_down_and_up_again(empty):
    before = query(empty, CATALOGUE)
    assert upgrade(empty) == STEPS
    up = query(empty, CATALOGUE)
    assert downgrade(empty) == STEPS[::-1]
    assert query(empty, CATALOGUE) == before
    assert upgrade(empty) == STEPS
    assert query(empty, CATALOGUE) == up


def test_each_step_can_be_undone_alone(empty):
    after = []
    for step in STEPS:
        upgrade(empty, revision=step)
        after.append(query(empty, CATALOGUE))
    for index in reversed(range(len(STEPS) - 1)):
        assert downgrade(empty, revision=STEPS[index]) == [STEPS[index + 1]]
        assert query(empty, CATALOGUE) == after[index]


def test_running_twice_changes_nothing(empty):
    upgrade(empty)
    up = query(empty, CATALOGUE)
    assert upgrade(empty) == []
    assert query(empty, CATALOGUE) == up
    downgrade(empty)
    assert downgrade(empty) == []


def test_it_is_known_what_is_pending_and_what_a_downgrade_drops(empty_database):
    assert current(empty_database) == Current(None, STEPS[-1], tuple(STEPS))
    assert plan_downgrade(empty_database) == Downgrade((), ())
    upgrade(empty_database, revision="0002")
    assert current(empty_database) == Current("0002_queries", STEPS[-1], tuple(STEPS[2:]))
    assert plan_downgrade(empty_database, revision="0001") == Downgrade(
        ("0002_queries",), ("query_logs", "query_templates", "table_writes")
    )


def test_every_table_made_is_named_among_those_that_a_downgrade_drops(database):
    made = query(
        database,
        "SELECT relname FROM pg_class WHERE relnamespace = 'otel_ratelimit'::regnamespace"
        " AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'schema_version'",
    )
    assert sorted(plan_downgrade(database).tables) == sorted(name for (name,) in made)


def test_progress_is_reported_step_by_step(empty_database):
    said = []
    upgrade(empty_database, report=said.append)
    assert said == [f"upgrade {step}" for step in STEPS]
    said.clear()
    downgrade(empty_database, report=said.append)
    assert said == [f"downgrade {step}" for step in reversed(STEPS)]


def test_an_applications_own_alembic_tables_are_untouched(empty_database):
    query(
        empty_database,
        "CREATE TABLE public.alembic_version (version_num varchar(32) PRIMARY KEY);"
        "INSERT INTO public.alembic_version VALUES ('ae1027a6acf');",
    )
    upgrade(empty_database)
    assert query(empty_database, "SELECT version_num FROM public.alembic_version") == [("ae1027a6acf",)]
    downgrade(empty_database)
    assert query(empty_database, "SELECT version_num FROM public.alembic_version") == [("ae1027a6acf",)]


def test_two_processes_at_once_share_the_work(empty_database):
    program = "import sys; from otel_ratelimit.postgres.migrate import upgrade; print(upgrade(sys.argv[1]))"
    with closing(extensions.connection(empty_database)) as gate:
        # Both are started before either may begin.
        gate.cursor().execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", program, empty_database],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while query(empty_database, waiting) != [(2,)]:
            assert all(process.poll() is None for process in processes)
    ended = [process.communicate(timeout=30) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ended
    assert sorted(out.strip() for out, _ in ended) == sorted(["[]", str(STEPS)])
    assert current(empty_database).pending == ()


def test_a_step_that_fails_leaves_nothing_of_itself(empty_database):
    upgrade(empty_database, revision="0001")
    before = query(empty_database, CATALOGUE)
    # The last table of the step is there already.
    query(empty_database, "CREATE TABLE otel_ratelimit.table_writes ()")
    with pytest.raises(DatabaseError, match='"table_writes" already exists'):
        upgrade(empty_database)
    assert current(empty_database).revision == "0001_rate_limits"
    query(empty_database, "DROP TABLE otel_ratelimit.table_writes")
    assert query(empty_database, CATALOGUE) == before


def test_a_downgrade_on_which_something_depends_says_what(database):
    query(database, "CREATE VIEW public.refusals AS SELECT sum(n) FROM otel_ratelimit.rate_limit_analytics")
    with pytest.raises(DatabaseError, match=r"view (public\.)?refusals depends on .*; drop those first"):
        downgrade(database)
    assert current(database).revision == "0001_rate_limits"


def test_a_schema_that_holds_something_else_stays(database):
    query(database, "CREATE TABLE otel_ratelimit.notes (note text)")
    said = []
    downgrade(database, report=said.append)
    assert "stays" in said[-1]
    assert query(database, "SELECT to_regclass('otel_ratelimit.notes') IS NOT NULL") == [(True,)]
    assert upgrade(database) == STEPS


@pytest.fixture
def role(postgres):
    """The name of a user without any rights."""
    query(postgres.dsn(), "CREATE ROLE \"the-app\" LOGIN PASSWORD 'right'")
    yield "the-app"
    query(postgres.dsn(), 'DROP ROLE "the-app"')


def as_user(url, name):
    return url.replace("postgres@", f"{name}@")


def test_a_user_without_the_right_to_create_is_told_what_to_grant(empty_database, role):
    url = as_user(empty_database, role)
    with pytest.raises(DatabaseError, match="permission denied for database") as raised:
        upgrade(url)
    grant = str(raised.value).partition("grant it: ")[2]
    query(empty_database, grant)
    assert upgrade(url) == STEPS
    assert downgrade(url) == STEPS[::-1]
    query(empty_database, grant.replace("GRANT", "REVOKE").replace(" TO ", " FROM "))


def test_a_schema_made_by_an_administrator_is_used_and_kept(empty_database, role):
    query(empty_database, f'CREATE SCHEMA otel_ratelimit AUTHORIZATION "{role}"')
    before = query(empty_database, CATALOGUE)
    url = as_user(empty_database, role)
    assert upgrade(url) == STEPS
    downgrade(url)
    assert query(empty_database, CATALOGUE) == before
    query(empty_database, "DROP SCHEMA otel_ratelimit")


def test_a_user_without_rights_on_the_schema_is_told_so(database, role):
    with pytest.raises(DatabaseError, match=r'permission denied.*grant it to "the-app", or .* as the owner'):
        current(as_user(database, role))


def test_hashing_secrets_are_for_the_owner_only(database, role):
    query(database, 'GRANT USAGE ON SCHEMA otel_ratelimit TO "the-app"')
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        query(as_user(database, role), "SELECT secret FROM otel_ratelimit.hash_keys")
    query(database, 'REVOKE USAGE ON SCHEMA otel_ratelimit FROM "the-app"')


def test_a_schema_newer_than_the_package_is_left_alone(database):
    query(database, "UPDATE otel_ratelimit.schema_version SET version_num = '0009_later'")
    for use in (upgrade, downgrade, current):
        with pytest.raises(DatabaseError, match=rf"at step 0009_later.*last one is {STEPS[-1]}"):
            use(database)


def test_a_revision_that_does_not_exist_is_refused(database):
    for wrong in ("0009", "000", "", "nonsense"):
        with pytest.raises(ValueError, match="matches no step or several; write base, head or one of 0001"):
            upgrade(database, revision=wrong)


def test_a_database_that_does_not_exist_is_named(postgres):
    with pytest.raises(
        DatabaseError, match=r'cannot connect to database nowhere .*CREATE DATABASE "nowhere"'
    ):
        upgrade(postgres.dsn("nowhere"))


def test_a_server_that_is_not_there_is_named_and_the_password_is_not(tmp_path):
    with pytest.raises(DatabaseError) as raised:
        upgrade("postgresql://app:geheim@127.0.0.1:1/shop")
    said = str(raised.value)
    assert said.startswith("cannot connect to database shop at 127.0.0.1, port 1, as user app: ")
    assert "check host and port" in said
    assert "geheim" not in said


def test_a_wrong_password_is_called_that(own_postgres):
    query(own_postgres.url(), "CREATE ROLE app LOGIN PASSWORD 'right'")
    [(file,)] = query(own_postgres.url(), "SHOW hba_file")
    Path(file).write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    query(own_postgres.url(), "SELECT pg_reload_conf()")
    wrong = own_postgres.url().replace("postgres@", "app:geheim@")
    with pytest.raises(DatabaseError, match=r"password authentication failed.*check the user") as raised:
        upgrade(wrong)
    assert "geheim" not in str(raised.value)
    with pytest.raises(DatabaseError, match="the URL needs a password"):
        upgrade(as_user(own_postgres.url(), "app"))


@pytest.mark.parametrize("password", ["ge@heim", "ge/heim", "12/heim", "ge:heim@", "12:heim/"])
def test_a_url_with_a_password_that_breaks_it_is_refused_without_showing_it(password):
    with pytest.raises(DatabaseError) as raised:
        upgrade(f"postgresql://app:{password}@127.0.0.1:1/shop")
    assert "write postgresql://user:password@host:5432/database" in str(raised.value)
    assert "heim" not in str(raised.value)


def test_migrating_leaves_no_spans(empty_database):
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    Psycopg2Instrumentor().instrument(tracer_provider=provider, skip_dep_check=True)
    try:
        psycopg2.connect(empty_database).cursor().execute("SELECT 1")
        upgrade(empty_database)
        downgrade(empty_database)
    finally:
        Psycopg2Instrumentor().uninstrument()
    assert [span.attributes["db.statement"] for span in spans.get_finished_spans()] == ["SELECT 1"]


def test_alembic_is_imported_only_for_migrations():
    program = "import sys, otel_ratelimit.postgres.migrate; sys.exit('alembic' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_migrations_are_found_in_a_checkout_and_in_an_installed_package(tmp_path):
    assert find_migrations() == MIGRATIONS
    package = tmp_path / "site-packages" / "otel_ratelimit"
    package.mkdir(parents=True)
    # Another distribution's folder of that name is not ours.
    (package.parent / "migrations").mkdir()
    with pytest.raises(DatabaseError, match="install otel-ratelimit again"):
        find_migrations(package)
    shipped = package / "_shipped" / "migrations" / "sql"
    shipped.mkdir(parents=True)
    (shipped / "0001_rate_limits.up.sql").touch()
    assert find_migrations(package) == shipped.parent
    build = tomllib.loads((MIGRATIONS.parent / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    shipped_as = build["targets"]["wheel"]["force-include"]["migrations"]
    assert package.parent / shipped_as == shipped.parent


def test_a_database_that_cannot_keep_all_that_clients_send_is_refused_with_what_to_make(postgres):
    with closing(extensions.connection(postgres.dsn())) as operator:
        operator.autocommit = True
        operator.cursor().execute(
            "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
    try:
        with pytest.raises(
            DatabaseError, match=r"latin has encoding LATIN1.* CREATE DATABASE .* ENCODING 'UTF8'"
        ):
            upgrade(postgres.dsn("latin"))
        assert (
            query(postgres.dsn("latin"), "SELECT 1 FROM pg_namespace WHERE nspname = 'otel_ratelimit'") == []
        )
    finally:
        with closing(extensions.connection(postgres.dsn())) as operator:
            operator.autocommit = True
            operator.cursor().execute("DROP DATABASE latin")
