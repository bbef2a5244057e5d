"""The asset checks, evaluated from the UI."""

from typing import Any

import dagster as dg

from mika_ops.config.loading import isolated_settings
from mika_ops.config.shop import Shop
from mika_ops.host.host import Host
from mika_ops.monitoring.checks import CHECK_NAMES, CHECKS
from mika_ops.orchestration.definitions import build_definitions
from mika_ops.orchestration.observability.checks import health_checks
from mika_ops.store.database import Database
from mika_ops_testing.builders import delete_request, email, put
from mika_ops_tests.orchestration.fake_host import Backlogs
from mika_ops_tests.orchestration.observability.observing import LONG_AGO


def execute_checks(instance: dg.DagsterInstance, host: Host | None = None, **settings: Any) -> Any:
    """Execute the checks as the UI's button does."""
    definitions = build_definitions(host=host, settings=isolated_settings(**settings))
    job = definitions.get_repository_def().get_job("__ASSET_JOB")
    return job.execute_in_process(instance=instance, raise_on_error=False)


def test_the_checks_can_be_executed_by_hand(database: Database, url: str, instance: dg.DagsterInstance) -> None:
    put(database, "ops", email(nextAttemptAt=LONG_AGO), delete_request(status="failed", top={"createdAt": LONG_AGO}))

    result = execute_checks(instance, database_url=url)

    assert result.success
    evaluations = {each.check_name: each for each in result.get_asset_check_evaluations()}
    assert tuple(sorted(evaluations)) == tuple(sorted(CHECK_NAMES))
    assert {name for name, each in evaluations.items() if not each.passed} == {
        "oldest_due_email",
        "overdue_account_deletes",
    }
    assert evaluations["overdue_account_deletes"].severity is dg.AssetCheckSeverity.ERROR
    assert evaluations["oldest_due_email"].severity is dg.AssetCheckSeverity.WARN


def test_checks_that_cannot_read_the_shop_fail_with_a_sentence(instance: dg.DagsterInstance) -> None:
    result = execute_checks(instance, database_url="sqlite:////nowhere/shop.db")

    assert not result.success
    (failure,) = [event for event in result.all_events if event.event_type is dg.DagsterEventType.STEP_FAILURE]
    assert "/nowhere/shop.db" in failure.step_failure_data.user_failure_data.description


def test_a_shop_without_a_backlog_has_no_checks() -> None:
    assert health_checks(Shop(isolated_settings())) == []


def test_a_check_says_what_its_threshold_is_and_which_setting_moves_it() -> None:
    (health,) = health_checks(Shop(isolated_settings(check_due_email_minutes=30), "eu", Host(backlog=Backlogs())))

    described = {spec.name: spec for spec in health.check_specs}
    assert list(described) == [check.name for check in CHECKS]
    assert str(described["oldest_due_email"].description).endswith("Threshold: MIKA_EU_CHECK_DUE_EMAIL_MINUTES, 30.")
    assert described["oldest_due_email"].asset_key == dg.AssetKey(["mika", "eu", "email_outbox"])
    assert described["malformed_documents"].asset_key == dg.AssetKey(["mika", "eu", "shop"])


def test_assets_name_their_owners_and_the_database_they_are_in() -> None:
    settings = isolated_settings(
        database_url="postgresql://shop@db/site", asset_owners=("team:night", "ann@shop.example")
    )

    (spec, *_others) = [
        spec
        for asset in build_definitions(settings=settings).get_repository_def().assets_defs_by_key.values()
        for spec in asset.specs
        if spec.key.path[-1] == "email_outbox"
    ]

    assert (list(spec.owners), spec.kinds) == (["team:night", "ann@shop.example"], {"postgres"})
