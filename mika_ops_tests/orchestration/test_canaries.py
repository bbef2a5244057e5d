"""A shop full of canaries, worked on with every kind of success and failure: none is found in what Dagster keeps.

Dagster's own daemon and code server do the ticks, and the whole storage of the instance is searched afterwards:
every file, or every row of every table.
"""

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import create_engine, inspect, text

from mika_ops.clock import utc_now
from mika_ops.documents.document import Document
from mika_ops.monitoring.checks import CHECK_NAMES
from mika_ops.store.acp_sessions import AcpSessionStore
from mika_ops.store.database import Database
from mika_ops.store.opening import open_database
from mika_ops.store.schema.site import ephemeral_records, stock_events, stock_items
from mika_ops_testing.builders import (
    BEFORE,
    EARLIER,
    acp_session,
    aggregated,
    delete_request,
    email,
    ephemeral,
    order,
    put,
    put_raw,
    put_rows,
    reservation,
    stock_item,
    webhook,
    workflow,
)
from mika_ops_testing.dagster_internals import (
    ModuleTarget,
    QueuedRunCoordinatorDaemon,
    WorkspaceProcessContext,
    execute_sensor_iteration,
    launch_scheduled_runs,
)
from mika_ops_testing.sites import DatabaseKind
from mika_ops_tests.alerting.test_channels import endpoint

CANARY = "canary-3e7d"
ADDRESS = f"{CANARY}@example.test"
LINK = f"https://shop.example.test/{CANARY}"
WAITS = {"wait_for_local_processes_on_shutdown": True}
"""For Dagster's ``code_servers``: a code server is not left behind by the test that started it."""

DEPLOYED = Path(__file__).resolve().parents[2] / "deploy" / "dagster.yaml"


def person(**more: Any) -> Document:
    """Return everything that a document may hold of a person, and secrets beside it."""
    return {
        "email": ADDRESS,
        "name": CANARY,
        "phone": CANARY,
        "address": {"line1": CANARY, "city": CANARY},
        "link": LINK,
        "token": CANARY,
        "lastError": f"could not reach {ADDRESS} by {LINK}",
        "metadata": {"link": LINK, "url": LINK, "note": CANARY, "ip": CANARY},
        **more,
    }


def fill(shop: Database) -> None:
    """Give every subtask work that succeeds, work that fails and documents that nobody can read."""
    exhausted: dict[str, Any] = {"attemptCount": 5, "leaseKey": CANARY, "leaseExpiresAt": BEFORE}
    who: dict[str, Any] = {"customerId": CANARY, "emailHash": CANARY, "userId": CANARY}
    put(shop, "ops", *(email(f"email_{n}", toEmail=ADDRESS, subject=CANARY, **person()) for n in range(3)))
    put(shop, "ops", email("email_bad", toEmail=f"{CANARY}\r\nBcc: {ADDRESS}"), email("email_odd", kind=CANARY))
    put(shop, "ops", email("email_stuck", status="sending", toEmail=ADDRESS, **exhausted, **person()))
    put(shop, "ops", email("email_dead", status="failed", toEmail=ADDRESS, **person(attemptCount=5)))
    put(shop, "ops", webhook(rawPayloadJson=person(), normalizedPayloadJson=person()))
    put(shop, "ops", workflow("stuck", status="running", **{**exhausted, **person()}))
    put(shop, "ops", workflow("due", status="failed", nextAttemptAt=BEFORE, **person()))
    put(shop, "ops", workflow("dead", status="failed", **person(attemptCount=5)))
    put(shop, "ops", delete_request("delete_ok", **who), delete_request("delete_orphan", customerId=f"{CANARY}-2"))
    put(shop, "ops", delete_request("delete_old", status="failed", **who, **person()))
    put(shop, "account", aggregated("customer", "customer_1", person(), **who))
    put(shop, "ledger", order(customer=person(), **who))
    put(shop, "session", aggregated("cart", "cart_1", person(), **who))
    put_raw(shop, "ops", ("unreadable", "[]"), ("wrong", f'{{"type":"email","status":"queued","record":"{CANARY}"}}'))
    put_rows(shop, stock_items, stock_item(quantity_reserved=9, metadata_json=CANARY))
    held = {"cart_id": CANARY, "session_id": CANARY, "metadata_json": CANARY}
    put_rows(shop, stock_events, reservation("held", customer_id=CANARY, **held))
    put_rows(shop, stock_events, reservation("orphan", stock_item_id="gone", customer_id=f"{CANARY}-2", **held))
    put_rows(shop, ephemeral_records, ephemeral(f"token:{CANARY}", subject_hash=CANARY, data_json=CANARY))
    AcpSessionStore(shop).put([acp_session(buyer=person(), updatedAt=EARLIER)])


@contextmanager
def instance_of(kind: DatabaseKind, home: Path, storage_url: str) -> Iterator[dg.DagsterInstance]:
    """Open an instance on SQLite, or on Postgres as it is deployed."""
    home.mkdir()
    if kind == "sqlite":
        overrides = {"telemetry": {"enabled": False}, "code_servers": WAITS}
        with dg.DagsterInstance.local_temp(str(home), overrides=overrides) as instance:
            yield instance
        return
    os.environ["DAGSTER_POSTGRES_URL"] = storage_url.replace("+psycopg:", "+psycopg2:")
    (home / "dagster.yaml").write_text(f"{DEPLOYED.read_text()}\ncode_servers: {json.dumps(WAITS)}\n")
    try:
        with dg.DagsterInstance.from_config(str(home)) as instance:
            yield instance
    finally:
        del os.environ["DAGSTER_POSTGRES_URL"]


def kept_with(word: str, kind: DatabaseKind, home: Path, storage_url: str) -> list[str]:
    """Return the files and the tables' rows in which a word stands."""
    found = [str(path) for path in home.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]
    if kind == "sqlite":
        return found
    engine = create_engine(storage_url)
    with engine.connect() as connection:
        for table in inspect(connection).get_table_names():
            rows = connection.execute(text(f'SELECT CAST(t AS text) FROM "{table}" AS t')).scalars()
            found += [f"{table}: {row}" for row in rows if word in row]
    engine.dispose()
    return found


def live(instance: dg.DagsterInstance) -> None:
    """Let the daemon do a minute's work: a tick that starts a run, its end, and a tick of every sensor."""
    logger = logging.getLogger(__name__)
    target = ModuleTarget("mika_ops.definitions", attribute=None, working_directory=None, location_name="shop")
    with WorkspaceProcessContext(instance, target) as workspace:
        minute, times = utc_now().replace(second=1, microsecond=0), {}  # type: ignore[var-annotated]
        for number in range(3):
            for _ in launch_scheduled_runs(workspace, logger, minute + timedelta(minutes=number), times):
                pass
        for _ in QueuedRunCoordinatorDaemon(interval_seconds=1).run_iteration(workspace):
            pass
        wait_for_a_run(instance)
        for _ in execute_sensor_iteration(workspace, logger, None, None):
            pass


def wait_for_a_run(instance: dg.DagsterInstance) -> None:
    until = utc_now() + timedelta(seconds=90)
    while not any(run.is_finished for run in instance.get_runs()):
        assert utc_now() < until, f"no run has ended: {[(run.status, run.tags) for run in instance.get_runs()]}"
        time.sleep(0.2)


def test_nothing_personal_and_no_secret_is_kept_by_dagster(
    kind: DatabaseKind,
    url: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    storage_url = request.getfixturevalue(f"{kind}_sites").new()
    home = tmp_path / "home"
    with open_database(url) as shop:
        fill(shop)
    with endpoint() as alerts, instance_of(kind, home, storage_url) as instance:
        for name, value in {
            "DATABASE_URL": url,
            "SMTP_URL": f"smtp://{CANARY}:{CANARY}@127.0.0.1:1",
            "EMAIL_FROM": "shop@example.test",
            "ADMIN_API_URL": "http://127.0.0.1:1",
            "ADMIN_API_TOKEN": f"ec_pat_{CANARY}",
            "ALERT_URLS": f"json://user:{CANARY}@127.0.0.1:{alerts.port}/{CANARY}",
            "CHECK_ERRORS": ",".join(CHECK_NAMES),
            "IDLE_TICKS": "run",
        }.items():
            monkeypatch.setenv(f"MIKA_{name}", value)
        live(instance)
        (run, *_others) = instance.get_runs()

        leaked = kept_with(CANARY, kind, home, storage_url)
        assert run.tags["mika/failed"]
        assert run.tags["mika/unhealthy"]
        assert kept_with(run.run_id, kind, home, storage_url)

    assert leaked == []
    assert len(alerts.posted) > 3
    assert CANARY not in str(alerts.posted)
    printed = capfd.readouterr()
    assert CANARY not in printed.out + printed.err
