"""`otel-ratelimit db`: creates, upgrades and removes the tables of the analytics database."""

from __future__ import annotations

from dataclasses import asdict

import click

from otel_ratelimit.cli.chosen_database import chosen_database, database_errors, database_url_option
from otel_ratelimit.cli.db_maintain import maintain_command
from otel_ratelimit.cli.output import as_json_option, print_json, print_progress
from otel_ratelimit.postgres.migrate import current, downgrade, plan_downgrade, upgrade


@click.group()
def db() -> None:
    """Create the tables of the analytics database, and maintain them."""


@db.command("upgrade")
@database_url_option
@click.option("--revision", default="head", show_default=True, help="The last step to carry out.")
def upgrade_command(database_url: str | None, revision: str) -> None:
    """Carry out the pending migration steps; safe to run again, and by several processes at once."""
    with database_errors(), chosen_database(database_url) as url:
        applied = upgrade(url, revision=revision, report=print_progress)
    click.echo(f"carried out: {', '.join(applied)}" if applied else "nothing to do")


@db.command("downgrade")
@database_url_option
@click.option("--revision", default="base", show_default=True, help="The last step to keep; base keeps none.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def downgrade_command(database_url: str | None, revision: str, yes: bool) -> None:
    """Undo migration steps, the last one first. The data in their tables are lost."""
    with database_errors(), chosen_database(database_url) as url:
        plan = plan_downgrade(url, revision=revision)
        if plan.steps and not yes:
            lost = f"All data in these tables are lost: {', '.join(plan.tables)}.\n" if plan.tables else ""
            click.confirm(f"This undoes {', '.join(plan.steps)}.\n{lost}Go on?", abort=True, err=True)
        undone = downgrade(url, revision=revision, report=print_progress)
    click.echo(f"undone: {', '.join(undone)}" if undone else "nothing to do")


@db.command("current")
@database_url_option
@as_json_option
def current_command(database_url: str | None, as_json: bool) -> None:
    """Show the last migration step that was carried out, and the pending ones."""
    with database_errors(), chosen_database(database_url) as url:
        found = current(url)
    if as_json:
        print_json(asdict(found))
    else:
        pending = f"pending: {', '.join(found.pending)}" if found.pending else "up to date"
        click.echo(f"{found.revision or 'no step carried out yet'}; {pending}")


db.add_command(maintain_command)
