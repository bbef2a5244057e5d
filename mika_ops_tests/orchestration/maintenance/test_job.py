import json
import logging
from contextlib import suppress
from typing import Any

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mika_ops.config.loading import isolated_settings
from mika_ops.host.components import COMPONENTS
from mika_ops.host.host import Host
from mika_ops.orchestration.definitions import build_definitions
from mika_ops.orchestration.maintenance.job import JOB_NAME
from mika_ops.orchestration.outcomes import read_outcomes
from mika_ops.ports.backlog import Backlog, Due
from mika_ops.ports.email import DrainedOutbox
from mika_ops.ports.stock import ReleasedReservations
from mika_ops_tests.orchestration.fake_host import Backlogs, Broken, Outbox, Stock, host_with, run_job, whole_host

ORDER = [
    "email_outbox",
    "stuck_emails",
    "raw_provider_payloads",
    "acp_sessions",
    "stock_reservations",
    "ephemeral_records",
    "account_delete_requests",
    "stuck_workflows",
    "webhook_retries",
]


def runs_with(components: set[str]) -> dict[str, bool]:
    """Which subtasks run on which components: the table of the behaviour, section 2."""
    return {
        "email_outbox": "email_outbox" in components,
        "stuck_emails": "ops" in components,
        "raw_provider_payloads": "ops" in components,
        "acp_sessions": "acp_sessions" in components,
        "stock_reservations": bool(components & {"reservation_release", "admin_api"}),
        "ephemeral_records": bool(components & {"ephemeral_purge", "ephemeral"}),
        "account_delete_requests": components >= {"ops", "account", "ledger", "session", "stock", "ephemeral"},
        "stuck_workflows": "ops" in components,
        "webhook_retries": components >= {"ops", "admin_api"},
    }


def test_a_host_with_nothing_at_all_ends_in_nine_skipped_subtasks_and_a_successful_run() -> None:
    run = run_job(Host())

    assert run.success
    assert run.statuses == dict.fromkeys(ORDER, "skipped")
    assert all("not configured: " in run.metadata[name]["reason"] for name in ORDER)


@settings(max_examples=20)
@given(st.sets(st.sampled_from(sorted(COMPONENTS))))
def test_any_subset_of_the_host_runs_what_it_can_and_skips_the_rest(components: set[str]) -> None:
    run = run_job(host_with(*components))

    assert run.success
    assert {name: status == "completed" for name, status in run.statuses.items()} == runs_with(components)
    skipped = [name for name, status in run.statuses.items() if status == "skipped"]
    assert all(run.metadata[name]["reason"] for name in skipped)


def test_the_subtasks_run_one_after_the_other_in_their_order_and_the_summary_last() -> None:
    assert list(run_job(whole_host()).metadata) == [*ORDER, "summary"]


def test_the_order_holds_whatever_the_executor_as_each_op_waits_for_the_one_before() -> None:
    graph = build_definitions(settings=isolated_settings()).resolve_job_def(JOB_NAME).graph
    waits_for = {
        node.name: {
            output.node_name
            for outputs in graph.dependency_structure.input_to_upstream_outputs_for_node(node.name).values()
            for output in outputs
        }
        for node in graph.nodes
    }

    names = [*ORDER, "summary"]
    assert waits_for == {name: set(names[max(place - 1, 0) : place]) for place, name in enumerate(names)}


def test_a_completed_subtask_shows_its_status_counts_and_duration() -> None:
    stock = Stock(ReleasedReservations(scanned=5, released=4, stock_items=2, has_more=True))

    shown = dict(run_job(whole_host(reservation_release=stock)).metadata["stock_reservations"])

    assert shown.pop("duration_ms") >= 0
    assert shown == {
        "status": "completed",
        "reservations_scanned": 5,
        "reservations_released": 4,
        "stock_items": 2,
        "has_more": True,
    }


def test_a_failed_subtask_shows_its_status_error_and_duration() -> None:
    shown = run_job(whole_host(acp_sessions=Broken())).metadata["acp_sessions"]

    assert (shown["status"], shown["error"]) == ("failed", "the disk is on fire")
    assert shown["duration_ms"] >= 0


def test_a_failed_subtask_shows_what_it_had_done_until_then() -> None:
    outbox = Outbox(answer=DrainedOutbox(scanned=9, sent=7, error="the mail server went away"))

    shown = run_job(whole_host(email_outbox=outbox)).metadata["email_outbox"]

    assert (shown["status"], shown["error"], shown["sent"]) == ("failed", "the mail server went away", 7)


def test_a_skipped_subtask_shows_its_status_reason_and_duration() -> None:
    shown = run_job(whole_host(acp_sessions=None)).metadata["acp_sessions"]

    assert (shown["status"], shown["duration_ms"]) == ("skipped", 0)
    assert "acp_sessions" in shown["reason"]
    assert "MIKA_DATABASE_URL" in shown["reason"]


FAILS_WITH = {
    "email_outbox": {"email_outbox"},
    "ops": {"stuck_emails", "raw_provider_payloads", "account_delete_requests", "stuck_workflows", "webhook_retries"},
    "acp_sessions": {"acp_sessions"},
    "reservation_release": {"stock_reservations"},
    "ephemeral_purge": {"ephemeral_records"},
}


@pytest.mark.parametrize("component", FAILS_WITH)
def test_a_component_that_raises_fails_the_subtasks_that_use_it_and_keeps_no_other_from_running(component: str) -> None:
    run = run_job(whole_host(**{component: Broken()}))

    failed = {name: "failed" if name in FAILS_WITH[component] else "completed" for name in ORDER}
    assert run.statuses == failed
    assert all(run.metadata[name]["error"] == "the disk is on fire" for name in FAILS_WITH[component])


def test_even_when_every_component_raises_every_subtask_has_its_turn() -> None:
    broken: dict[str, Any] = dict.fromkeys(COMPONENTS, Broken())
    run = run_job(Host(**broken))

    assert run.statuses == dict.fromkeys(ORDER, "failed")


def test_a_failed_release_of_stock_fails_the_run_after_all_others_have_run() -> None:
    run = run_job(whole_host(reservation_release=Broken()))

    assert not run.success
    assert run.statuses == {**dict.fromkeys(ORDER, "completed"), "stock_reservations": "failed"}
    assert run.failure == "stock_reservations: the disk is on fire"


def test_the_failure_of_the_run_names_the_reservations_that_could_not_be_released() -> None:
    stock = Stock(ReleasedReservations(scanned=5, released=3, stock_items=2, orphans=("event_7", "event_9")))

    run = run_job(whole_host(reservation_release=stock))

    assert "event_7, event_9" in str(run.failure)
    assert run.metadata["stock_reservations"]["orphan_ids"] == "event_7\nevent_9"
    assert run.metadata["stock_reservations"]["reservations_released"] == 3


def test_a_failed_run_still_shows_the_overview_of_its_subtasks() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = run_job(whole_host(reservation_release=Broken()), instance=instance)
        (failed,) = instance.all_logs(run.id, of_type=dg.DagsterEventType.STEP_FAILURE)

    shown = failed.get_dagster_event().step_failure_data.user_failure_data
    assert shown is not None
    assert "| stock_reservations | failed | the disk is on fire |" in str(shown.metadata["overview"].value)


@pytest.mark.parametrize("component", sorted(set(FAILS_WITH) - {"reservation_release"}))
def test_any_other_failure_only_warns(component: str) -> None:
    run = run_job(whole_host(**{component: Broken()}))

    assert run.success
    assert len(run.logged(logging.WARNING)) == 1


def test_the_summary_is_one_structured_line_logged_as_information_where_nothing_failed() -> None:
    run = run_job(whole_host(), config={"now": "2026-03-01T12:00:00Z"})

    (line,) = (text for text in run.logged(logging.INFO) if text.startswith("mika_maintenance "))
    result = json.loads(line.removeprefix("mika_maintenance "))
    assert result.pop("now") == "2026-03-01T12:00:00.000Z"
    assert result == {name: dict(shown) for name, shown in run.metadata.items() if name != "summary"}
    assert run.logged(logging.WARNING) == []


def test_the_summary_is_logged_as_a_warning_where_a_subtask_failed() -> None:
    run = run_job(whole_host(acp_sessions=Broken()))

    (line,) = run.logged(logging.WARNING)
    result = json.loads(line.removeprefix("mika_maintenance "))
    assert result["acp_sessions"]["error"] == "the disk is on fire"
    assert result["email_outbox"]["status"] == "completed"


def test_the_summary_counts_how_the_subtasks_ended() -> None:
    shown = run_job(whole_host(acp_sessions=Broken(), email_outbox=None)).metadata["summary"]

    assert (shown["completed"], shown["failed"], shown["skipped"]) == (7, 1, 1)


def test_the_summary_shows_the_run_as_a_table_of_one_line_for_each_subtask() -> None:
    outbox = Outbox(answer=DrainedOutbox(error="wrote a | b\nand c"))

    overview = run_job(whole_host(email_outbox=outbox, acp_sessions=None)).metadata["summary"]["overview"]

    lines = overview.splitlines()
    assert len(lines) == 2 + len(ORDER)
    assert lines[2].startswith("| email_outbox | failed | wrote a &#124; b and c |")
    assert lines[7].startswith("| ephemeral_records | completed | purged 3 |")
    assert lines[8].startswith("| account_delete_requests | completed | nothing due |")


def test_the_summary_says_what_is_left_of_each_backlog_that_is_known() -> None:
    left = Backlog({"email_outbox": Due(7), "stuck_emails": Due(0)})

    overview = run_job(whole_host(backlog=Backlogs(left))).metadata["summary"]["overview"]

    assert [line.split("|")[-2].strip() for line in overview.splitlines()[2:5]] == ["7", "0", "–"]


def test_documents_that_nobody_can_read_are_counted_and_named_in_a_warning() -> None:
    left = Backlog(unreadable=2, unreadable_ids=("doc_1", "doc_2"))

    run = run_job(whole_host(backlog=Backlogs(left)))

    assert run.metadata["summary"]["unreadable_documents"] == 2
    (warning,) = run.logged(logging.WARNING)
    assert warning.endswith("fix or remove them: doc_1, doc_2")


def test_a_backlog_that_cannot_be_read_takes_nothing_from_the_run() -> None:
    run = run_job(whole_host(backlog=Broken()))

    assert run.success
    assert run.metadata["summary"]["completed"] == 9
    assert run.logged(logging.WARNING) == ["cannot read the remaining backlog: the disk is on fire"]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), dg.DagsterExecutionInterruptedError(), SystemExit(1)])
def test_an_interruption_stops_the_run_and_is_no_failure_of_a_subtask(interruption: BaseException) -> None:
    host = whole_host(reservation_release=Broken(interruption))

    with dg.DagsterInstance.ephemeral() as instance:
        with suppress(type(interruption)):
            assert not run_job(host, instance=instance).success
        (record,) = instance.get_run_records()
        ended = read_outcomes(instance, record.dagster_run.run_id)

    assert record.dagster_run.status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
    assert list(ended) == ORDER[:4]


def test_errors_are_logged_without_addresses_and_links() -> None:
    error = RuntimeError("no bob@example.test at https://shop.example.test/magic/1")

    run = run_job(whole_host(acp_sessions=Broken(error)))

    everything = json.dumps([run.log, run.metadata], default=str)
    assert "no <address> at <link>" in everything
    assert "bob" not in everything
    assert "magic" not in everything


def test_the_summary_alone_cannot_be_run_again_as_if_all_were_well() -> None:
    definitions = build_definitions(host=whole_host(), settings=isolated_settings())

    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def(JOB_NAME).execute_in_process(
            op_selection=["summary"], instance=instance, raise_on_error=False
        )

    assert not result.success


def everything_described() -> dict[str, Any]:
    job = build_definitions(settings=isolated_settings()).resolve_job_def(JOB_NAME)
    ops = {node.name: node.definition for node in job.nodes}
    return {
        "job": job.description,
        **{name: op.description for name, op in ops.items()},
        **{f"{name} →": out.description for name, op in ops.items() for out in op.output_defs},
        **{f"→ {name}": into.description for name, op in ops.items() for into in op.input_defs},
    }


def test_the_job_and_each_of_its_ops_with_their_inputs_and_outputs_are_described() -> None:
    described = everything_described()

    assert len(described) == 1 + 10 + 10 + 10
    assert all(described.values())
