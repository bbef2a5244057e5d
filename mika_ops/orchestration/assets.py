"""What maintenance keeps in order, as assets: one for each subtask, whose page plots what the subtask did.

Dagster does not materialize them; a run that did work observes them.
"""

from collections.abc import Mapping
from typing import Any, Final

import dagster as dg

from mika_ops.subtasks.registry import SUBTASKS

PREFIX: Final = "mika"
"""What the keys of all assets start with, and the name of their group."""


def asset_key(subtask: str, shop: str | None) -> dg.AssetKey:
    """Return the key of a subtask's asset: ``mika/stuck_emails``, of a shop with a name ``mika/eu/stuck_emails``."""
    return dg.AssetKey([PREFIX, *([] if shop is None else [shop]), subtask])


def subtask_assets(shop: str | None) -> list[dg.AssetSpec]:
    """Return an asset for each subtask of a shop."""
    return [
        dg.AssetSpec(
            asset_key(subtask.name, shop),
            description=f"{subtask.description}\n\nObserved by every run in which it did something or failed.",
            group_name=PREFIX if shop is None else f"{PREFIX}_{shop}",
        )
        for subtask in SUBTASKS
    ]


def observation(subtask: str, shop: str | None, metadata: Mapping[str, Any]) -> dg.AssetObservation | None:
    """Return what a run saw of a subtask's asset, its numbers; ``None`` where it neither did anything nor failed."""
    numbers = {name: value for name, value in metadata.items() if isinstance(value, int | float)}
    did_something = any(value for name, value in numbers.items() if name != "duration_ms")
    if not did_something and metadata["status"] != "failed":
        return None
    return dg.AssetObservation(asset_key(subtask, shop), metadata={"status": metadata["status"], **numbers})
