"""A snapshot of a shop: everything that is due or has failed, read at once."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from mika_ops.documents.sweep import IDS_NAMED
from mika_ops.ports.backlog import Backlog, BacklogInspector, BacklogReader, Due, StockDrift
from mika_ops.subtasks.registry import due_selections, permanently_failed
from mika_ops.subtasks.subtask import RunOptions
from mika_ops.timestamps import Timestamp

NAMED: Final = frozenset({"account_delete_requests", "stuck_workflows"})
"""The subtasks whose permanent failures the checks name by id. Emails have a command of their own."""


_FAILED: Final = "failed:"
"""Marks the selections of permanent failures in the one query of the shop."""


@dataclass(frozen=True)
class ShopSnapshot:
    """What a shop has at ``now``: the backlog, permanent failures by subtask with their first ids, drifting stock.

    What could not be read is missing. ``limits`` are those under which something is due.
    """

    now: Timestamp
    backlog: Backlog = field(default_factory=Backlog)
    failed: Mapping[str, Due] = field(default_factory=dict)
    failed_ids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    drift: StockDrift | None = None
    limits: RunOptions = field(default_factory=RunOptions)


def take_snapshot(
    reader: BacklogReader, limits: RunOptions, *, now: Timestamp, naming: Collection[str] = NAMED
) -> ShopSnapshot:
    """Take a snapshot of a shop at ``now``: one query for all that is due, and one for the stock.

    ``naming``: the subtasks whose permanent failures are named by id, with one more query if there are any.
    """
    failing = permanently_failed(now)
    marked = {f"{_FAILED}{name}": selection for name, selection in failing.items()}
    found = reader.read({**due_selections(now, limits), **marked}, now=now)
    waiting = dict(found.due)
    failed = {name.removeprefix(_FAILED): waiting.pop(name) for name in marked if name in waiting}
    closer = reader if isinstance(reader, BacklogInspector) else None
    return ShopSnapshot(
        now=now,
        backlog=Backlog(waiting, found.unreadable, found.unreadable_ids),
        failed=failed,
        failed_ids={
            name: tuple(closer.first_documents(failing[name], limit=IDS_NAMED))
            for name, due in failed.items()
            if name in naming and due.count and closer is not None
        },
        drift=None if closer is None else closer.stock_drift(),
        limits=limits,
    )
