"""A tick looks first: what waits, what is still going, and how the last run ended."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mika_ops.config.loading import isolated_settings
from mika_ops.config.settings import Settings
from mika_ops.config.shop import Shop
from mika_ops.host.host import Host
from mika_ops.ports.backlog import Backlog, Due
from mika_ops.scheduling.tick import KEPT_SECONDS, BacklogProbe, PendingWork, RecentRuns, TickDecision, decide_tick
from mika_ops.store.database import Database
from mika_ops.store.errors import DatabaseError
from mika_ops.store.opening import open_database
from mika_ops.store.schema.own import own
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops_testing.builders import AFTER, BEFORE, LATER, NOW, email, put, webhook
from mika_ops_testing.sites import Sites
from mika_ops_tests.orchestration.fake_host import Broken, Stock, whole_host

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
WELL = RecentRuns(ended_at=AT - timedelta(minutes=1), ended_well=True)
IDLE = PendingWork()


def decision(
    runs: RecentRuns = WELL, waiting: PendingWork | None = IDLE, *, now: datetime = AT, **settings: object
) -> TickDecision:
    return decide_tick(runs, lambda: waiting, now=now, shop=Shop(isolated_settings(**settings)))


def test_what_is_due_starts_a_run_that_says_so() -> None:
    assert decision(waiting=PendingWork({"email_outbox": 3, "stuck_emails": 0})) == TickDecision(
        True, "due: email_outbox 3"
    )


def test_nothing_due_is_skipped_and_says_when_the_next_email_is() -> None:
    assert decision() == TickDecision(False, "nothing due")
    soon = PendingWork(next_email_at="2026-03-01T12:03:00.000Z")
    assert decision(waiting=soon) == TickDecision(False, "nothing due; next email due in 3 min")
    sooner = PendingWork(next_email_at="2026-03-01T12:00:20.000Z")
    assert decision(waiting=sooner) == TickDecision(False, "nothing due; next email due in 20 s")


def test_a_run_that_is_still_going_is_waited_for_whatever_is_due() -> None:
    going = RecentRuns(under_way={"a1b2": AT - timedelta(minutes=2)}, ended_at=AT, ended_well=False)
    assert decision(going, PendingWork({"email_outbox": 3})) == TickDecision(
        False, "run a1b2 is still going, for 2 min"
    )


def test_a_run_that_goes_on_for_too_long_is_told_and_not_waited_for() -> None:
    stuck = RecentRuns(under_way={"a1b2": AT - timedelta(minutes=15)}, ended_at=AT, ended_well=True)
    decided_ = decision(stuck, PendingWork({"email_outbox": 3}))
    assert decided_.launch
    assert decided_.warning == (
        "runs have been going for longer than MIKA_LONG_RUN_MINUTES and are not waited for: a1b2 (15 min)"
    )
    assert not decision(stuck, long_run_minutes=16).launch


def test_beside_a_stuck_run_one_that_has_just_begun_is_waited_for() -> None:
    both = RecentRuns({"new": AT - timedelta(minutes=1), "old": AT - timedelta(hours=5)}, AT, True)
    decided_ = decision(both)
    assert (decided_.launch, decided_.why) == (False, "run new is still going, for 1 min")
    assert "old (300 min)" in str(decided_.warning)


@pytest.mark.parametrize(
    ("runs", "why"),
    [
        (RecentRuns(), "no run has ended yet"),
        (RecentRuns(ended_at=AT, ended_well=False), "the last run failed"),
        (RecentRuns(ended_at=AT - timedelta(minutes=60), ended_well=True), "the last run ended 60 min ago"),
    ],
)
def test_without_a_good_and_recent_run_a_tick_runs_whatever_waits(runs: RecentRuns, why: str) -> None:
    assert decision(runs) == TickDecision(True, why)


def test_the_heartbeat_and_idle_ticks_are_settings() -> None:
    hour_ago = RecentRuns(ended_at=AT - timedelta(minutes=60), ended_well=True)
    assert not decision(hour_ago, heartbeat_minutes=61).launch
    assert decision(idle_ticks="run") == TickDecision(True, "every tick runs")


def test_a_backlog_that_cannot_be_read_starts_a_run_that_shows_the_error() -> None:
    def look() -> NoReturn:
        raise DatabaseError("the shop's database: connection refused for bob@example.test")

    decided_ = decide_tick(WELL, look, now=AT, shop=Shop(isolated_settings()))
    assert decided_.launch
    assert decided_.why == "the backlog cannot be read: the shop's database: connection refused for <address>"


def test_where_nobody_can_tell_a_tick_runs() -> None:
    assert decision(waiting=None) == TickDecision(True, "what waits is known to the host alone")


@given(
    ages=st.lists(st.integers(0, 10_000), max_size=4),
    ended=st.none() | st.integers(0, 10_000),
    well=st.booleans(),
    due=st.integers(0, 2),
)
def test_something_due_is_never_left_for_longer_than_a_run_may_take(
    ages: list[int], ended: int | None, well: bool, due: int
) -> None:
    runs = RecentRuns(
        {f"run{number}": AT - timedelta(seconds=age) for number, age in enumerate(ages)},
        None if ended is None else AT - timedelta(seconds=ended),
        well,
    )
    decided_ = decision(runs, PendingWork({"email_outbox": due}))
    going = any(age < 15 * 60 for age in ages)
    assert decided_.launch == (not going and (due > 0 or ended is None or not well or ended >= 3600))
    assert (decided_.warning is not None) == any(age >= 15 * 60 for age in ages)


def looked(settings: Settings, host: Host | None = None, now: str = NOW) -> PendingWork | None:
    lookout = BacklogProbe(Shop(settings, supplied=host or Host()))
    try:
        return lookout.look(now)
    finally:
        lookout.close()


def test_the_database_is_asked_for_the_subtasks_that_can_run(database: Database, url: str) -> None:
    put(database, "ops", email("email_1"), webhook("webhook_1", status="failed", nextAttemptAt=BEFORE))
    without_sender = looked(isolated_settings(database_url=url))
    assert without_sender is not None
    assert "email_outbox" not in without_sender.due
    assert "webhook_retries" not in without_sender.due
    with_sender = looked(isolated_settings(database_url=url, email_directory="emails"))
    assert with_sender is not None
    assert with_sender.due["email_outbox"] == 1


def test_a_subtask_whose_limit_is_zero_waits_for_nothing(database: Database, url: str) -> None:
    put(database, "ops", email("email_1"))
    settings = isolated_settings(database_url=url, email_directory="emails", limits={"email_outbox": 0})
    waiting = looked(settings)
    assert waiting is not None
    assert not any(waiting.due.values())


def test_when_nothing_is_due_the_next_email_is_found(database: Database, url: str) -> None:
    put(database, "ops", email("email_1", nextAttemptAt=LATER), email("email_2", nextAttemptAt=AFTER))
    settings = isolated_settings(database_url=url, email_directory="emails")
    assert looked(settings) == PendingWork(dict.fromkeys(looked_names(settings), 0), AFTER)


def looked_names(settings: Settings) -> list[str]:
    waiting = looked(settings)
    return [] if waiting is None else list(waiting.due)


def test_an_email_that_somebody_is_sending_is_not_the_next(database: Database, url: str) -> None:
    put(database, "ops", email("email_1", nextAttemptAt=BEFORE, leaseKey="k", leaseExpiresAt=LATER))
    waiting = looked(isolated_settings(database_url=url, email_directory="emails"))
    assert waiting is not None
    assert (waiting.due["email_outbox"], waiting.next_email_at) == (0, None)


def test_a_shop_without_anything_configured_waits_for_nothing() -> None:
    assert looked(isolated_settings()) == PendingWork()


@pytest.mark.parametrize(
    ("settings", "host"),
    [
        ({"admin_api_url": "http://127.0.0.1:1", "admin_api_token": "ec_pat_x"}, Host()),
        ({}, whole_host(backlog=None)),
        ({"database_url": "sqlite:///shop.db"}, Host(reservation_release=Stock())),
    ],
    ids=["the site decides", "a whole host", "a part of a host"],
)
def test_what_the_database_does_not_hold_nobody_here_can_tell(settings: dict[str, str], host: Host) -> None:
    assert looked(isolated_settings(**settings), host) is None


def test_a_hosts_own_backlog_is_asked_and_nobody_can_tell_what_it_leaves_out() -> None:
    class Tells:
        def __init__(self, *names: str) -> None:
            self.names = names

        def read(self, selections: object, *, now: str) -> Backlog:
            return Backlog({name: Due(2) for name in self.names})

    assert looked(isolated_settings(), whole_host(backlog=Tells(*SUBTASK_NAMES))) == PendingWork(
        dict.fromkeys(SUBTASK_NAMES, 2)
    )
    assert looked(isolated_settings(), whole_host(backlog=Tells("email_outbox"))) is None
    with pytest.raises(Exception, match="the disk is on fire"):
        looked(isolated_settings(), whole_host(backlog=Broken()))


def test_a_file_that_was_replaced_is_looked_at_anew(sqlite_sites: Sites) -> None:
    url, restored = sqlite_sites.new(), sqlite_sites.new()
    lookout = BacklogProbe(Shop(isolated_settings(database_url=url, email_directory="emails")))
    assert lookout.look(NOW) is not None
    with open_database(restored) as database:
        put(database, "ops", email("email_1"))
    Path(restored.removeprefix("sqlite:///")).replace(url.removeprefix("sqlite:///"))
    waiting = lookout.look(NOW)
    lookout.close()
    assert waiting is not None
    assert waiting.due["email_outbox"] == 1


def test_what_the_database_has_is_looked_at_anew_after_a_while(database: Database, url: str) -> None:
    now = [0.0]
    lookout = BacklogProbe(Shop(isolated_settings(database_url=url)), timer=lambda: now[0])
    with database.engine.begin() as connection:
        own.drop_all(connection)
    before = lookout.look(NOW)
    with database.engine.begin() as connection:
        own.create_all(connection)
    now[0] = KEPT_SECONDS
    after = lookout.look(NOW)
    lookout.close()
    assert before is not None
    assert after is not None
    assert set(after.due) - set(before.due) == {"acp_sessions"}


def test_a_table_that_somebody_holds_does_not_hold_the_tick(postgres_sites: Sites) -> None:
    url = postgres_sites.new()
    lookout = BacklogProbe(Shop(isolated_settings(database_url=url)))
    lookout.look(NOW)
    with open_database(url) as holder, holder.engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE _plugin_storage IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseError, match="lock timeout"):
            lookout.look(NOW)
    lookout.close()


def test_one_email_with_a_time_that_is_none_does_not_fail_the_tick() -> None:
    assert decision(waiting=PendingWork(next_email_at="2999-99-99T00:00:00.000Z")) == TickDecision(False, "nothing due")


def test_the_connection_is_kept_and_a_dead_one_is_replaced(database: Database, url: str) -> None:
    lookout = BacklogProbe(Shop(isolated_settings(database_url=url)))
    lookout.look(NOW)
    kept = lookout._database
    lookout.look(NOW)
    assert kept is not None
    if kept.dialect == "postgresql":
        assert lookout._database is kept
        with database.engine.begin() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert lookout.look(NOW) is not None
        assert lookout._database is not kept
    lookout.close()
    assert lookout.look(NOW) is not None
    lookout.close()


def test_a_database_that_is_gone_is_an_error_and_back_again_an_answer(url: str) -> None:
    lookout = BacklogProbe(Shop(isolated_settings(database_url="sqlite:///missing.db")))
    with pytest.raises(DatabaseError, match="does not exist"):
        lookout.look(NOW)
    well = BacklogProbe(Shop(isolated_settings(database_url=url)))
    assert well.look(NOW) is not None
    well.close()
