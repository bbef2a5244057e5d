"""``make bench``: what maintenance costs, as ratios against a bare floor measured in the same run."""

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, get_args

import click
from rich.console import Console
from rich.table import Table

from bench.email_outbox import at_once_against_one_at_a_time, drained_at_once, instant_against_two_writes
from bench.idle_run import idle_run
from bench.idle_tick import measure_query
from bench.scale import FULL, scaled
from bench.shops import Shops, shops
from bench.subtasks import CASES, measured
from mika_ops_testing.sites import DatabaseKind

RESULTS: Final = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Measurement:
    """One comparison: seconds of ours and of the floor, and what their ratio should be at most."""

    name: str
    database: str
    ours: float
    floor: float
    wanted: float
    peak_mb: float | None = None
    statements: int | None = None
    transactions: int | None = None

    @property
    def counted(self) -> tuple[float | None, int | None, int | None]:
        """Peak resident memory in MB, statements and transactions of ours, where they were counted."""
        return self.peak_mb, self.statements, self.transactions

    @property
    def ratio(self) -> float:
        """Ours as a multiple of the floor."""
        return self.ours / self.floor


def measurements(parts: tuple[str, ...], kinds: tuple[DatabaseKind, ...], repetitions: int) -> Iterator[Measurement]:
    """Measure one comparison after the other."""
    if "run" in parts:
        yield Measurement("whole idle run / one-op Dagster run", "–", *idle_run(2 * repetitions + 1), wanted=1.15)
    for kind in kinds:
        with shops(kind) as made:
            for part, measure in _OF_A_DATABASE.items():
                if part in parts:
                    yield from measure(made, kind, repetitions)


def _tick(made: Shops, kind: DatabaseKind, _repetitions: int) -> Iterator[Measurement]:
    small, large = (measure_query(made, scale, prepared=True) for scale in (0.1, 1.0))
    yield Measurement("idle tick, 62,000 documents / probes", kind, large.ours, large.floor, wanted=1.5)
    yield Measurement("idle tick, ten times as much finished / once", kind, large.ours, small.ours, wanted=1.1)


def _subtasks(made: Shops, kind: DatabaseKind, repetitions: int) -> Iterator[Measurement]:
    for case in CASES:
        found = measured(made, case, repetitions=repetitions)
        cost = found.ours
        counted = cost.peak_mb, cost.statements, cost.transactions
        name = f"{case.name}, {found.size:,} / bare SQL"
        yield Measurement(name, kind, cost.seconds, found.floor.seconds, case.wanted[kind], *counted)


def _emails(made: Shops, kind: DatabaseKind, repetitions: int) -> Iterator[Measurement]:
    instant = instant_against_two_writes(made, 5_000, repetitions=repetitions)
    yield Measurement("emails, 5,000, instant provider / two bulk writes", kind, *instant, _INSTANT[kind])
    drains = drained_at_once(made)
    yield Measurement("emails, 2,000 at 20 ms, 16 at once / the latency", kind, drains.at_once, drains.latency, 1.25)
    name = "the same / the latency or two bulk writes, which is longer"
    yield Measurement(name, kind, drains.at_once, drains.floor, 1.25)
    at_once = at_once_against_one_at_a_time(made)
    yield Measurement("emails, 1,000 at 20 ms, 16 at once / one by one", kind, *at_once, 1 / 12)


def _growth(made: Shops, kind: DatabaseKind, _repetitions: int) -> Iterator[Measurement]:
    """What an item costs in a backlog, against one of a tenth; of account deletes, of an eighth as well."""
    for name, parts, wholes in (*((name, size // 100, size // 10) for name, size in FULL.items()), _DELETES):
        found = scaled(made, kind, name, wholes, against=parts)
        yield Measurement(
            f"{name}, an item among {wholes:,} / among {parts:,}",
            kind,
            found.seconds / wholes,
            found.seconds / wholes / found.per_item,
            1.1,
            found.peak_mb,
        )


_OF_A_DATABASE: Final = {"tick": _tick, "subtasks": _subtasks, "emails": _emails, "growth": _growth}

PARTS: Final = ("run", *_OF_A_DATABASE)

_DELETES: Final = ("account deletes", 100, 800)

_INSTANT: Final = {"sqlite": 1.8, "postgres": 1.4}


@click.command()
@click.option("--only", multiple=True, type=click.Choice(PARTS), help="Measure these parts only.")
@click.option("--database", multiple=True, type=click.Choice(get_args(DatabaseKind)), help="On these databases only.")
@click.option("--repetitions", default=3, show_default=True, help="Turns of each measurement; the median counts.")
def main(only: tuple[str, ...], database: tuple[DatabaseKind, ...], repetitions: int) -> None:
    """Measure, print a table, and write it as JSON into bench/results/."""
    RESULTS.mkdir(exist_ok=True)
    table = Table("", "database", "ours s", "floor s", "ratio", "wanted", "peak MB", "statements", "transactions")
    rows = []
    for each in measurements(only or PARTS, database or get_args(DatabaseKind), repetitions):
        table.add_row(
            each.name,
            each.database,
            f"{each.ours:.3g}",
            f"{each.floor:.3g}",
            f"{each.ratio:.3g}",
            f"≤ {each.wanted:.3g}",
            *("–" if number is None else f"{number:.0f}" for number in each.counted),
        )
        rows.append({**asdict(each), "ratio": each.ratio})
        # After each, for all of it takes long.
        report = {"machine": f"{os.cpu_count()} cores, {platform.machine()}", "measured": rows}
        (RESULTS / "bench.json").write_text(json.dumps(report, indent=2) + "\n")
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
