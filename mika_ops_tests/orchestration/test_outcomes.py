"""Outcomes in Dagster: what is written to metadata and tags is read back as it was."""

from typing import Any

import dagster as dg
import pytest

from mika_ops.config.loading import isolated_settings
from mika_ops.monitoring.checks import CheckResult
from mika_ops.orchestration.outcomes import from_metadata, read_outcomes, result_tags, to_metadata
from mika_ops.orchestration.tags import COMPLETED_TAG, FAILED_TAG, HEALTHY_TAG, SKIPPED_TAG, UNHEALTHY_TAG, names_in
from mika_ops.subtasks.account_delete.requests import AccountDeleteRequestsResult
from mika_ops.subtasks.email_outbox import EmailOutboxResult
from mika_ops.subtasks.outcome import (
    Completed,
    Failed,
    NotChosen,
    Outcome,
    Skipped,
    SubtaskResult,
    SweptResult,
    outcome_facts,
    result_of,
)
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops.subtasks.webhook_retries import WebhookRetriesResult
from mika_ops_tests.orchestration.fake_host import run_job, whole_host

OUTCOMES: list[Outcome] = [
    Completed(result=EmailOutboxResult(sent=3, has_more=True, stopped_reason="the server is full"), duration_ms=12),
    Completed(result=WebhookRetriesResult(failed=2, failed_ids=("a: 409", "b: 500"), malformed_ids=("c",))),
    Completed(result=AccountDeleteRequestsResult(failed_ids=("d",))),
    Failed(error="the disk is full", result=SweptResult(scanned=4), duration_ms=5),
    Failed(error="the disk is full"),
    Skipped(reason="not configured: ops"),
]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_outcome_is_read_back_as_it_was_written(outcome: Outcome) -> None:
    read = from_metadata(to_metadata(outcome))

    assert type(read) is type(outcome)
    assert outcome_facts(read) == outcome_facts(outcome)
    assert list(to_metadata(read)) == list(to_metadata(outcome))
    assert result_of(read).named_ids() == result_of(outcome).named_ids()


def test_what_was_not_chosen_is_known_by_the_plan_and_shown_as_skipped() -> None:
    shown = to_metadata(NotChosen())

    assert shown == {"status": "skipped", "duration_ms": 0, "reason": "not chosen for this run"}
    assert from_metadata(shown, chosen=False) == NotChosen()
    assert not isinstance(from_metadata({**shown, "reason": "not configured: ops"}), NotChosen)


def test_metadata_that_is_no_outcome_is_refused() -> None:
    with pytest.raises(ValueError, match="'lost' is not the status of an outcome"):
        from_metadata({"status": "lost", "duration_ms": 0})


def results(kind: type[SubtaskResult] = SubtaskResult) -> list[type[SubtaskResult]]:
    return [each for child in kind.__subclasses__() for each in (child, *results(child))]


@pytest.mark.parametrize("result", [each for each in results() if each.__module__.startswith("mika_ops.subtasks")])
def test_ids_differ_from_texts_by_their_names(result: type[SubtaskResult]) -> None:
    ids = {name for name, field in result.model_fields.items() if field.annotation == tuple[str, ...]}

    assert ids == {name for name in result.model_fields if name.endswith("_ids")} - {"recorded_ids"}


def test_the_outcomes_of_a_run_are_read_in_order_and_know_what_was_not_chosen() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        config: dict[str, Any] = {"subtasks": ["stuck_emails", "acp_sessions"]}
        run = run_job(whole_host(acp_sessions=None), settings=isolated_settings(), config=config, instance=instance)
        outcomes = read_outcomes(instance, run.id, chosen=config["subtasks"])

    assert tuple(outcomes) == SUBTASK_NAMES
    assert {name for name, outcome in outcomes.items() if not isinstance(outcome, NotChosen)} == set(config["subtasks"])
    assert isinstance(outcomes["stuck_emails"], Completed)
    assert type(outcomes["acp_sessions"]) is Skipped


def test_the_tags_name_what_ended_how_and_leave_out_what_was_not_chosen() -> None:
    outcomes: dict[str, Outcome] = {
        "email_outbox": Completed(result=SubtaskResult()),
        "stuck_emails": Failed(error="?"),
        "acp_sessions": Skipped(reason="?"),
        "stuck_workflows": NotChosen(),
        "webhook_retries": Completed(result=SubtaskResult()),
    }
    checks = {"one": CheckResult(True, "?", {}), "two": CheckResult(False, "?", {})}

    tags = result_tags(outcomes, checks, before={})

    assert tags == {
        COMPLETED_TAG: "email_outbox,webhook_retries",
        FAILED_TAG: "stuck_emails",
        SKIPPED_TAG: "acp_sessions",
        HEALTHY_TAG: "one",
        UNHEALTHY_TAG: "two",
    }
    assert names_in(tags, COMPLETED_TAG) == {"email_outbox", "webhook_retries"}


def test_a_tag_of_an_earlier_attempt_is_emptied_where_it_names_nothing_any_more() -> None:
    tags = result_tags({"stuck_emails": Completed(result=SubtaskResult())}, {}, before={FAILED_TAG: "stuck_emails"})

    assert tags == {COMPLETED_TAG: "stuck_emails", FAILED_TAG: ""}
    assert names_in(tags, FAILED_TAG) == frozenset()
