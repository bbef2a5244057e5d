from typing import Any

import dagster as dg
import pytest

from mika_ops.clock import utc_now
from mika_ops.config.loading import isolated_settings
from mika_ops.config.shop import Shop
from mika_ops.config.validators import LIMITED_SUBTASKS
from mika_ops.orchestration.definitions import build_definitions
from mika_ops.orchestration.maintenance.job import JOB_NAME
from mika_ops.orchestration.maintenance.launchpad import RUN_RESOURCE
from mika_ops.orchestration.maintenance.resources import resources_for
from mika_ops.timestamps import to_timestamp
from mika_ops_tests.orchestration.fake_host import Outbox, run_job, whole_host

NOT_CHOSEN = "not chosen for this run"


def drained_with(config: dict[str, Any], **settings: Any) -> tuple[str, int | None]:
    outbox = Outbox()
    run_job(whole_host(email_outbox=outbox), config=config, settings=isolated_settings(**settings))
    (drain,) = outbox.drains
    return drain


def test_an_empty_launchpad_runs_every_subtask_now_and_without_limit() -> None:
    before = to_timestamp(utc_now())

    now, limit = drained_with({})

    assert before <= now <= to_timestamp(utc_now())
    assert limit is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00.000Z"),
        ("2026-03-01T13:00:00.250+01:00", "2026-03-01T12:00:00.250Z"),
        ("2026-03-01", "2026-03-01T00:00:00.000Z"),
    ],
)
def test_the_run_judges_what_is_due_at_the_time_of_the_launchpad(written: str, meant: str) -> None:
    now, _limit = drained_with({"now": written})

    assert now == meant


def test_a_limit_of_the_launchpad_reaches_its_subtask() -> None:
    assert drained_with({"limits": {"email_outbox": 7}})[1] == 7


def test_a_limit_of_the_launchpad_comes_before_that_of_the_settings() -> None:
    assert drained_with({"limits": {"email_outbox": 7}}, limits={"email_outbox": 25})[1] == 7


def test_a_limit_of_the_settings_holds_where_the_launchpad_has_none() -> None:
    assert drained_with({"limits": {"stuck_emails": 7}}, limits={"email_outbox": 25})[1] == 25


def test_a_limit_of_nothing_at_all_can_be_asked_for() -> None:
    assert drained_with({"limits": {"email_outbox": 0}}, limits={"email_outbox": 25})[1] == 0


def test_only_the_chosen_subtasks_run_in_their_own_order() -> None:
    run = run_job(whole_host(), config={"subtasks": ["ephemeral_records", "email_outbox"]})

    assert [name for name, status in run.statuses.items() if status == "completed"] == [
        "email_outbox",
        "ephemeral_records",
    ]
    assert all(run.metadata[name]["reason"] == NOT_CHOSEN for name in run.statuses if run.statuses[name] == "skipped")


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"now": "tomorrow"}, "'tomorrow' is no time: write ISO 8601, such as 2026-03-01T12:00:00Z"),
        ({"now": ""}, "'' is no time: write ISO 8601, such as 2026-03-01T12:00:00Z"),
        ({"subtasks": ["stuck_email"]}, "'stuck_email' is no subtask: did you mean stuck_emails?"),
        ({"limits": {"email_outbox": -1}}, "the limit of email_outbox is -1: it must be 0 or more"),
    ],
)
def test_a_launchpad_that_cannot_be_meant_is_refused_in_one_sentence(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(dg.DagsterError) as refused:
        run_job(whole_host(), config=config)

    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    "config",
    [
        {"limits": {"email_outbox": "many"}},
        {"limits": {"stock_reservations": 1}},
        {"subtasks": "email_outbox"},
        {"limit": {"email_outbox": 1}},
        {"now": 5},
    ],
)
def test_a_launchpad_of_the_wrong_types_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError):
        run_job(whole_host(), config=config)


@pytest.mark.parametrize("config", [{"now": "tomorrow"}, {"subtasks": ["x"]}, {"limits": {"email_outbox": -1}}])
def test_a_refused_launchpad_changes_nothing_and_leaves_no_run(config: dict[str, Any]) -> None:
    outbox = Outbox()

    with dg.DagsterInstance.ephemeral() as instance:
        with pytest.raises(dg.DagsterError):
            run_job(whole_host(email_outbox=outbox), config=config, instance=instance)

        assert instance.get_runs_count() == 0
    assert outbox.drains == []


def launchpad_fields() -> dict[str, Any]:
    job = build_definitions(settings=isolated_settings()).resolve_job_def(JOB_NAME)
    assert job.config_mapping is not None
    shape: Any = job.config_mapping.config_schema.config_type
    return dict(shape.fields)


def test_the_launchpad_offers_the_time_the_subtasks_and_a_limit_for_each_that_takes_one() -> None:
    fields = launchpad_fields()

    assert set(fields) == {"now", "subtasks", "limits"}
    assert set(fields["limits"].config_type.fields) == set(LIMITED_SUBTASKS)


def test_every_field_of_the_launchpad_is_optional_and_described() -> None:
    fields = launchpad_fields()
    fields |= fields["limits"].config_type.fields

    assert [name for name, field in fields.items() if field.is_required or not field.description] == []


def test_subtasks_that_are_not_chosen_keep_no_time_for_themselves() -> None:
    plan = resources_for(Shop(isolated_settings()))[RUN_RESOURCE]
    with dg.build_init_resource_context(config={"subtasks": ["webhook_retries", "email_outbox"]}) as context:
        assert plan(context).budget.subtasks == ("email_outbox", "webhook_retries")
