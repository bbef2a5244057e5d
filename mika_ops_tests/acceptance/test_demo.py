import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from io import StringIO
from pathlib import Path

import dagster as dg
import psutil
import pytest
from rich.console import Console

from mika_ops.cli.tables import run_table
from mika_ops.demo.embedded_postgres import data_directory
from mika_ops.ports.backlog import Backlog, Due
from mika_ops.subtasks.email_outbox import EmailOutboxResult
from mika_ops.subtasks.outcome import Completed, Failed, Outcome, Skipped, SweptResult
from mika_ops_testing.sites import DatabaseKind

SKIPPED = "webhook_retries"
DONE = re.compile(r"│ (\w+) +│ (completed|skipped|failed) +│ (.*?) +│ +\d+ │ +([\d–]+) │")


@dataclass(frozen=True)
class Demo:
    """The demo in a folder with a space in its name, run twice."""

    folder: Path
    kind: DatabaseKind
    first: subprocess.CompletedProcess[str]
    second: subprocess.CompletedProcess[str]

    @property
    def outbox(self) -> list[EmailMessage]:
        files = sorted((self.folder / "demo" / f"outbox-{self.kind}").glob("*.eml"))
        return [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo") / "my shop"
    folder.mkdir()
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("MIKA_", "DAGSTER_"))}
    # A real shop's settings, which the demo must not touch.
    environment |= {"MIKA_DATABASE_URL": "sqlite:////nowhere/shop.db", "COLUMNS": "200"}

    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mika_ops.demo", "run", "--database", request.param]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)  # noqa: S603

    yield Demo(folder, request.param, run(), run())
    shutil.rmtree(data_directory(folder / "demo" / "postgres"), ignore_errors=True)


def outcomes_of(run: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, str, str]]:
    return {name: (status, words, left) for name, status, words, left in DONE.findall(run.stdout)}


def test_the_demo_succeeds_and_prints_nothing_but_its_report(demo: Demo) -> None:
    assert (demo.first.returncode, demo.first.stderr) == (0, "")
    assert (demo.second.returncode, demo.second.stderr) == (0, "")


def test_the_demo_has_work_for_every_subtask_but_the_one_that_needs_a_site(demo: Demo) -> None:
    outcomes = outcomes_of(demo.first)

    assert len(outcomes) == 9
    assert {name for name, (status, _words, _left) in outcomes.items() if status == "completed"} == set(outcomes) - {
        SKIPPED
    }
    assert [name for name, (_status, words, _left) in outcomes.items() if words == "nothing due"] == []


def test_the_demo_says_why_the_other_is_skipped(demo: Demo) -> None:
    status, words, left = outcomes_of(demo.first)[SKIPPED]

    assert (status, left) == ("skipped", "5")
    assert words == "not configured: admin_api; set MIKA_ADMIN_API_URL and MIKA_ADMIN_API_TOKEN"


def test_the_demo_leaves_nothing_due(demo: Demo) -> None:
    assert {left for name, (_status, _words, left) in outcomes_of(demo.first).items() if name != SKIPPED} == {"0"}


def test_a_second_run_says_that_nothing_was_due(demo: Demo) -> None:
    outcomes = outcomes_of(demo.second)

    assert {words for name, (_status, words, _left) in outcomes.items() if name != SKIPPED} == {"nothing due"}
    assert "Nothing was due" in demo.second.stdout
    assert "Nothing was due" not in demo.first.stdout


def test_the_emails_of_the_demo_can_be_opened(demo: Demo) -> None:
    assert f"Emails sent so far: {len(demo.outbox)}, " in demo.second.stdout
    assert len(demo.outbox) > 50
    for message in demo.outbox:
        assert message["To"].addresses[0].domain == "example.test"
        assert message["Subject"]
        assert message["Message-ID"]
        assert {part.get_content_type() for part in message.walk()} >= {"text/plain", "text/html"}


def test_no_email_is_sent_twice(demo: Demo) -> None:
    ids = [message["Message-ID"] for message in demo.outbox]

    assert len(ids) == len(set(ids))


def test_the_runs_are_in_the_history_that_the_ui_shows(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(demo.folder))

    with dg.DagsterInstance.get() as instance:
        runs = instance.get_runs()
    assert [(run.job_name, run.status) for run in runs] == [("mika_maintenance", dg.DagsterRunStatus.SUCCESS)] * 2


def rendered(width: int, *, left: Backlog | None) -> str:
    outcomes: dict[str, Outcome] = {
        "email_outbox": Completed(result=EmailOutboxResult(sent=3, has_more=True), duration_ms=12),
        "stuck_emails": Completed(result=SweptResult(), duration_ms=1),
        "acp_sessions": Skipped(reason="not configured: acp_sessions"),
        "stock_reservations": Failed(error="no [bold]item[/bold]", result=SweptResult(scanned=2), duration_ms=5),
    }
    text = StringIO()
    Console(width=width, file=text).print(run_table(outcomes, left))
    return text.getvalue()


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines() if line.startswith("│")]


def test_the_report_has_a_row_for_each_subtask_with_what_became_of_it() -> None:
    assert cells(rendered(120, left=None)) == [
        ["email_outbox", "completed", "sent 3, has_more yes", "12"],
        ["stuck_emails", "completed", "nothing due", "1"],
        ["acp_sessions", "skipped", "not configured: acp_sessions", "0"],
        ["stock_reservations", "failed", "no [bold]item[/bold]; scanned 2", "5"],
    ]


def test_the_report_shows_what_is_left_where_that_is_known() -> None:
    left = Backlog({"email_outbox": Due(7), "stuck_emails": Due(0)})

    assert [row[-1] for row in cells(rendered(120, left=left))] == ["7", "0", "–", "–"]


def test_the_report_fits_a_narrow_terminal_and_keeps_the_names_whole() -> None:
    table = rendered(60, left=None)

    assert all(len(line) <= 60 for line in table.splitlines())
    assert "stock_reservations" in table
    assert "completed" in table


WITH_CHILDREN = """
import signal, subprocess, sys, time
deaf = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(600)"
try:
    for code in ("import time; time.sleep(600)", deaf):
        subprocess.Popen([sys.executable, "-c", code])
    print("ready", flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    sys.exit(3)
"""

ATTENDANT = """
import os, sys
from mika_ops.demo.process_group import run_in_process_group
sys.exit(run_in_process_group([sys.executable, "-c", sys.argv[1]], os.environ))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_the_demo_attends_to_is_interrupted_and_leaves_no_process_behind(number: signal.Signals) -> None:
    command = [sys.executable, "-c", ATTENDANT, WITH_CHILDREN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as attendant:  # noqa: S603
        assert attendant.stdout is not None
        assert attendant.stdout.readline() == "ready\n"
        family = psutil.Process(attendant.pid).children(recursive=True)
        attendant.send_signal(number)
        assert attendant.wait(timeout=30) == 3

    assert len(family) == 3
    _gone, alive = psutil.wait_procs(family, timeout=10)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
