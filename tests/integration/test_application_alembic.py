"""An application with migrations of its own, by Alembic or Flask-Migrate, in the database of our tables."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from psycopg2 import extensions

from otel_ratelimit.postgres.alembic import TABLES, include_name, include_name_and
from otel_ratelimit.postgres.migrate import current, downgrade, upgrade

OWN = """
CREATE TABLE kept (id int PRIMARY KEY);
CREATE TABLE gone (id int PRIMARY KEY);
CREATE SCHEMA shop;
CREATE TABLE shop.query_logs (id int PRIMARY KEY);
CREATE TABLE shop.of_another_team (id int PRIMARY KEY);
"""
ENV = """
import sqlalchemy as sa
from alembic import context
{imports}

metadata = sa.MetaData()
sa.Table("kept", metadata, sa.Column("id", sa.Integer, primary_key=True))
engine = sa.create_engine({url!r})
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata, {options})
    with context.begin_transaction():
        context.run_migrations()
"""
SCHEMAS = "include_schemas=True"
OURS = f"{SCHEMAS}, include_name=include_name"
IMPORT = "from otel_ratelimit.postgres.alembic import include_name"
OWN_DROPS = {"gone", "shop.query_logs", "shop.of_another_team"}


def run(url, statement):
    with closing(extensions.connection(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def sqlalchemy_url(url):
    return url.replace("postgresql:", "postgresql+psycopg2:", 1)


def tables(url, schema):
    return {name for (name,) in run(url, f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}'")}


@pytest.fixture
def shared(database):
    run(database, OWN)
    return database


@pytest.fixture
def project(tmp_path):
    """`project(url, options, imports)`: the configuration of an application's Alembic."""

    def make(url, options="", imports=""):
        folder = tmp_path / "alembic"
        config = Config(str(tmp_path / "alembic.ini"))
        config.set_main_option("script_location", str(folder))
        command.init(config, str(folder))
        (folder / "env.py").write_text(ENV.format(url=sqlalchemy_url(url), options=options, imports=imports))
        return config

    return make


def drops(revision: Path):
    """The tables that the generated revision's `upgrade` drops."""
    upgrading = revision.read_text().partition("def downgrade")[0]
    found = re.findall(r"op\.drop_table\('(\w+)'(?:, schema='(\w+)')?\)", upgrading)
    return {f"{schema}.{table}" if schema else table for table, schema in found}


def proposed(config):
    return drops(Path(command.revision(config, autogenerate=True).path))


def test_unasked_autogenerate_proposes_to_drop_our_tables(project, shared):
    found = proposed(project(shared, SCHEMAS))
    assert "otel_ratelimit.rate_limit_analytics" in found
    assert found > OWN_DROPS


def test_asked_it_leaves_ours_alone_and_proposes_the_applications_own_drops(project, shared):
    assert proposed(project(shared, OURS, IMPORT)) == OWN_DROPS


def test_the_applications_own_hook_is_asked_as_well_but_not_about_our_tables(project, shared):
    imports = (
        "from otel_ratelimit.postgres.alembic import include_name_and\n"
        "def mine(name, type_, parent_names):\n"
        "    assert 'otel_ratelimit' not in (name, parent_names.get('schema_name'))\n"
        "    return name != 'of_another_team'"
    )
    config = project(shared, f"{SCHEMAS}, include_name=include_name_and(mine)", imports)
    assert proposed(config) == OWN_DROPS - {"shop.of_another_team"}


@pytest.mark.parametrize("path", ["otel_ratelimit,public", "public,otel_ratelimit", "otel_ratelimit"])
@pytest.mark.parametrize(
    "options", [OURS, "include_name=include_name"], ids=["all schemas", "default schema"]
)
def test_asked_it_leaves_ours_alone_also_where_they_are_in_the_default_schema(
    project, database, options, path, monkeypatch
):
    run(
        database,
        "CREATE TABLE otel_ratelimit.gone (id int); CREATE TABLE otel_ratelimit.query_logs_of_mine (id int)",
    )
    monkeypatch.setenv("PGOPTIONS", f"-c search_path={path}")
    assert proposed(project(database, options, IMPORT)) == {"gone", "query_logs_of_mine"}


ROLE = """
from sqlalchemy import event
@event.listens_for(engine, "connect")
def become(connection, _):
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE otel_ratelimit")
    connection.commit()
with engine.connect()"""


def test_likewise_where_the_role_is_named_as_our_schema(project, database):
    run(database, "CREATE TABLE otel_ratelimit.gone (id int); CREATE ROLE otel_ratelimit SUPERUSER")
    try:
        config = project(database, OURS, IMPORT)
        env = Path(config.get_main_option("script_location")) / "env.py"
        env.write_text(env.read_text().replace("with engine.connect()", ROLE.strip(), 1))
        assert proposed(config) == {"gone"}
    finally:
        run(database, "DROP OWNED BY otel_ratelimit; DROP ROLE otel_ratelimit")


def test_a_table_of_the_application_that_is_named_like_ours_is_compared_in_its_own_schema(project, database):
    run(database, "CREATE TABLE query_logs (id int); CREATE TABLE query_logs_20260101 (id int)")
    assert proposed(project(database, OURS, IMPORT)) == {"query_logs", "query_logs_20260101"}


def test_outside_of_an_env_py_no_table_of_ours_is_dropped_either(database, monkeypatch):
    monkeypatch.setenv("PGOPTIONS", "-c search_path=otel_ratelimit,public")
    with sqlalchemy.create_engine(sqlalchemy_url(database)).connect() as connection:
        options = {"include_schemas": True, "include_name": include_name}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, sqlalchemy.MetaData()) == []


def test_every_table_and_view_of_ours_is_known(database):
    named = run(
        database,
        "SELECT relname FROM pg_class WHERE relnamespace = 'otel_ratelimit'::regnamespace AND relkind IN"
        " ('r', 'p', 'v', 'm')",
    )
    found = {name for (name,) in named if not re.fullmatch(r"query_logs_\d{8}", name)}
    assert found == TABLES


def test_without_our_tables_the_hook_changes_nothing(project, empty_database):
    run(empty_database, OWN)
    assert proposed(project(empty_database, OURS, IMPORT)) == OWN_DROPS


@pytest.mark.parametrize(
    ("name", "kind", "above", "compared"),
    [
        (None, "schema", {}, True),
        ("public", "schema", {}, True),
        ("otel_ratelimit", "schema", {}, False),
        ("otel_ratelimit_of_mine", "schema", {}, True),
        ("otel_ratelimit", "table", {"schema_name": None}, True),
        ("query_logs", "table", {"schema_name": "otel_ratelimit"}, False),
        ("ts", "column", {"schema_name": "otel_ratelimit", "table_name": "query_logs"}, False),
        (None, "unique_constraint", {"schema_name": "shop", "table_name": "query_logs"}, True),
    ],
)
def test_only_our_schema_and_what_is_in_it_is_left_out(name, kind, above, compared):
    assert include_name(name, kind, above) is compared
    assert include_name_and(lambda *_: True)(name, kind, above) is compared
    assert include_name_and(lambda *_: False)(name, kind, above) is False


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_both_keep_their_own_version_and_undo_their_own_steps_only(project, empty_database, first):
    config = project(empty_database, OURS, IMPORT)
    revision = Path(command.revision(config).path)
    step = revision.read_text().replace("pass", "op.create_table('own', sa.Column('id', sa.Integer))", 1)
    revision.write_text(step.replace("pass", "op.drop_table('own')"))
    deeds = {"ours": lambda: upgrade(empty_database), "theirs": lambda: command.upgrade(config, "head")}
    deeds.pop(first)()
    for deed in deeds.values():
        deed()
    assert tables(empty_database, "public") == {"own", "alembic_version"}
    assert current(empty_database).pending == ()
    command.downgrade(config, "base")
    assert current(empty_database).pending == ()
    command.upgrade(config, "head")
    downgrade(empty_database)
    assert tables(empty_database, "public") == {"own", "alembic_version"}
    assert tables(empty_database, "otel_ratelimit") == set()


def test_an_env_py_may_load_an_application_that_makes_our_tables_meanwhile(project, empty_database):
    imports = (
        f"{IMPORT}\nfrom otel_ratelimit.postgres.migrate import upgrade as load_application\n"
        f"load_application({empty_database!r})"
    )
    config = project(empty_database, OURS, imports)
    assert proposed(config) == set()
    command.upgrade(config, "head")
    assert current(empty_database).pending == ()


FLASK_MIGRATE = """
import sys, flask, flask_migrate
from flask_sqlalchemy import SQLAlchemy
from otel_ratelimit.postgres.alembic import include_name

app = flask.Flask("shop")
app.config["SQLALCHEMY_DATABASE_URI"] = sys.argv[1]
migrate = flask_migrate.Migrate(include_schemas=True, include_name=include_name)
migrate.init_app(app, SQLAlchemy(app))
with app.app_context():
    flask_migrate.init()
    flask_migrate.migrate()
"""


def test_flask_migrate_hands_the_hook_on(shared, tmp_path):
    # A process of its own: its env.py sets logging up for all of the process.
    command_line = [sys.executable, "-c", FLASK_MIGRATE, sqlalchemy_url(shared)]
    subprocess.run(command_line, check=True, cwd=tmp_path, capture_output=True, timeout=60)
    [revision] = (tmp_path / "migrations" / "versions").glob("*.py")
    assert drops(revision) == {*OWN_DROPS, "kept"}
