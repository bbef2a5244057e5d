"""Releases expired stock reservations, so that the stock can be sold."""

from mika_ops.clock import Clock
from mika_ops.documents.sweep import IDS_NAMED
from mika_ops.host.host import Host
from mika_ops.subtasks.outcome import SubtaskFailed, SubtaskResult
from mika_ops.subtasks.subtask import RunOptions, Subtask, required
from mika_ops.timestamps import to_timestamp


class StockReservationsResult(SubtaskResult):
    """Reservations found expired, those released, and the items they were on."""

    reservations_scanned: int = 0
    reservations_released: int = 0
    stock_items: int = 0
    has_more: bool = False
    orphan_ids: tuple[str, ...] = ()


def run(host: Host, clock: Clock, limits: RunOptions) -> StockReservationsResult:
    """Release expired reservations by the host's function, else by the admin API.

    Raises ``SubtaskFailed`` if some have no stock item, after it released all others.
    """
    if host.reservation_release is not None:
        released = host.reservation_release.release_expired(
            due=clock.scheduled_at, now=clock.stamp(), out_of_time=limits.out_of_time
        )
    else:
        now = min(clock.scheduled_at, to_timestamp(clock.now()))
        released = required(host.admin_api).release_expired_reservations(
            now=now, idempotency_key=limits.idempotency_key(clock, "stock_reservations", now)
        )
    result = StockReservationsResult(
        reservations_scanned=released.scanned,
        reservations_released=released.released,
        stock_items=released.stock_items,
        has_more=released.has_more,
        orphan_ids=released.orphans[:IDS_NAMED],
    )
    if released.orphans:
        named = ", ".join(result.orphan_ids) + (", …" if len(released.orphans) > IDS_NAMED else "")
        raise SubtaskFailed(
            f"{len(released.orphans)} expired reservations point to stock items that do not exist and were left alone; "
            f"restore the items or delete these rows of mika_stock_events: {named}",
            result,
        )
    return result


SUBTASK = Subtask(
    name="stock_reservations",
    description="Releases expired stock reservations. Its failure fails the run: unreleased stock cannot be sold.",
    needs=(("reservation_release", "admin_api"),),
    run=run,
    done=("reservations_released",),
    site_decides_without="reservation_release",
    limited=False,
    fails_run=True,
)
