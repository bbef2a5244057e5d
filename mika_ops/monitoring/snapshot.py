"""A snapshot of a shop: everything that is due or has failed, read at once."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from mika_ops.documents.sweep import IDS_NAMED
from mika_ops.ports.backlog import Backlog, BacklogInspector, BacklogReader, Due, StockDrift
from mika_ops.rules import account_delete
from mika_ops.subtasks.registry import due_selections, permanently_failed
from mika_ops.subtasks.subtask import RunOptions
from mika_ops.timestamps import Timestamp

NAMED: Final = frozenset({"account_delete_requests", "stuck_workflows"})
"""The subtasks whose permanent failures the checks name by id. For emails there is `mika-ops email failed`."""


_FAILED: Final = "failed:"
"""Marks the selections of permanent failures in the one query of the shop."""


_UNCHECKED: Final = "unchecked:account_delete_requests"
"""The same for account deletes that were completed without the further steps."""


@dataclass(frozen=True)
class ShopSnapshot:
    """A shop at ``now``: its backlog, its permanent failures by subtask with their first ids, and its drifting stock.

    ``unchecked_deletes``: the account deletes that were completed without the steps that go beyond the reference's.
    What could not be read is missing. ``limits``: the options of the run, on which depends what is due.
    """

    now: Timestamp
    backlog: Backlog = field(default_factory=Backlog)
    failed: Mapping[str, Due] = field(default_factory=dict)
    failed_ids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    drift: StockDrift | None = None
    unchecked_deletes: Due | None = None
    limits: RunOptions = field(default_factory=RunOptions)


def take_snapshot(
    reader: BacklogReader, limits: RunOptions, *, now: Timestamp, naming: Collection[str] = NAMED
) -> ShopSnapshot:
    """Take a snapshot of a shop at ``now``: one query for all that is due, and one for the stock.

    ``naming``: the subtasks whose permanent failures are named by id, with one more query if there are any.
    """
    selections = permanently_failed(now)
    marked = {f"{_FAILED}{name}": selection for name, selection in selections.items()}
    backlog = reader.read({**due_selections(now, limits), **marked, _UNCHECKED: account_delete.UNCHECKED}, now=now)
    due = dict(backlog.due)
    failed = {name.removeprefix(_FAILED): due.pop(name) for name in marked if name in due}
    unchecked_deletes = due.pop(_UNCHECKED, None)
    inspector = reader if isinstance(reader, BacklogInspector) else None
    return ShopSnapshot(
        now=now,
        backlog=Backlog(due, backlog.unreadable, backlog.unreadable_ids),
        failed=failed,
        failed_ids={
            name: tuple(inspector.first_documents(selections[name], limit=IDS_NAMED))
            for name, counts in failed.items()
            if name in naming and counts.count and inspector is not None
        },
        drift=None if inspector is None else inspector.stock_drift(),
        unchecked_deletes=unchecked_deletes,
        limits=limits,
    )
