"""The commands about alerts.

Exit codes: 0 it arrived, 1 it did not, 2 no channel is configured, or a setting is wrong.
"""

import sys

import click

from mika_ops.cli.errors import fail, read_shop, reports_errors
from mika_ops.ports.alerts import Alert


@click.group()
def alerts() -> None:
    """The alerts about maintenance that goes wrong."""


@alerts.command("test")
@reports_errors
def send_test() -> None:
    """Send one test alert to every address of MIKA_ALERT_URLS.

    Exits with 0 where all took it, 1 where one did not, and 2 where none is set or one is wrong.
    """
    shop = read_shop()
    settings, variable = shop.settings, shop.names("alert_urls")
    if not settings.alert_urls:
        fail(f"{variable} is not set: alerts are only logged; set it to Apprise addresses, separated by commas")
    # Loaded for those who have addresses only: Apprise takes a while.
    from mika_ops.alerting.channels import NotDelivered, channels

    alert = Alert(
        job="mika_maintenance",
        run_id="",
        kind="test",
        title="mika_maintenance: test",
        sentence=f"This is a test of the alerts of {settings.site_name}: nothing is wrong.",
        url=settings.dagster_url,
    )
    arrived = 0
    for number, channel in enumerate(channels(shop), start=1):
        try:
            channel.send(alert)
        except NotDelivered as error:
            click.echo(f"mika-ops: the test alert was not delivered: {error}", err=True)
        else:
            arrived += 1
            click.echo(f"Taken by number {number} of {variable}.")
    sys.exit(0 if arrived == len(settings.alert_urls) else 1)
