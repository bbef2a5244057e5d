"""Releasing expired stock, by the host's function or by the admin API."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from mika_ops.clock import Clock
from mika_ops.documents.repository import RepositoryUnavailable
from mika_ops.documents.selection import Selection
from mika_ops.host.host import Host
from mika_ops.ports.backlog import Backlog, Due
from mika_ops.ports.stock import ReleasedReservations
from mika_ops.store.database import Database
from mika_ops.store.schema.site import stock_events, stock_items
from mika_ops.subtasks import stock_reservations
from mika_ops.subtasks.outcome import SubtaskFailed
from mika_ops.subtasks.stock_reservations import StockReservationsResult
from mika_ops.subtasks.subtask import RunOptions
from mika_ops.timestamps import to_timestamp
from mika_ops_testing.builders import put_rows, reservation, rows_of, stock_item
from mika_ops_testing.fakes import Api, host_of


def test_the_hosts_own_release_comes_before_the_admin_api(database: Database, clock: Clock) -> None:
    put_rows(database, stock_items, stock_item(quantity_reserved=1))
    put_rows(database, stock_events, reservation())
    api = Api(released=ReleasedReservations(scanned=99, released=99))
    result = stock_reservations.run(host_of(database, api=api), clock, RunOptions())
    assert (result.reservations_released, result.stock_items) == (1, 1)


def test_a_host_with_only_the_admin_api_has_it_release(clock: Clock) -> None:
    api = Api(released=ReleasedReservations(scanned=4, released=3, stock_items=2))
    result = stock_reservations.run(Host(admin_api=api), clock, RunOptions())
    assert result == StockReservationsResult(reservations_scanned=4, reservations_released=3, stock_items=2)


def test_a_run_planned_for_later_has_only_released_what_has_expired_by_now(clock: Clock) -> None:
    api = Api()
    planned = replace(clock, scheduled_at="2199-01-01T00:00:00.000Z")
    stock_reservations.run(Host(admin_api=api), planned, RunOptions(run_id="run_1"))
    now = to_timestamp(clock.now())
    assert api.releases == [(now, f"mika-ops:run_1:stock_reservations:{now}")]


def test_a_run_planned_for_earlier_has_released_what_had_expired_then(clock: Clock) -> None:
    api = Api()
    planned = replace(clock, scheduled_at="2001-01-01T00:00:00.000Z")
    stock_reservations.run(Host(admin_api=api), planned, RunOptions(run_id="run_1"))
    assert api.releases[0][0] == planned.scheduled_at


@dataclass
class Counts:
    """A backlog that counts expired reservations as a test says, or raises."""

    counted: Backlog | Exception
    asked: list[str] = field(default_factory=list)

    def read(self, selections: Mapping[str, Selection], *, now: str) -> Backlog:
        assert selections == {}
        self.asked.append(now)
        if isinstance(self.counted, Exception):
            raise self.counted
        return self.counted


def test_the_site_is_not_called_where_the_backlog_has_found_nothing(clock: Clock) -> None:
    api, backlog = Api(), Counts(Backlog({"stock_reservations": Due(0)}))

    result = stock_reservations.run(Host(admin_api=api, backlog=backlog), clock, RunOptions())

    assert result == StockReservationsResult()
    assert api.releases == []
    assert backlog.asked == [clock.scheduled_at]


@pytest.mark.parametrize(
    "counted",
    [
        Backlog({"stock_reservations": Due(1)}),
        Backlog({"ephemeral_records": Due(0)}),
        RepositoryUnavailable("the database is locked"),
    ],
    ids=["one is due", "not counted", "cannot be read"],
)
def test_the_site_is_called_where_something_is_due_or_may_be(
    clock: Clock, counted: Backlog | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    api = Api(released=ReleasedReservations(released=2))

    result = stock_reservations.run(Host(admin_api=api, backlog=Counts(counted)), clock, RunOptions())

    assert result.reservations_released == 2
    assert len(api.releases) == 1
    assert ("the site is called: the database is locked" in caplog.text) == isinstance(counted, Exception)


def test_the_op_of_the_subtask_gets_the_backlog() -> None:
    assert stock_reservations.SUBTASK.components == ("admin_api", "backlog", "reservation_release")


def test_orphans_fail_the_subtask_by_id_after_all_others_are_released(database: Database, clock: Clock) -> None:
    put_rows(database, stock_items, stock_item(quantity_reserved=2))
    put_rows(
        database,
        stock_events,
        reservation("event_1"),
        reservation("event_2", stock_item_id="gone"),
        reservation("event_3"),
    )
    with pytest.raises(SubtaskFailed, match="event_2") as failure:
        stock_reservations.run(host_of(database), clock, RunOptions())
    assert failure.value.result.reservations_released == 2
    statuses = {id_: row["status"] for id_, row in rows_of(database, stock_events).items()}
    assert statuses == {"event_1": "expired", "event_2": "active", "event_3": "expired"}
    assert rows_of(database, stock_items)["stock_1"]["quantity_reserved"] == 0


def test_orphans_do_not_stop_the_release_of_the_next_run(database: Database, clock: Clock) -> None:
    put_rows(database, stock_events, reservation("event_0", stock_item_id="gone"))
    with pytest.raises(SubtaskFailed):
        stock_reservations.run(host_of(database), clock, RunOptions())
    put_rows(database, stock_items, stock_item(quantity_reserved=1))
    put_rows(database, stock_events, reservation("event_1"))
    with pytest.raises(SubtaskFailed) as failure:
        stock_reservations.run(replace(host_of(database), admin_api=Api()), clock, RunOptions())
    assert failure.value.result.reservations_released == 1
