"""``python -m bench.chart``: draws what ``make bench`` measured, as ``docs/performance.svg``."""

import json
from pathlib import Path
from typing import Any, Final

import click
import pygal
from pygal.style import Style

MEASURED: Final = Path(__file__).parent / "results" / "bench.json"
CHART: Final = Path(__file__).resolve().parents[1] / "docs" / "performance.svg"

DATABASES: Final = {"sqlite": "SQLite", "postgres": "Postgres"}
BESIDE: Final = "/ bare SQL"
"""In the name of a measurement: it compares a subtask with the floor that its database sets."""


def chart(measured: list[dict[str, Any]]) -> pygal.HorizontalBar:
    """Return a bar for each subtask and database: ours as a multiple of the floor."""
    by_name: dict[str, dict[str, float]] = {}
    for measurement in measured:
        name, separator, _ = measurement["name"].partition(f" {BESIDE}")
        if separator:
            by_name.setdefault(name, {})[measurement["database"]] = round(measurement["ratio"], 2)
    drawn = pygal.HorizontalBar(
        style=Style(
            font_family="sans-serif",
            label_font_size=14,
            legend_font_size=14,
            title_font_size=16,
            value_font_size=13,
            background="white",
            plot_background="white",
            colors=("#2f5d8c", "#b3592d"),
            value_colors=("white", "white"),
        ),
        title="Time of each subtask, as a multiple of bare SQL that makes the same change",
        width=900,
        height=420,
        range=(0, max(ratio for ratios in by_name.values() for ratio in ratios.values())),
        print_values=True,
        print_values_position="center",
        legend_at_bottom=True,
        order_min=0,
        formatter=lambda ratio: f"{ratio:.2f}",
        js=(),
    )
    names = list(reversed(by_name))  # the first is drawn at the bottom
    drawn.x_labels = names
    for database, title in DATABASES.items():
        drawn.add(title, [by_name[name].get(database) for name in names])
    return drawn


@click.command()
def main() -> None:
    """Draw the chart."""
    chart(json.loads(MEASURED.read_text())["measured"]).render_to_file(str(CHART))


if __name__ == "__main__":
    main()
