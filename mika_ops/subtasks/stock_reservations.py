"""Releases expired stock reservations, so that the stock can be sold."""

import logging
from typing import Final

from mika_ops.clock import Clock
from mika_ops.documents.sweep import IDS_NAMED
from mika_ops.host.host import Host
from mika_ops.ports.backlog import BacklogReader
from mika_ops.ports.stock import ReleasedReservations
from mika_ops.redaction import describe_error
from mika_ops.subtasks.outcome import SubtaskFailed, SubtaskResult
from mika_ops.subtasks.subtask import RunOptions, Subtask, required
from mika_ops.timestamps import Timestamp, to_timestamp

logger: Final = logging.getLogger(__name__)

NAME: Final = "stock_reservations"


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
        released = _release_by_admin_api(host, clock, limits)
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


def _release_by_admin_api(host: Host, clock: Clock, limits: RunOptions) -> ReleasedReservations:
    """Have the site release what has expired, unless the backlog says that nothing has.

    Each call leaves an audit document on the site for good. Without a backlog only the site knows what has expired, so
    it is called by every run. The site believes the time that it is given: one in the future would release reservations
    that still hold.
    """
    now = min(clock.scheduled_at, to_timestamp(clock.now()))
    if _nothing_is_due(host.backlog, now):
        return ReleasedReservations()
    return required(host.admin_api).release_expired_reservations(
        now=now, idempotency_key=limits.idempotency_key(clock, NAME, now)
    )


def _nothing_is_due(backlog: BacklogReader | None, now: Timestamp) -> bool:
    """Whether the backlog has counted the expired reservations, and found none."""
    if backlog is None:
        return False
    try:
        due = backlog.read({}, now=now).due.get(NAME)
    except Exception as failure:  # noqa: BLE001 - a backlog that cannot be read must not keep stock from being released
        logger.warning("%s: the backlog cannot be read, so the site is called: %s", NAME, describe_error(failure))
        return False
    return due is not None and due.count == 0


SUBTASK = Subtask(
    name=NAME,
    description="Releases expired stock reservations. Its failure fails the run: unreleased stock cannot be sold.",
    needs=(("reservation_release", "admin_api"),),
    run=run,
    done=("reservations_released",),
    optional=("backlog",),
    site_decides_without="reservation_release",
    limited=False,
    fails_run=True,
)
