"""The command ``mika-ops account-deletes``: rechecks deletes that the site's own maintenance completed.

Exit codes of ``recheck``: 0 all were rechecked, 1 some could not be, 2 nothing was changed, as the call, a setting or
the database is invalid.
"""

import json
import sys
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from mika_ops.cli.errors import fail, read_shop, reports_errors
from mika_ops.cli.tables import show
from mika_ops.clock import Clock, utc_now
from mika_ops.redaction import redact
from mika_ops.subtasks.account_delete.recheck import RecheckedRequest, RecheckResult, recheck


@click.group("account-deletes")
def account_deletes() -> None:
    """Requests to delete an account."""


@account_deletes.command("recheck")
@click.option("--all", "everything", is_flag=True, help="Recheck every completed request, not only unchecked ones.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Show what would be changed; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@reports_errors
def recheck_command(everything: bool, is_dry: bool, as_json: bool) -> None:
    """Remove what is left of people whose account delete was completed by the site's own maintenance.

    The site's maintenance leaves personal data behind, for instance in webhooks, in checkouts of guests and in sent
    emails. This finds what is left, removes it, and records the steps on the requests. It may be run again at any time.
    With --dry-run, ACP sessions are not counted.
    """
    shop = read_shop()
    from mika_ops.assembly import open_host

    with open_host(shop) as host:
        if host.ops is None or host.account is None or host.ledger is None or host.session is None:
            fail(f"{shop.names('database_url')} is not set: there is no database to recheck")
        result = recheck(host, Clock.at(utc_now()), everything=everything, is_dry=is_dry)
    if as_json:
        click.echo(json.dumps(_facts(result, is_dry=is_dry)))
    else:
        _print(result, is_dry=is_dry)
    if result.malformed_ids or any(request.error for request in result.requests):
        sys.exit(1)


def _facts(result: RecheckResult, *, is_dry: bool) -> dict[str, Any]:
    return {
        "dry_run": is_dry,
        "rechecked": sum(request.error is None for request in result.requests),
        "failed": sum(request.error is not None for request in result.requests),
        "with_leftovers": sum(bool(request.documents) for request in result.requests),
        "malformed_ids": list(result.malformed_ids),
        "requests": [
            {"id": request.request_id, "documents": dict(request.documents), "error": _error_of(request)}
            for request in result.requests
        ],
    }


def _print(result: RecheckResult, *, is_dry: bool) -> None:
    shown = [request for request in result.requests if request.documents or request.error]
    if shown:
        table = Table(title="Account deletes with leftovers", title_justify="left", expand=False)
        table.add_column("request", overflow="fold")
        table.add_column("documents by step, or why not", overflow="fold")
        for request in shown:
            counts = ", ".join(f"{step} {count:g}" for step, count in request.documents.items())
            table.add_row(Text(request.request_id), Text("; ".join(filter(None, (counts, _error_of(request))))))
        show(table)
    for id_ in result.malformed_ids:
        click.echo(f"Not rechecked: {id_}: the request cannot be read; fix or remove it", err=True)
    done = (
        f"{len(result.requests):,} completed account deletes, {sum(bool(r.documents) for r in shown):,} with leftovers"
    )
    click.echo(f"{'Would recheck' if is_dry else 'Rechecked'}: {done}.")


def _error_of(request: RecheckedRequest) -> str | None:
    return None if request.error is None else redact(request.error)
