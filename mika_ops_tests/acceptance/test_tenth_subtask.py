"""A further subtask is one module and one line in the registry: everything else follows from it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mika_ops
from mika_ops.store.opening import open_database
from mika_ops_testing.builders import BEFORE, documents_of, put, recorded
from mika_ops_testing.sites import Sites

MODULE = '''"""Marks exports of accounts as expired, so that nobody downloads them."""

from mika_ops.clock import Clock
from mika_ops.documents.document import with_record
from mika_ops.documents.selection import AtMost, OneOf, Selection, all_of, record, top
from mika_ops.documents.sweep import Sweep
from mika_ops.host.host import Host
from mika_ops.subtasks.outcome import SweptResult
from mika_ops.subtasks.subtask import RunOptions, Subtask, required

_EXPORT = OneOf(top("type"), ("accountExport",))
DUE = Selection(
    "ops",
    all_of(_EXPORT, OneOf(top("status"), ("ready",))),
    AtMost(record("expiresAt")),
    order_by=(record("expiresAt"),),
)
FAILED = Selection("ops", all_of(_EXPORT, OneOf(top("status"), ("failed",))))


class ExpiredExportsResult(SweptResult):
    """Exports marked as expired."""

    expired: int = 0


def run(host: Host, clock: Clock, limits: RunOptions) -> ExpiredExportsResult:
    """Mark exports as expired, oldest first."""
    sweep = Sweep(
        required(host.ops), DUE.at(clock.scheduled_at), "expired_exports", limits.limit, limits.out_of_time
    )
    sweep.change(
        lambda export: with_record(export, {"status": "expired"}, mirrored=("status",), now=clock.stamp())
    )
    return ExpiredExportsResult(expired=sweep.changed, **sweep.counts())


SUBTASK = Subtask(
    name="expired_exports",
    description="Marks exports as expired.",
    needs=(("ops",),),
    run=run,
    done=("expired",),
    due=lambda now, _limits: DUE.at(now),
    permanently_failed=FAILED,
)
'''
"""The module of a subtask that mika-ops does not have."""

DEFINITIONS = """
import json
from mika_ops import build_definitions
definitions = build_definitions()
job = definitions.resolve_job_def("mika_maintenance")
assets = [key.to_user_string() for spec in definitions.resolve_all_asset_specs() for key in [spec.key]]
print(json.dumps({"ops": [node.name for node in job.graph.nodes], "assets": assets}))
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a folder with a copy of the package that has a tenth subtask."""
    folder = tmp_path / "package"
    shutil.copytree(Path(mika_ops.__file__).parent, folder / "mika_ops", ignore=shutil.ignore_patterns("__pycache__"))
    subtasks = folder / "mika_ops" / "subtasks"
    (subtasks / "expired_exports.py").write_text(MODULE)
    registry = subtasks / "registry.py"
    text = registry.read_text()
    assert text.count("    webhook_retries.SUBTASK,\n") == text.count("    webhook_retries,\n") == 1
    text = text.replace("    webhook_retries,\n", "    webhook_retries, expired_exports,\n")
    registry.write_text(
        text.replace("    webhook_retries.SUBTASK,\n", "    webhook_retries.SUBTASK, expired_exports.SUBTASK,\n")
    )
    return folder


def test_a_tenth_subtask_needs_one_module_and_one_line(package: Path, sqlite_sites: Sites) -> None:
    url = sqlite_sites.new()
    database = open_database(url)
    put(
        database,
        "ops",
        recorded("accountExport", ("status",), {"id": "old", "status": "ready", "expiresAt": BEFORE}),
        recorded(
            "accountExport", ("status",), {"id": "new", "status": "ready", "expiresAt": "2999-01-01T00:00:00.000Z"}
        ),
        recorded("accountExport", ("status",), {"id": "bad", "status": "ready", "expiresAt": 5}),
        recorded("accountExport", ("status",), {"id": "broken", "status": "failed"}),
    )

    def python(*arguments: str) -> Any:
        environment = {**os.environ, "PYTHONPATH": str(package), "MIKA_DATABASE_URL": url}
        command = [sys.executable, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    command_line = ("-c", "from mika_ops.cli.main import main; main()")
    defined = python("-c", DEFINITIONS)
    backlog = python(*command_line, "backlog", "--json")
    dry_run = python(*command_line, "run", "--only", "expired_exports", "--dry-run", "--json")
    run = python(*command_line, "run", "--limit", "expired_exports=5", "--json")

    assert "expired_exports" in defined["ops"]
    assert "mika/expired_exports" in defined["assets"]
    assert backlog["subtasks"]["expired_exports"]["due"] == 1
    assert backlog["subtasks"]["expired_exports"]["failed_permanently"] == 1
    assert dry_run["subtasks"]["expired_exports"]["ids"] == ["old"]
    assert run["subtasks"]["expired_exports"]["expired"] == 1
    assert run["subtasks"]["expired_exports"]["malformed_ids"] == ["bad"]
    with database:
        statuses = {id_: document["status"] for id_, document in documents_of(database, "ops").items()}
    assert statuses == {"old": "expired", "new": "ready", "bad": "ready", "broken": "failed"}
