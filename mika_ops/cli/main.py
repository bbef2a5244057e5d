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
from mika_ops.store.migrate import prepare_indexes, prepare_tables
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
    """Create the tables of ACP checkout sessions and two small indexes, where they do not exist yet.

    The indexes hold unfinished documents only. With them, a query of the backlog costs the same however many documents
    are finished. Everything works without them.
    """
    from mika_ops.assembly import open_shop_database

    with open_shop_database(read_shop()) as database:
        prepare_tables(database)
        created = prepare_indexes(database)
    click.echo(f"Ready: {', '.join(own.tables)}; indexes created: {', '.join(created) or 'none, they exist'}.")


for command in (run, account_deletes, alerts, backlog, doctor, email):
    main.add_command(command)


if __name__ == "__main__":
    main()
