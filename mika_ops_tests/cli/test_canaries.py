"""Nothing personal and no secret is printed by any command, whatever it has to say of a shop full of canaries."""

import pytest
from click.testing import CliRunner

from mika_ops.cli.main import main
from mika_ops.store.opening import open_database
from mika_ops_tests.orchestration.test_canaries import CANARY, fill

COMMANDS = (
    ["doctor"],
    ["doctor", "--json"],
    ["backlog"],
    ["backlog", "--json"],
    ["run", "--dry-run"],
    ["run", "--dry-run", "--json"],
    ["email", "failed"],
    ["email", "failed", "--json"],
    ["run", "--strict"],
    ["run", "--json"],
    ["account-deletes", "recheck", "--dry-run"],
    ["account-deletes", "recheck", "--all"],
    ["account-deletes", "recheck", "--all", "--json"],
    ["email", "requeue", "--all-failed", "--yes"],
    ["email", "requeue", "email_dead", "email_1", "nobody", "--yes"],
    ["email", "preview", "magic_link"],
    ["db", "prepare"],
    ["alerts", "test"],
)


def test_no_command_prints_what_is_private(
    url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with open_database(url) as shop:
        fill(shop)
    settings = {
        "DATABASE_URL": url,
        "SMTP_URL": f"smtp://{CANARY}:{CANARY}@127.0.0.1:1",
        "EMAIL_FROM": "shop@example.test",
        "ADMIN_API_URL": "http://127.0.0.1:1",
        "ADMIN_API_TOKEN": f"ec_pat_{CANARY}",
        "ALERT_URLS": f"json://user:{CANARY}@127.0.0.1:1/{CANARY}",
        "ADMIN_API_TIMEOUT_SECONDS": "1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"MIKA_{name}", value)
    for command in COMMANDS:
        printed = printed_by(command, capfd)
        assert printed, f"{command} says nothing"
        assert CANARY not in printed, f"{command}: {printed}"
        assert "Traceback" not in printed, f"{command}: {printed}"


@pytest.mark.parametrize("variable", ["DATABASE_URL", "SMTP_URL", "ADMIN_API_URL", "ALERT_URLS", "CELERY_BROKER_URL"])
def test_a_setting_that_cannot_be_used_is_not_shown(
    variable: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"MIKA_{variable}", f"{CANARY}:// {CANARY}@:{CANARY}")
    printed = printed_by(["doctor"], capfd)
    assert f"MIKA_{variable}" in printed
    assert CANARY not in printed


def printed_by(command: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """Return all that a command prints, and what anything prints while it runs."""
    done = CliRunner().invoke(main, command, env={"COLUMNS": "200"})
    beside = capfd.readouterr()
    return done.output + beside.out + beside.err


def test_every_command_is_among_them() -> None:
    of_groups = {
        (name, inner) for name, group in main.commands.items() for inner in getattr(group, "commands", {"": 0})
    }
    tried = {
        (command[0], command[1] if command[0] in {"account-deletes", "email", "db", "alerts"} else "")
        for command in COMMANDS
    }
    assert tried == of_groups
