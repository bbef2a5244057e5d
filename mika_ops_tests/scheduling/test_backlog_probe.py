"""The query of the backlog that a tick runs first."""

from pathlib import Path

import pytest

from mika_ops.config.loading import isolated_settings
from mika_ops.config.settings import Settings
from mika_ops.config.shop import Shop
from mika_ops.host.host import Host
from mika_ops.ports.backlog import Backlog, Due
from mika_ops.scheduling.backlog_probe import KEPT_SECONDS, BacklogProbe, PendingWork
from mika_ops.store.database import Database
from mika_ops.store.errors import DatabaseError
from mika_ops.store.opening import open_database
from mika_ops.store.schema.own import own
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops_testing.builders import AFTER, BEFORE, LATER, NOW, email, put, webhook
from mika_ops_testing.sites import Sites
from mika_ops_tests.orchestration.fake_host import Broken, Stock, whole_host


def probe_once(settings: Settings, host: Host | None = None, now: str = NOW) -> PendingWork | None:
    probe = BacklogProbe(Shop(settings, supplied=host or Host()))
    try:
        return probe.probe(now)
    finally:
        probe.close()


def test_the_database_is_queried_for_the_subtasks_that_can_run(database: Database, url: str) -> None:
    put(database, "ops", email("email_1"), webhook("webhook_1", status="failed", nextAttemptAt=BEFORE))
    without_sender = probe_once(isolated_settings(database_url=url))
    assert without_sender is not None
    assert "email_outbox" not in without_sender.due
    assert "webhook_retries" not in without_sender.due
    with_sender = probe_once(isolated_settings(database_url=url, email_directory="emails"))
    assert with_sender is not None
    assert with_sender.due["email_outbox"] == 1


def test_a_subtask_whose_limit_is_zero_has_nothing_due(database: Database, url: str) -> None:
    put(database, "ops", email("email_1"))
    settings = isolated_settings(database_url=url, email_directory="emails", limits={"email_outbox": 0})
    pending = probe_once(settings)
    assert pending is not None
    assert not any(pending.due.values())


def test_when_nothing_is_due_the_next_email_is_found(database: Database, url: str) -> None:
    put(database, "ops", email("email_1", nextAttemptAt=LATER), email("email_2", nextAttemptAt=AFTER))
    settings = isolated_settings(database_url=url, email_directory="emails")
    assert probe_once(settings) == PendingWork(dict.fromkeys(runnable_names(settings), 0), AFTER)


def runnable_names(settings: Settings) -> list[str]:
    pending = probe_once(settings)
    return [] if pending is None else list(pending.due)


def test_an_email_that_is_being_sent_is_not_the_next(database: Database, url: str) -> None:
    put(database, "ops", email("email_1", nextAttemptAt=BEFORE, leaseKey="k", leaseExpiresAt=LATER))
    pending = probe_once(isolated_settings(database_url=url, email_directory="emails"))
    assert pending is not None
    assert (pending.due["email_outbox"], pending.next_email_at) == (0, None)


def test_a_shop_without_any_component_has_nothing_due() -> None:
    assert probe_once(isolated_settings()) == PendingWork()


@pytest.mark.parametrize(
    ("settings", "host"),
    [
        ({"admin_api_url": "http://127.0.0.1:1", "admin_api_token": "ec_pat_x"}, Host()),
        ({}, whole_host(backlog=None)),
        ({"database_url": "sqlite:///shop.db"}, Host(reservation_release=Stock())),
    ],
    ids=["the site decides", "a whole host", "a part of a host"],
)
def test_a_backlog_outside_the_database_is_unknown(settings: dict[str, str], host: Host) -> None:
    assert probe_once(isolated_settings(**settings), host) is None


def test_a_hosts_own_backlog_is_read_and_is_unknown_if_it_leaves_out_a_subtask() -> None:
    class HostBacklog:
        def __init__(self, *names: str) -> None:
            self.names = names

        def read(self, selections: object, *, now: str) -> Backlog:
            return Backlog({name: Due(2) for name in self.names})

    assert probe_once(isolated_settings(), whole_host(backlog=HostBacklog(*SUBTASK_NAMES))) == PendingWork(
        dict.fromkeys(SUBTASK_NAMES, 2)
    )
    assert probe_once(isolated_settings(), whole_host(backlog=HostBacklog("email_outbox"))) is None
    with pytest.raises(Exception, match="the disk is on fire"):
        probe_once(isolated_settings(), whole_host(backlog=Broken()))


def test_a_replaced_file_is_opened_again(sqlite_sites: Sites) -> None:
    url, restored = sqlite_sites.new(), sqlite_sites.new()
    probe = BacklogProbe(Shop(isolated_settings(database_url=url, email_directory="emails")))
    assert probe.probe(NOW) is not None
    with open_database(restored) as database:
        put(database, "ops", email("email_1"))
    Path(restored.removeprefix("sqlite:///")).replace(url.removeprefix("sqlite:///"))
    pending = probe.probe(NOW)
    probe.close()
    assert pending is not None
    assert pending.due["email_outbox"] == 1


def test_tables_that_were_created_in_the_meantime_are_detected_after_a_while(database: Database, url: str) -> None:
    now = [0.0]
    probe = BacklogProbe(Shop(isolated_settings(database_url=url)), timer=lambda: now[0])
    with database.engine.begin() as connection:
        own.drop_all(connection)
    before = probe.probe(NOW)
    with database.engine.begin() as connection:
        own.create_all(connection)
    now[0] = KEPT_SECONDS
    after = probe.probe(NOW)
    probe.close()
    assert before is not None
    assert after is not None
    assert set(after.due) - set(before.due) == {"acp_sessions"}


def test_a_locked_table_does_not_block_the_tick(postgres_sites: Sites) -> None:
    url = postgres_sites.new()
    probe = BacklogProbe(Shop(isolated_settings(database_url=url)))
    probe.probe(NOW)
    with open_database(url) as holder, holder.engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE _plugin_storage IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseError, match="lock timeout"):
            probe.probe(NOW)
    probe.close()


def test_the_connection_is_kept_and_made_again_if_it_is_lost(database: Database, url: str) -> None:
    probe = BacklogProbe(Shop(isolated_settings(database_url=url)))
    probe.probe(NOW)
    kept = probe._database
    probe.probe(NOW)
    assert kept is not None
    if kept.dialect == "postgresql":
        assert probe._database is kept
        with database.engine.begin() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert probe.probe(NOW) is not None
    probe.close()
    assert probe.probe(NOW) is not None
    probe.close()


def test_a_missing_database_is_an_error_and_an_existing_one_is_read(url: str) -> None:
    probe = BacklogProbe(Shop(isolated_settings(database_url="sqlite:///missing.db")))
    with pytest.raises(DatabaseError, match="does not exist"):
        probe.probe(NOW)
    existing = BacklogProbe(Shop(isolated_settings(database_url=url)))
    assert existing.probe(NOW) is not None
    existing.close()
