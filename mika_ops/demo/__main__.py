"""The demo on the command line: ``python -m mika_ops.demo run`` and ``… dev``, as ``make demo`` and ``make dev``."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import click
from sqlalchemy import create_engine, inspect

from mika_ops.cli.shop import backlog_of
from mika_ops.cli.tables import run_table, show
from mika_ops.clock import utc_now
from mika_ops.config.shop import Shop
from mika_ops.demo.embedded_postgres import PostgresNotInstalled, embedded_postgres
from mika_ops.demo.process_group import run_in_process_group
from mika_ops.demo.settings import DATABASE_URL_VARIABLE, OUTBOX_VARIABLE, demo_settings
from mika_ops.demo.shop import demo_shop
from mika_ops.orchestration.run_once import run_once
from mika_ops.store.schema.own import own
from mika_ops.store.schema.site import create_site, plugin_storage
from mika_ops.timestamps import to_timestamp

DIRECTORY = Path("demo")
DEFINITIONS = "mika_ops.demo.definitions"
SUPERSEDED = "Function `dev_command` is superseded"
"""Dagster recommends another command, which needs a project of another kind. The demo does not show this warning."""
Kind = Literal["sqlite", "postgres"]

database_option = click.option(
    "--database", type=click.Choice(["sqlite", "postgres"]), default="sqlite", show_default=True
)


@click.group()
def main() -> None:
    """Try mika-ops on a demo shop in the folder demo/."""


@main.command()
@database_option
def run(database: Kind) -> None:
    """Create the shop if it does not exist, run maintenance once, and show the result."""
    os.environ.setdefault("DAGSTER_HOME", str(Path.cwd()))
    logging.getLogger("dagster").setLevel(logging.WARNING)
    with _shop(database) as url:
        shop = Shop(demo_settings(url, _outbox(database)))
        now = to_timestamp(utc_now())
        backlog = backlog_of(shop, now)
        click.echo(f"The demo shop is in {DIRECTORY}/ ({database}). Waiting for maintenance: {backlog.total}.")
        report = run_once(shop, now=now)
        show(run_table(report.subtasks, backlog_of(shop, now)))
        skipped = {name for name, outcome in report.subtasks.items() if outcome.status == "skipped"}
        if not any(due.count for name, due in backlog.due.items() if name not in skipped):
            click.echo("Nothing was due: the last run did all of it. For a new shop, run `rm -r demo` first.")
        emails = len(list(_outbox(database).glob("*.eml")))
        click.echo(f"Emails sent so far: {emails}, as .eml files in {_outbox(database)}/")
        click.echo("See the run in Dagster: make dev, then open http://127.0.0.1:3000")
    sys.exit(0 if report.success else 1)


@main.command()
@database_option
@click.option("--port", default=3000, show_default=True)
def dev(database: Kind, port: int) -> None:
    """Open Dagster's UI on 127.0.0.1, with the schedule running on the demo shop."""
    with _shop(database) as url:
        environment = {
            **os.environ,
            "DAGSTER_HOME": os.environ.get("DAGSTER_HOME", str(Path.cwd())),
            DATABASE_URL_VARIABLE: url,
            OUTBOX_VARIABLE: str(_outbox(database).absolute()),
        }
        code = run_in_process_group(
            [
                *(sys.executable, "-W", f"ignore:{SUPERSEDED}", "-m", "dagster", "dev", "--module-name", DEFINITIONS),
                *("--host", "127.0.0.1", "--port", str(port)),
            ],
            environment,
        )
    sys.exit(code)


@contextmanager
def _shop(kind: Kind) -> Iterator[str]:
    """Yield the URL of the demo shop, which is created if it does not exist."""
    DIRECTORY.mkdir(exist_ok=True)
    with _server(kind) as url:
        _create_if_missing(url)
        yield url


@contextmanager
def _server(kind: Kind) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{(DIRECTORY / 'shop.db').absolute()}"
        return
    try:
        with embedded_postgres(DIRECTORY / "postgres") as url:
            yield url
    except PostgresNotInstalled as error:
        raise click.ClickException(str(error)) from None


def _create_if_missing(url: str) -> None:
    """Create the tables of a site and fill them, in one transaction."""
    engine = create_engine(url)
    with engine.begin() as connection:
        if not inspect(connection).has_table(plugin_storage.name):
            create_site(connection)
            own.create_all(connection)
            demo_shop(utc_now()).write(connection)
    engine.dispose()


def _outbox(kind: Kind) -> Path:
    return DIRECTORY / f"outbox-{kind}"


if __name__ == "__main__":
    main()
