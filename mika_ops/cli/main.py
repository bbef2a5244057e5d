"""The command ``mika-ops``: its groups, and ``mika-ops db``.

Exit codes of ``db prepare``: 0 everything is there, 2 the call, a setting or the database is invalid.
"""

import click

from mika_ops.cli.account_deletes import account_deletes
from mika_ops.cli.alerts import alerts
from mika_ops.cli.backlog import backlog
from mika_ops.cli.doctor import doctor
from mika_ops.cli.email import email
from mika_ops.cli.errors import read_shop, reports_errors
from mika_ops.cli.run import run
from mika_ops.store.migrate import prepare_indexes, prepare_site_indexes, prepare_tables
from mika_ops.store.schema.own import own


@click.group()
@click.version_option(package_name="mika-ops")
def main() -> None:
    """The scheduled maintenance of a Mika storefront."""


@main.group()
def db() -> None:
    """The tables and indexes of mika-ops in the shop's database."""


@db.command()
@reports_errors
def prepare() -> None:
    """Create what is missing: the tables of ACP checkout sessions, and the indexes that maintenance needs.

    EmDash 0.22 to 0.32 creates no index on documents. Those created here have the names and expressions of later
    releases, which find them. Two more indexes hold unfinished documents only: with them, a query of the backlog costs
    the same however many documents are finished.

    On Postgres, the shop goes on writing meanwhile, and only the owner of the table may create indexes. On SQLite,
    writers wait for about a second in a shop of a hundred thousand documents.
    """
    from mika_ops.assembly import open_shop_database

    shop = read_shop()
    with open_shop_database(shop, to_prepare=True) as database:
        prepare_tables(database)
        of_emdash = prepare_site_indexes(database)
    # Opened again: with these indexes, every document is known to be JSON.
    with open_shop_database(shop) as database:
        of_ours = prepare_indexes(database)
    click.echo(f"Tables that exist now: {', '.join(own.tables)}.")
    click.echo(f"Indexes created with EmDash's names: {', '.join(of_emdash) or 'none, all that are needed exist'}.")
    click.echo(f"Indexes created of mika-ops: {', '.join(of_ours) or 'none, they exist'}.")


for command in (run, account_deletes, alerts, backlog, doctor, email):
    main.add_command(command)


if __name__ == "__main__":
    main()
