"""``make bench``: what maintenance costs, as ratios against a bare floor measured in the same run."""

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from bench.idle_run import idle_run

RESULTS = Path(__file__).parent / "results"


@click.command()
@click.option("--repetitions", default=7, show_default=True, help="Measured turns of each; the median counts.")
def main(repetitions: int) -> None:
    """Measure, print a table, and write it as JSON into bench/results/."""
    measured = {"whole idle run / one-op Dagster run": idle_run(repetitions)}
    table = Table("", "ours s", "floor s", "ratio")
    for name, figures in measured.items():
        table.add_row(name, f"{figures['ours_s']:.2f}", f"{figures['floor_s']:.2f}", f"{figures['ratio']:.2f}")
    Console().print(table)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "bench.json").write_text(json.dumps(measured, indent=2) + "\n")


if __name__ == "__main__":
    main()
