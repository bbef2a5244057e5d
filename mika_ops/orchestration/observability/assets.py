"""The assets: one for each subtask, whose page plots what the subtask did and the backlog that it left.

Runs do not materialize the assets; they observe them. The UI plots the last hundred observations of an asset, so a run
observes only the subtasks that had work, and a heartbeat observes all. Two more assets keep the long view: ``hourly``
and ``daily`` hold the sums and maxima of all subtasks.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Final

import dagster as dg

from mika_ops.config.settings import Settings
from mika_ops.config.shop import Shop
from mika_ops.monitoring.metrics import Metrics, had_work, subtask_metrics
from mika_ops.monitoring.snapshot import ShopSnapshot
from mika_ops.subtasks.outcome import NotChosen, Outcome, count_statuses
from mika_ops.subtasks.registry import SUBTASKS

PREFIX: Final = "mika"
"""The first part of the key of each asset, and the name of their group."""

SHOP: Final = "shop"
HOURLY: Final = "hourly"
DAILY: Final = "daily"

_OF_THE_SHOP: Final = {
    SHOP: "The whole shop: the number of subtasks by status, and the backlog that a run left.",
    HOURLY: "All subtasks by hour: sums of the work done, maxima of the backlog.",
    DAILY: "All subtasks by day (UTC): sums of the work done, maxima of the backlog.",
}
"""The assets that belong to no single subtask. No subtask has one of these names."""


def asset_key(name: str, shop_name: str | None) -> dg.AssetKey:
    """Return the key of an asset: ``mika/stuck_emails``, or ``mika/eu/stuck_emails`` for the shop ``eu``."""
    return dg.AssetKey([PREFIX, *([] if shop_name is None else [shop_name]), name])


def shop_assets(shop: Shop) -> list[dg.AssetSpec]:
    """Return the assets of a shop: one for each subtask, and those of the whole shop."""
    when = "Observed by each run in which the subtask had work or failed, and by each heartbeat."
    described = {subtask.name: f"{subtask.description}\n\n{when}" for subtask in SUBTASKS} | _OF_THE_SHOP
    return [
        dg.AssetSpec(
            asset_key(name, shop.name),
            description=description,
            group_name=PREFIX if shop.name is None else f"{PREFIX}_{shop.name}",
            owners=shop.settings.asset_owners,
            kinds=_kinds(shop.settings),
        )
        for name, description in described.items()
    ]


def is_heartbeat(now: datetime, last_started: datetime | None, *, every: timedelta) -> bool:
    """Say whether a run is the first of its interval, so that it observes every asset."""
    return last_started is None or now.timestamp() // every.total_seconds() != (
        last_started.timestamp() // every.total_seconds()
    )


def observations(
    outcomes: Mapping[str, Outcome], snapshot: ShopSnapshot | None, shop_name: str | None, *, heartbeat: bool
) -> list[dg.AssetObservation]:
    """Return what a run observes: the subtasks that had work, or all at a heartbeat, and then the shop."""
    chosen = {
        subtask: outcome
        for subtask in SUBTASKS
        if (outcome := outcomes.get(subtask.name)) is not None and not isinstance(outcome, NotChosen)
    }
    shown = {subtask: outcome for subtask, outcome in chosen.items() if heartbeat or had_work(outcome)}
    observed = [
        dg.AssetObservation(
            asset_key(subtask.name, shop_name),
            metadata={"status": outcome.status, **subtask_metrics(subtask, outcome, snapshot)},
        )
        for subtask, outcome in shown.items()
    ]
    return [*observed, _of_shop(chosen.values(), snapshot, shop_name)] if observed else []


def numeric_metadata(observation: dg.AssetObservation | None) -> Metrics:
    """Return the metrics that an observation holds."""
    values = {} if observation is None else {name: value.value for name, value in observation.metadata.items()}
    return {name: value for name, value in values.items() if isinstance(value, int | float)}


def _of_shop(chosen: Collection[Outcome], snapshot: ShopSnapshot | None, shop_name: str | None) -> dg.AssetObservation:
    numbers: dict[str, int] = count_statuses(chosen)
    numbers["duration_ms"] = sum(outcome.duration_ms for outcome in chosen)
    if snapshot is not None:
        numbers["due"] = snapshot.backlog.total
        numbers["failed_permanently"] = sum(due.count for due in snapshot.failed.values())
    return dg.AssetObservation(asset_key(SHOP, shop_name), metadata=numbers)


def _kinds(settings: Settings) -> set[str]:
    """Return the kind that the UI shows for an asset: its database."""
    if settings.database_url is None:
        return set()
    name = settings.database_url.get_secret_value().partition(":")[0].partition("+")[0]
    return {"postgres" if name.startswith("postgres") else name}
