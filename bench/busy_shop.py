"""``python -m bench.busy_shop``: how long a storefront's writes wait while maintenance runs, and while it does not.

The storefront writes a hundred times a second: it reserves stock, edits documents and adds emails, by a connection of
its own, while all nine subtasks drain a backlog.
"""

import json
from dataclasses import asdict, dataclass
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from mika_ops.clock import utc_now
from mika_ops.config.loading import isolated_settings
from mika_ops.config.shop import Shop
from mika_ops.orchestration.run_once import run_once
from mika_ops.timestamps import to_timestamp
from mika_ops_testing.shop_at_work import shop_at_work
from mika_ops_testing.sites import DatabaseKind, sites
from mika_ops_testing.storefront import busy_storefront, in_wal_mode

MODES: Final[dict[str, DatabaseKind]] = {
    "SQLite, rollback journal": "sqlite",
    "SQLite, write-ahead log": "sqlite",
    "Postgres": "postgres",
}

LONGEST_WAIT_MS: Final = 250
"""The longest that 99 of 100 writes of the storefront may take."""

EDITED: Final = [f"stuck_{number:02}" for number in range(20)]


@dataclass(frozen=True)
class Waits:
    """Milliseconds that writes of the storefront took: half of them, 99 of 100, and the longest."""

    half: float
    p99: float
    longest: float
    writes: int
    errors: int


def waits(mode: str, *, copies: int) -> Waits:
    """Let a storefront write while maintenance drains a shop, whose backlog is so many times that of the tests."""
    with sites(MODES[mode]) as made:
        url = made.new()
        if "write-ahead" in mode:
            in_wal_mode(url)
        with shop_at_work(url, copies=copies) as world, busy_storefront(url, EDITED) as storefront:
            report = run_once(Shop(isolated_settings(**world.settings)), now=to_timestamp(utc_now()))
        assert report.success, report.subtasks
        half, p99, longest = (storefront.percentile(share) * 1000 for share in (0.5, 0.99, 1.0))
        return Waits(half, p99, longest, len(storefront.latencies), len(storefront.errors))


@click.command()
@click.option("--copies", default=10, show_default=True, help="How many times the backlog of the tests' shop.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON instead of a table.")
def main(copies: int, *, as_json: bool) -> None:
    """Measure, and say where a wait is longer than it may be."""
    found = {mode: waits(mode, copies=copies) for mode in MODES}
    if as_json:
        click.echo(json.dumps({mode: asdict(each) for mode, each in found.items()}))
        return
    table = Table("database", "writes", "half within ms", "99 of 100 within ms", "longest ms", "refused")
    for mode, each in found.items():
        mark = "" if each.p99 <= LONGEST_WAIT_MS else f" (wanted {LONGEST_WAIT_MS})"
        table.add_row(
            mode,
            str(each.writes),
            f"{each.half:.1f}",
            f"{each.p99:.0f}{mark}",
            f"{each.longest:.0f}",
            str(each.errors),
        )
    Console().print(table)


if __name__ == "__main__":
    main()
