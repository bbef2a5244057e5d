"""What maintenance keeps in order, as assets: one for each subtask, whose page plots what the subtask did and left.

Dagster does not materialize them; runs observe them. The UI plots the last hundred observations of an asset, so a run
observes only what it did something to, and all of them where it is a heartbeat. The long view is kept by two more
assets: ``hourly`` and ``daily``, the sums and maxima of all subtasks.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Final

import dagster as dg

from mika_ops.config.settings import Settings
from mika_ops.monitoring.metrics import Metrics, had_work, subtask_metrics
from mika_ops.monitoring.snapshot import ShopSnapshot
from mika_ops.subtasks.outcome import NotChosen, Outcome, count_statuses
from mika_ops.subtasks.registry import SUBTASKS

PREFIX: Final = "mika"
"""What the keys of all assets start with, and the name of their group."""

SHOP: Final = "shop"
HOURLY: Final = "hourly"
DAILY: Final = "daily"

_WHOLE: Final = {
    SHOP: "The shop as a whole: how the subtasks of its runs ended, and what they left.",
    HOURLY: "What all subtasks did and left, hour by hour: sums of what was done, maxima of what was left.",
    DAILY: "What all subtasks did and left, day by day (UTC): sums of what was done, maxima of what was left.",
}
"""The assets that are no one subtask's. No subtask has such a name."""


def asset_key(name: str, shop: str | None) -> dg.AssetKey:
    """Return the key of an asset: ``mika/stuck_emails``, of a shop with a name ``mika/eu/stuck_emails``."""
    return dg.AssetKey([PREFIX, *([] if shop is None else [shop]), name])


def shop_assets(settings: Settings, shop: str | None) -> list[dg.AssetSpec]:
    """Return the assets of a shop: one for each subtask, and those of the shop as a whole."""
    observed = "Observed by every run in which it did something or failed, and by every heartbeat."
    described = {subtask.name: f"{subtask.description}\n\n{observed}" for subtask in SUBTASKS} | _WHOLE
    return [
        dg.AssetSpec(
            asset_key(name, shop),
            description=description,
            group_name=PREFIX if shop is None else f"{PREFIX}_{shop}",
            owners=settings.asset_owners,
            kinds=_kinds(settings),
        )
        for name, description in described.items()
    ]


def is_heartbeat(now: datetime, last_started: datetime | None, *, every: timedelta) -> bool:
    """Say whether a run is the first in its stretch of time, so that it observes everything whatever it did."""
    return last_started is None or now.timestamp() // every.total_seconds() != (
        last_started.timestamp() // every.total_seconds()
    )


def observations(
    outcomes: Mapping[str, Outcome], standing: ShopSnapshot | None, shop: str | None, *, heartbeat: bool
) -> list[dg.AssetObservation]:
    """Return what a run observes: the subtasks that did something, or all at a heartbeat, and then the shop."""
    chosen = {
        subtask: outcome
        for subtask in SUBTASKS
        if (outcome := outcomes.get(subtask.name)) is not None and not isinstance(outcome, NotChosen)
    }
    worth_it = {subtask: outcome for subtask, outcome in chosen.items() if heartbeat or had_work(outcome)}
    seen = [
        dg.AssetObservation(
            asset_key(subtask.name, shop),
            metadata={"status": outcome.status, **subtask_metrics(subtask, outcome, standing)},
        )
        for subtask, outcome in worth_it.items()
    ]
    return [*seen, _of_shop(chosen.values(), standing, shop)] if seen else []


def numeric_metadata(observation: dg.AssetObservation | None) -> Metrics:
    """Return the figures that an observation holds."""
    told = {} if observation is None else {name: value.value for name, value in observation.metadata.items()}
    return {name: value for name, value in told.items() if isinstance(value, int | float)}


def _of_shop(chosen: Collection[Outcome], standing: ShopSnapshot | None, shop: str | None) -> dg.AssetObservation:
    numbers: dict[str, int] = count_statuses(chosen)
    numbers["duration_ms"] = sum(outcome.duration_ms for outcome in chosen)
    if standing is not None:
        numbers["due"] = standing.backlog.total
        numbers["failed_for_good"] = sum(due.count for due in standing.failed.values())
    return dg.AssetObservation(asset_key(SHOP, shop), metadata=numbers)


def _kinds(settings: Settings) -> set[str]:
    """Return what the UI shows as an asset's kind: the database that it is in."""
    if settings.database_url is None:
        return set()
    name = settings.database_url.get_secret_value().partition(":")[0].partition("+")[0]
    return {"postgres" if name.startswith("postgres") else name}
