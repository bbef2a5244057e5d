"""``python -m bench.scale``: whether a huge backlog costs the same per item as one of a tenth, and no more memory.

At full size: 1,000,000 ephemeral rows, 200,000 expired reservations on 5,000 items, 100,000 emails to an instant
provider, 100,000 webhooks whose raw payload is due, and 2,000 people who leave with all they have.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final, get_args

import click
from rich.console import Console
from rich.table import Table

from bench.email_outbox import SlowProvider
from bench.shops import Shops, due_emails, fill, shops
from bench.subtasks import CASES, Case, Cost, apart, cost_of, filled, peak_mb_now
from mika_ops.clock import Clock, utc_now
from mika_ops.deadline import never_out_of_time
from mika_ops.email.content.renderer import Brand, EmailRenderer
from mika_ops.email.outbox.outbox import LeasedOutbox
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.opening import open_database
from mika_ops_testing.sites import DatabaseKind

FULL: Final = {
    "ephemeral purge": 1_000_000,
    "stock release": 200_000,
    "emails": 100_000,
    "raw payloads": 100_000,
    "account deletes": 2_000,
}

MOST_MB: Final = 150
"""The most resident memory that a subtask may take beyond what its process had."""

MOST_PER_ITEM: Final = 1.3
"""The most that an item may cost, as a multiple of what it costs in a shop of a tenth."""


@dataclass(frozen=True)
class Scaled:
    """One subtask at two sizes: what an item costs, as a multiple of the smaller, and the memory of the larger."""

    name: str
    database: str
    size: int
    seconds: float
    per_item: float
    peak_mb: float


def _emails(shop: Database, count: int) -> None:
    fill(shop, "ops", due_emails(count))


def _no_floor(*_: object) -> None:
    """Nothing is compared with the least that could be: two sizes are."""


def _drained(url: str, size: int) -> Cost:
    with open_database(url) as database:
        ops, ledger = Documents(database, "ops"), Documents(database, "ledger")
        outbox = LeasedOutbox(ops, ledger, SlowProvider(0), EmailRenderer(Brand()), concurrency=16)
        outbox.drain(
            Clock.at(utc_now()), limit=0, out_of_time=never_out_of_time
        )  # warms the connection and the templates
        before, started = peak_mb_now(), time.perf_counter()
        drained = outbox.drain(Clock.at(utc_now()), limit=None, out_of_time=never_out_of_time)
        assert drained.sent == size, drained.error
        return Cost(time.perf_counter() - started, peak_mb_now() - before)


def scaled(made: Shops, kind: DatabaseKind, name: str, size: int, *, against: int | None = None) -> Scaled:
    """Measure a subtask on a backlog of ``size``, and on one of ``against``, or a tenth."""
    smaller = size // 10 if against is None else against
    case = Case("emails", "email_outbox", size, _emails, _no_floor, {}) if name == "emails" else _CASES[name]
    costs = []
    for count in (smaller, size):
        url = filled(made, case, count).new()
        work: Callable[[], Cost] = (
            partial(_drained, url, count) if name == "emails" else partial(cost_of, url, case, count)
        )
        costs.append(apart(work))
    small, large = costs
    return Scaled(name, kind, size, large.seconds, large.seconds / size / (small.seconds / smaller), large.peak_mb)


_CASES: Final[dict[str, Any]] = {case.name: case for case in CASES}


@click.command()
@click.option("--scale", default=1.0, show_default=True, help="The sizes, as a part of the full ones.")
@click.option("--database", multiple=True, type=click.Choice(get_args(DatabaseKind)), help="On these databases only.")
@click.option("--only", multiple=True, type=click.Choice(list(FULL)), help="These backlogs only.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON instead of a table.")
def main(scale: float, database: tuple[DatabaseKind, ...], only: tuple[str, ...], *, as_json: bool) -> None:
    """Measure, and mark what is more than wanted."""
    found = []
    for kind in database or get_args(DatabaseKind):
        with shops(kind) as made:
            found += [scaled(made, kind, name, round(FULL[name] * scale)) for name in only or FULL]
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found]))
        return
    table = Table("backlog", "database", "seconds", f"per item (≤ {MOST_PER_ITEM})", f"MB (≤ {MOST_MB})")
    for each in found:
        name = f"{each.name}, {each.size:,}"
        table.add_row(name, each.database, f"{each.seconds:.1f}", f"{each.per_item:.2f}", f"{each.peak_mb:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
