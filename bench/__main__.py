"""``make bench``: what maintenance costs, as ratios against a bare floor measured in the same run."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import click
from rich.console import Console
from rich.table import Table

from bench.email_outbox import at_once_against_one_at_a_time, instant_against_two_writes
from bench.idle_run import idle_run
from bench.shops import shops
from mika_ops_tests.sites import DatabaseKind

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figure:
    """One comparison: seconds of ours and of the floor, and what their ratio should be at most."""

    name: str
    ours: float
    floor: float
    wanted: float

    @property
    def ratio(self) -> float:
        """Ours as a multiple of the floor."""
        return self.ours / self.floor


def figures(repetitions: int) -> Iterator[Figure]:
    """Measure one comparison after the other."""
    yield Figure("whole idle run / one-op Dagster run", *idle_run(repetitions), wanted=1.2)
    for kind in get_args(DatabaseKind):
        with shops(kind) as made:
            yield Figure(
                f"{kind}: 2,000 emails, instant provider / two bulk writes an email",
                *instant_against_two_writes(made),
                wanted=2.0,
            )
            yield Figure(
                f"{kind}: 1,000 emails at 20 ms, 16 at once / one at a time",
                *at_once_against_one_at_a_time(made),
                wanted=1 / 12,
            )


@click.command()
@click.option("--repetitions", default=7, show_default=True, help="Measured turns of the idle run; the median counts.")
def main(repetitions: int) -> None:
    """Measure, print a table, and write it as JSON into bench/results/."""
    table = Table("", "ours s", "floor s", "ratio", "wanted")
    measured = list(figures(repetitions))
    for each in measured:
        table.add_row(each.name, f"{each.ours:.2f}", f"{each.floor:.2f}", f"{each.ratio:.3g}", f"≤ {each.wanted:.3g}")
    Console().print(table)
    RESULTS.mkdir(exist_ok=True)
    rows = [{"name": each.name, "ours_s": each.ours, "floor_s": each.floor, "ratio": each.ratio} for each in measured]
    (RESULTS / "bench.json").write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
