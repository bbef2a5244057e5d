"""The commands about alerts.

Exit codes: 0 every channel accepted the alert, 1 at least one did not, 2 no channel is configured or a setting is
invalid.
"""

import sys

import click

from mika_ops.cli.errors import fail, read_shop, reports_errors
from mika_ops.ports.alerts import Alert


@click.group()
def alerts() -> None:
    """The alerts about failed maintenance."""


@alerts.command("test")
@reports_errors
def send_test() -> None:
    """Send one test alert to every address of MIKA_ALERT_URLS.

    Exits with 0 if all accepted it, 1 if one did not, and 2 if none is set or one is invalid.
    """
    shop = read_shop()
    settings, variable = shop.settings, shop.names("alert_urls")
    if not settings.alert_urls:
        fail(f"{variable} is not set: alerts are only logged; set it to Apprise addresses, separated by commas")
    # Imported only when there are addresses: Apprise takes long to import.
    from mika_ops.alerting.channels import NotDelivered, channels

    alert = Alert(
        job="mika_maintenance",
        run_id="",
        kind="test",
        title="mika_maintenance: test",
        sentence=f"This is a test of the alerts of {settings.site_name}: nothing has failed.",
        url=settings.dagster_url,
    )
    accepted = 0
    for number, channel in enumerate(channels(shop), start=1):
        try:
            channel.send(alert)
        except NotDelivered as error:
            click.echo(f"mika-ops: the test alert was not delivered: {error}", err=True)
        else:
            accepted += 1
            click.echo(f"Accepted by number {number} of {variable}.")
    sys.exit(0 if accepted == len(settings.alert_urls) else 1)
