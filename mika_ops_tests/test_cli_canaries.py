"""Nothing personal and no secret is printed by any command, whatever it has to say of a shop full of canaries."""

import subprocess
import sys
from pathlib import Path

import pytest

from mika_ops.cli import main
from mika_ops.store.engine import open_database
from mika_ops_tests.orchestration.test_canaries import CANARY, fill

COMMANDS = (
    ["doctor"],
    ["doctor", "--json"],
    ["backlog"],
    ["backlog", "--json"],
    ["run", "--dry-run"],
    ["run", "--dry-run", "--json"],
    ["run", "--strict"],
    ["run", "--json"],
    ["email", "failed"],
    ["email", "failed", "--json"],
    ["email", "requeue", "--all-failed", "--yes"],
    ["email", "requeue", "email_dead", "email_1", "nobody", "--yes"],
    ["email", "preview", "magic_link"],
    ["db", "prepare"],
    ["alerts", "test"],
)


def test_no_command_prints_what_is_private(url: str, tmp_path: Path) -> None:
    with open_database(url) as shop:
        fill(shop)
    settings = {
        "DATABASE_URL": url,
        "SMTP_URL": f"smtp://{CANARY}:{CANARY}@127.0.0.1:1",
        "EMAIL_FROM": "shop@example.test",
        "ADMIN_API_URL": "http://127.0.0.1:1",
        "ADMIN_API_TOKEN": f"ec_pat_{CANARY}",
        "ALERT_URLS": f"json://user:{CANARY}@127.0.0.1:1/{CANARY}",
    }
    environment = {f"MIKA_{name}": value for name, value in settings.items()}
    for command in COMMANDS:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "mika_ops.cli", *command],
            cwd=tmp_path,
            env={**environment, "PATH": "/usr/bin:/bin", "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
        )
        printed = done.stdout + done.stderr
        assert printed, f"{command} says nothing"
        assert CANARY not in printed, f"{command}: {printed}"
        assert "Traceback" not in printed, f"{command}: {printed}"


@pytest.mark.parametrize("variable", ["DATABASE_URL", "SMTP_URL", "ADMIN_API_URL", "ALERT_URLS", "CELERY_BROKER_URL"])
def test_a_setting_that_cannot_be_used_is_not_shown(variable: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mika_ops.cli", "doctor"],
        cwd=tmp_path,
        env={f"MIKA_{variable}": f"{CANARY}:// {CANARY}@:{CANARY}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (1, 2)
    assert f"MIKA_{variable}" in done.stdout + done.stderr
    assert CANARY not in done.stdout + done.stderr


def test_every_command_is_among_them() -> None:
    of_groups = {
        (name, inner) for name, group in main.commands.items() for inner in getattr(group, "commands", {"": 0})
    }
    tried = {(command[0], command[1] if command[0] in {"email", "db", "alerts"} else "") for command in COMMANDS}
    assert tried == of_groups
