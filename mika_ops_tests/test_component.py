"""Maintenance as a Dagster component, in a real dg project."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster.components.testing import create_defs_folder_sandbox

from mika_ops import Host, MikaMaintenance
from mika_ops.config.loading import RENAMED_SETTINGS
from mika_ops.config.settings import Settings
from mika_ops_tests.orchestration.fake_host import Ephemeral

# Dagster's own loading of YAML uses what pydantic has deprecated, and what Dagster itself calls beta.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::dagster_shared.utils.warnings.BetaWarning"),
]

A_HOST = Host(ephemeral_purge=Ephemeral())
NO_HOST = 5


def a_host() -> Host:
    return A_HOST


def repository_of(attributes: dict[str, Any]) -> dg.RepositoryDefinition:
    """Load a component with these attributes."""
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(
            component_cls=MikaMaintenance,
            defs_yaml_contents={"type": "mika_ops.MikaMaintenance", "attributes": attributes},
        )
        with sandbox.load_component_and_build_defs(defs_path=path) as (_component, definitions):
            return definitions.get_repository_def()


def refusal_of(attributes: dict[str, Any]) -> str:
    """Return what is said where a component cannot be loaded."""
    with pytest.raises(Exception) as refused:  # noqa: PT011 - Dagster wraps it
        repository_of(attributes)
    messages, error = [], refused.value
    while error is not None:
        messages.append(str(error))
        error = error.__cause__  # type: ignore[assignment]
    return "\n".join(messages)


def test_one_shop_needs_no_attributes() -> None:
    repository = repository_of({})
    assert "mika_maintenance" in repository.job_names
    assert repository.has_schedule_def("mika_maintenance_schedule")


def test_settings_are_given_in_yaml_and_secrets_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EU_DATABASE_URL", "sqlite:////nowhere/eu.db")
    settings = {"database_url": "{{ env.EU_DATABASE_URL }}", "maintenance_schedule": "*/2 * * * *"}
    repository = repository_of({"name": "eu", "settings": settings})
    schedule = repository.get_schedule_def("mika_maintenance_eu_schedule")
    assert schedule.cron_schedule == "*/2 * * * *"
    failed = repository.get_job("mika_maintenance_eu").execute_in_process(raise_on_error=False)
    assert not failed.success
    assert "/nowhere/eu.db does not exist" in str(failed.all_events)


def test_what_the_yaml_does_not_give_is_read_from_the_shops_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIKA_EU_MAINTENANCE_SCHEDULE", "*/3 * * * *")
    schedule = repository_of({"name": "eu"}).get_schedule_def("mika_maintenance_eu_schedule")
    assert schedule.cron_schedule == "*/3 * * * *"


def test_several_shops_fit_into_one_component() -> None:
    shops = [
        {"name": "eu", "settings": {"limits": {"email_outbox": 25}, "email_extra_kinds": ["download"]}},
        {"name": "us", "settings": {"maintenance_enabled": False}},
    ]
    repository = repository_of({"shops": shops})
    assert {"mika_maintenance_eu", "mika_maintenance_us"} <= set(repository.job_names)
    assert repository.has_schedule_def("mika_maintenance_eu_schedule")
    assert not repository.has_schedule_def("mika_maintenance_us_schedule")


@pytest.mark.parametrize("place", ["A_HOST", "a_host"])
def test_a_host_of_ones_own_is_named_by_its_place(place: str) -> None:
    repository = repository_of({"name": "eu", "host": f"{__name__}.{place}"})
    done = repository.get_job("mika_maintenance_eu").execute_in_process()
    (output,) = [
        event
        for event in done.all_events
        if event.step_key == "ephemeral_records" and event.event_type is dg.DagsterEventType.STEP_OUTPUT
    ]
    assert output.step_output_data.metadata["status"].value == "completed"


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"settings": {"databse_url": "x"}}, "databse_url"),
        ({"settings": {"maintenance_schedule": "now and then"}}, "MIKA_MAINTENANCE_SCHEDULE"),
        ({"name": "eu", "settings": {"smtp_url": "smtp://mail.example"}}, "MIKA_EU_SMTP_URL is set without"),
        ({"settings": {"database_url": "{{ env.NOT_SET }}"}}, "settings.database_url: empty; is the variable set"),
        ({"name": "EU"}, "is no name of a shop"),
        ({"name": "eu", "shops": [{"name": "us"}]}, "give either shops"),
        ({"host": f"{__name__}.NO_HOST"}, "is int, not a mika_ops.Host"),
        ({"host": "nowhere.at_all"}, "'nowhere.at_all' cannot be imported"),
        ({"host": "nothing"}, "'nothing' cannot be imported"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_sentence(attributes: dict[str, Any], message: str) -> None:
    assert message in refusal_of(attributes)


def test_two_shops_of_one_name_are_refused() -> None:
    message = refusal_of({"shops": [{"name": "eu"}, {"name": "us"}, {"name": "eu"}]})
    assert "two shops have the name eu" in message


def test_neither_the_component_nor_its_refusal_shows_a_secret() -> None:
    given = MikaMaintenance.resolve_from_dict({"settings": {"database_url": "postgresql://u:hunter2@h/d"}})
    assert "hunter2" not in repr(given)
    assert "hunter2" not in refusal_of({"settings": {"database_url": "postgresql://u:hunter2@h:port/d"}})


def test_every_setting_can_be_given_and_is_described() -> None:
    schema = MikaMaintenance.model().model_json_schema()
    properties = schema["$defs"]["ShopSettingsModel"]["properties"]
    described = {name: value["description"] for name, value in properties.items()}
    removed = {old: f"Removed: use {new}." for old, new in RENAMED_SETTINGS.items()}
    assert described == {name: field.description for name, field in Settings.model_fields.items()} | removed


def test_a_removed_setting_is_rejected_with_its_replacement() -> None:
    refusal = refusal_of({"settings": {"alert_silence_minutes": 120}})
    assert "settings.alert_silence_minutes was renamed: use settings.alert_no_run_minutes" in refusal


def dg_command(*arguments: str, project: Path) -> str:
    """Run Dagster's dg in a project; return what it printed."""
    home = project / "dagster_home"
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    done = subprocess.run(  # noqa: S603
        [str(Path(sys.executable).with_name("dg")), *arguments],
        cwd=project,
        env={**os.environ, "DAGSTER_HOME": str(home), "PYTHONPATH": str(project / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.thorough
def test_dg_lists_scaffolds_and_checks_the_component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "src" / "platform_team"
    (package / "defs").mkdir(parents=True)
    for folder in (package, package / "defs"):
        (folder / "__init__.py").touch()
    (package / "definitions.py").write_text(
        dedent(
            """
            from pathlib import Path
            import dagster as dg

            @dg.definitions
            def defs():
                return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
            """
        )
    )
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "platform-team"\nversion = "0.1.0"\n'
        '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "platform_team"\n'
    )
    monkeypatch.setenv("MIKA_DATABASE_URL", "sqlite:////nowhere/shop.db")
    assert "mika_ops.MikaMaintenance" in dg_command("list", "components", project=tmp_path)
    dg_command("scaffold", "defs", "mika_ops.MikaMaintenance", "shop", project=tmp_path)
    scaffolded = yaml.safe_load((package / "defs" / "shop" / "defs.yaml").read_text())
    assert scaffolded == {
        "type": "mika_ops.MikaMaintenance",
        "attributes": {"settings": {"database_url": "{{ env.MIKA_DATABASE_URL }}"}},
    }
    dg_command("check", "defs", project=tmp_path)
    assert "mika_maintenance_schedule" in dg_command("list", "defs", project=tmp_path)
