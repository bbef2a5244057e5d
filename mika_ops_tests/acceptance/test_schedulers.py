"""Maintenance can be started by cron, systemd, Kubernetes and Cloudflare with the files in deploy/schedulers."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from mika_ops.cli.main import main
from mika_ops.config.cron import require_cron
from mika_ops.config.loading import isolated_settings, load_settings, unknown_variables
from mika_ops.config.settings import Settings
from mika_ops_testing.sites import Sites

PROJECT = Path(__file__).resolve().parents[2]
SCHEDULERS = PROJECT / "deploy" / "schedulers"
GUIDE = PROJECT / "docs" / "schedulers.md"


def of_run(command: Sequence[str]) -> dict[str, Any]:
    """Return what the command ``mika-ops run`` understands of a command line; it refuses options that it has not."""
    program, subcommand, *options = command
    assert (Path(program).name, subcommand) == ("mika-ops", "run")
    return main.commands["run"].make_context("run", options).params


def is_setting(name: str) -> bool:
    return name.removeprefix("MIKA_").lower() in Settings.model_fields


def mika_ops_cron(env_file: Path, path: str) -> subprocess.CompletedProcess[str]:
    command = ["/bin/sh", str(SCHEDULERS / "mika-ops-cron"), str(env_file)]
    return subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True)  # noqa: S603


class TestTheGuide:
    def test_it_names_every_file(self) -> None:
        files = [path for path in SCHEDULERS.rglob("*") if path.is_file()]

        assert len(files) >= 9
        assert [path.name for path in files if f"../{path.relative_to(PROJECT)}" not in GUIDE.read_text()] == []

    def test_its_links_lead_somewhere(self) -> None:
        links = re.findall(r"\]\((?!http)([^)#]+)\)", GUIDE.read_text())

        assert [link for link in links if not (GUIDE.parent / link).exists()] == []

    def test_no_file_names_a_setting_that_there_is_not(self) -> None:
        for path in [GUIDE, *(path for path in SCHEDULERS.rglob("*") if path.is_file())]:
            named = set(re.findall(r"\bMIKA_[A-Z_]+\b", path.read_text()))
            assert [name for name in named if not is_setting(name)] == [], path.name


class TestTheEnvironmentFile:
    def test_a_shell_and_systemd_read_the_same_settings_from_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # systemd takes what stands between single quotes as it is.
        by_systemd = dict(re.findall(r"^(\w+)='([^'\\]*)'$", (SCHEDULERS / "mika-ops.env").read_text(), re.MULTILINE))

        script = 'set -a; . "$0"; exec "$1" -c "import json, os; print(json.dumps(dict(os.environ)))"'
        command = ["/bin/sh", "-c", script, str(SCHEDULERS / "mika-ops.env"), sys.executable]
        read = subprocess.run(command, capture_output=True, check=True)  # noqa: S603

        by_shell = {name: value for name, value in json.loads(read.stdout).items() if name.startswith("MIKA_")}
        assert by_shell == by_systemd
        for name, value in by_shell.items():
            monkeypatch.setenv(name, value)
        assert load_settings().email_from == "Shop <orders@shop.example>"
        assert unknown_variables() == []


class TestCron:
    @pytest.fixture
    def tools(self, tmp_path: Path) -> Path:
        """Return a folder with a ``logger`` that writes into a file beside it, in the place of syslog."""
        folder = tmp_path / "bin"
        folder.mkdir()
        self.program(folder / "logger", 'echo "$*" >> "${0%/*}/../syslog"; cat >> "${0%/*}/../syslog"')
        return folder

    def program(self, path: Path, script: str) -> None:
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def run(self, tools: Path, env_file: str) -> subprocess.CompletedProcess[str]:
        (tools.parent / "env").write_text(env_file)
        path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
        return mika_ops_cron(tools.parent / "env", path)

    def test_the_crontab_starts_the_script_every_minute_unless_it_is_running(self) -> None:
        (line,) = (line for line in (SCHEDULERS / "crontab").read_text().splitlines() if line.startswith("*"))
        *schedule, user, command = line.split(maxsplit=6)

        assert require_cron(" ".join(schedule)) == "* * * * *"
        assert user == "mika-ops"
        assert command == "flock --nonblock /run/lock/mika-ops.lock mika-ops-cron"
        assert os.access(SCHEDULERS / "mika-ops-cron", os.X_OK)

    def test_a_run_that_ends_well_is_logged_and_mails_nothing(self, tools: Path, sqlite_sites: Sites) -> None:
        done = self.run(tools, f"MIKA_DATABASE_URL='{sqlite_sites.new()}'\n")

        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        options, report = (tools.parent / "syslog").read_text().splitlines()
        assert options == "--size 8192 --tag mika-ops --priority cron.info"
        assert json.loads(report)["success"] is True

    def test_a_wrong_setting_is_logged_as_an_error_and_mailed_in_its_sentence(self, tools: Path) -> None:
        done = self.run(tools, "MIKA_SMTP_URL=smtp://mail.shop.example\n")

        assert done.returncode == 2
        assert "MIKA_SMTP_URL is set without MIKA_EMAIL_FROM" in done.stdout
        assert "MIKA_SMTP_URL is set without MIKA_EMAIL_FROM" in (tools.parent / "syslog").read_text()
        assert "--priority cron.err" in (tools.parent / "syslog").read_text()

    @pytest.mark.parametrize("code", [1, 2, 3])
    def test_a_run_that_does_not_end_well_is_mailed_and_its_exit_code_kept(self, tools: Path, code: int) -> None:
        self.program(tools / "mika-ops", f'echo "called with $*"; echo "on stderr" >&2; exit {code}')

        done = self.run(tools, "")

        assert done.returncode == code
        heading, call, rest = done.stdout.splitlines()
        assert heading == f"mika-ops run exited with {code}:"
        assert of_run(["mika-ops", *call.removeprefix("called with ").split()])["strict"] is True
        assert rest == "on stderr"

    def test_a_run_that_hangs_is_ended_after_ten_minutes_and_mailed(self, tools: Path) -> None:
        self.program(tools / "timeout", 'echo "called with $*"; exit 124')

        done = self.run(tools, "")

        assert done.returncode == 124
        heading, call = done.stdout.splitlines()
        assert heading == "mika-ops run exited with 124:"
        assert call.startswith("called with --kill-after=30s 10m mika-ops run ")

    def test_an_environment_file_that_is_not_there_starts_nothing(self, tools: Path) -> None:
        self.program(tools / "mika-ops", "echo started")

        done = mika_ops_cron(tools / "nowhere", f"{tools}{os.pathsep}{os.environ['PATH']}")

        assert done.returncode != 0
        assert str(tools / "nowhere") in done.stderr
        assert done.stdout == ""


class TestSystemd:
    def unit(self, name: str) -> ConfigParser:
        # A directive may be repeated, and % is systemd's own.
        unit = ConfigParser(strict=False, interpolation=None)
        unit.optionxform = str  # type: ignore[assignment, method-assign]
        unit.read_string((SCHEDULERS / name).read_text())
        return unit

    def test_the_service_runs_maintenance_once_as_a_user_of_its_own(self) -> None:
        service = self.unit("mika-ops.service")["Service"]

        assert service["Type"] == "oneshot"
        assert of_run(service["ExecStart"].split())["strict"] is True
        assert service["User"] != "root"
        assert service["EnvironmentFile"] == "/etc/mika-ops/env"

    def test_a_failed_run_starts_what_tells_of_it(self) -> None:
        step_metadata = self.unit("mika-ops.service")["Unit"]["OnFailure"]

        assert self.unit(step_metadata)["Service"]["Type"] == "oneshot"
        assert "mika-ops.service" in self.unit(step_metadata)["Service"]["ExecStart"]

    def test_the_timer_starts_the_service_at_every_minute_and_makes_up_for_none(self) -> None:
        # A timer starts the service of its own name.
        timer = self.unit("mika-ops.timer")

        assert timer["Timer"]["OnCalendar"] == "*-*-* *:*:00"
        assert timer["Timer"]["AccuracySec"] == "1s"
        assert timer["Timer"]["Persistent"] == "false"
        assert timer["Install"]["WantedBy"] == "timers.target"


class TestKubernetes:
    @pytest.fixture
    def cronjob(self) -> Any:
        return yaml.safe_load((SCHEDULERS / "cronjob.yaml").read_text())["spec"]

    @pytest.fixture
    def pod(self, cronjob: Any) -> Any:
        return cronjob["jobTemplate"]["spec"]["template"]["spec"]

    def test_runs_do_not_overlap_and_one_that_fails_or_hangs_is_not_repeated(self, cronjob: Any) -> None:
        assert require_cron(cronjob["schedule"]) == "* * * * *"
        assert cronjob["concurrencyPolicy"] == "Forbid"
        assert 10 <= cronjob["startingDeadlineSeconds"] < 60
        job = cronjob["jobTemplate"]["spec"]
        assert job["backoffLimit"] == 0
        assert job["activeDeadlineSeconds"] == 600
        assert job["template"]["spec"]["restartPolicy"] == "Never"

    def test_its_command_is_ours_and_its_variables_are_settings_that_fit_together(self, pod: Any) -> None:
        (container,) = pod["containers"]
        secrets = {"MIKA_DATABASE_URL": "postgresql://mika:password@db.shop.example/shop"}
        values = {each["name"]: each.get("value") or secrets.get(each["name"], "password") for each in container["env"]}

        assert of_run(container["command"])["strict"] is True
        assert [name for name in values if not is_setting(name)] == []
        settings = {name.removeprefix("MIKA_").lower(): value for name, value in values.items()}
        assert isolated_settings(**settings).time_budget_seconds < 60

    def test_every_secret_comes_from_a_secret(self, pod: Any) -> None:
        (container,) = pod["containers"]

        from_secrets = {each["name"] for each in container["env"] if "secretKeyRef" in each.get("valueFrom", {})}

        assert from_secrets == {"MIKA_DATABASE_URL", "MIKA_SMTP_PASSWORD", "MIKA_ADMIN_API_TOKEN"}

    def test_it_runs_without_privileges_and_writes_temporary_files_only(self, pod: Any) -> None:
        (container,) = pod["containers"]

        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - where it is, in a pod
        assert [(volume["name"], "emptyDir" in volume) for volume in pod["volumes"]] == [("tmp", True)]
