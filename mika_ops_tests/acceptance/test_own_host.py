"""The host that people copy: it maintains its shop, and its documents behave as the database's do."""

from dataclasses import replace
from typing import Any

import dagster as dg
import pytest

from mika_ops import EmailOverrides
from mika_ops.documents.document import Document
from mika_ops.documents.repository import Change, DocumentRepository
from mika_ops.orchestration.outcomes import read_outcomes, to_metadata
from mika_ops.rules import email, workflow
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops_tests.orchestration.fake_host import Broken, run_job


def run(shop: Any, instance: dg.DagsterInstance | None = None) -> dict[str, dict[str, Any]]:
    """Run the example's job; return how each subtask ended, without what is zero and without times."""
    if instance is None:
        with dg.DagsterInstance.ephemeral() as ephemeral:
            return run(shop, ephemeral)
    job = shop.defs.resolve_job_def("mika_maintenance")
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    return {
        name: {
            key: value for key, value in to_metadata(outcome).items() if value and key not in ("duration_ms", "oldest")
        }
        for name, outcome in read_outcomes(instance, result.run_id).items()
    }


def document(documents: DocumentRepository, id_: str) -> Document:
    return documents.read([id_])[id_]


def test_a_run_has_work_for_each_of_the_nine_and_does_it(shop: Any) -> None:
    done = {"status": "completed"}

    assert run(shop) == {
        "email_outbox": {**done, "scanned": 2, "leased": 2, "sent": 2},
        "stuck_emails": {**done, "scanned": 1, "reclaimed": 1},
        "raw_provider_payloads": {**done, "scanned": 1, "purged": 1},
        "acp_sessions": {**done, "scanned": 2, "expired": 1, "purged": 1},
        "stock_reservations": {
            **done,
            "reservations_scanned": 1,
            "reservations_released": 1,
            "stock_items": 1,
        },
        "ephemeral_records": {**done, "purged": 2},
        "account_delete_requests": {"status": "completed", "scanned": 1, "completed": 1},
        "stuck_workflows": {**done, "scanned": 1, "reclaimed": 1},
        "webhook_retries": {**done, "scanned": 1, "retried": 1},
    }


def test_a_second_run_finds_nothing_and_sends_nothing(shop: Any) -> None:
    run(shop)

    assert run(shop) == {name: {"status": "completed"} for name in SUBTASK_NAMES}
    assert sorted(envelope.email_id for envelope in shop.mail.taken.values()) == ["email_link", "email_order"]


def test_emails_are_sent_and_recorded_as_sent_by_the_outbox_on_the_shops_own_documents(shop: Any) -> None:
    run(shop)

    sent = {envelope.email_id: envelope for envelope in shop.mail.taken.values()}
    assert "https://shop.example/in/1" in sent["email_link"].text
    assert "Walnut bowl" in sent["email_order"].text
    for id_ in sent:
        stored = document(shop.ops, id_)
        assert stored["status"] == stored["record"]["status"] == "sent"
        assert stored["record"]["providerMessageId"] == f"mail-{id_}"
        assert "leaseKey" not in stored["record"]


def test_what_is_stuck_is_given_up_and_what_is_due_again_is_replayed(shop: Any) -> None:
    run(shop)

    assert document(shop.ops, "email_stuck")["status"] == "failed"
    assert document(shop.ops, "workflow_of_webhook_stuck")["status"] == "failed"
    assert document(shop.ops, "workflow_of_webhook_due")["status"] == "completed"
    assert "rawPayloadJson" not in document(shop.ops, "webhook_old")["record"]


def test_the_stock_the_sessions_and_the_rows_are_what_is_left(shop: Any) -> None:
    run(shop)

    assert shop.stock.reserved == {"bowl": 0}
    assert list(shop.stock.active()) == []
    assert sorted(shop.acp_sessions) == ["acp_abandoned", "acp_live"]
    assert shop.acp_sessions["acp_abandoned"]["status"] == "not_ready_for_payment"
    assert list(shop.tokens.rows) == ["token_ada"]
    assert list(shop.rate_limits) == ["limit_new"]


def test_the_account_delete_leaves_nothing_of_the_person(shop: Any) -> None:
    run(shop)

    request = document(shop.ops, "delete_bo")
    assert request["status"] == "completed"
    assert request["record"]["metadata"]["maintenance"]["steps"]
    left = [
        document(shop.ops, "email_of_bo"),
        document(shop.account, "customer_bo"),
        document(shop.ledger, "order_bo"),
        document(shop.session, "cart_bo"),
    ]
    assert not [each["id"] for each in left if "bo@shop.example" in str(each) or "Bo Ek" in str(each)]
    assert document(shop.ledger, "order_ada")["aggregate"]["customer"]["email"] == "ada@shop.example"


def test_the_summary_says_what_is_left(shop: Any) -> None:
    def due(at: str) -> dict[str, int]:
        selections = {"email_outbox": email.DUE.at(at), "stuck_workflows": workflow.STUCK.at(at)}
        backlog = shop.host.backlog.read(selections, now=at)
        return {subtask: each.count for subtask, each in backlog.due.items()}

    now = shop.data.JUST_NOW
    beside = ("acp_sessions", "stock_reservations", "ephemeral_records")
    assert due(now) == {"email_outbox": 2, "stuck_workflows": 1, **dict(zip(beside, (2, 1, 2), strict=True))}

    overview = run_job(shop.host).metadata["summary"]["overview"]
    assert "| email_outbox | completed | scanned 2, leased 2, sent 2 |" in overview
    assert [line.rsplit("|", 2)[1].strip() for line in overview.splitlines() if line.startswith("| ")][2:] == ["0"] * 9


@pytest.mark.parametrize("component", ["email_outbox", "acp_sessions", "ephemeral_purge", "reservation_release"])
def test_a_broken_component_fails_its_subtask_alone(shop: Any, component: str) -> None:
    subtask = {"ephemeral_purge": "ephemeral_records", "reservation_release": "stock_reservations"}.get(
        component, component
    )

    overrides = EmailOverrides() if component == "email_outbox" else shop.host.email
    ended = run_job(replace(shop.host, **{component: Broken()}, email=overrides))

    assert {name for name, status in ended.statuses.items() if status == "failed"} == {subtask}
    assert ended.statuses[subtask] == "failed"
    assert len(ended.statuses) == len(SUBTASK_NAMES)
    assert ended.success == (subtask != "stock_reservations")


def test_an_email_that_the_provider_refuses_is_left_for_the_next_try(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop.mail, "send", Broken(RuntimeError("the provider says no")).send)

    outcomes = run(shop)

    assert outcomes["email_outbox"]["failed"] == 2
    assert {outcome["status"] for outcome in outcomes.values()} == {"completed"}
    stored = document(shop.ops, "email_link")
    assert (stored["status"], stored["record"]["attemptCount"]) == ("failed", 1)
    assert "the provider says no" in stored["record"]["lastError"]


def test_a_site_that_refuses_a_replay_is_counted(shop: Any) -> None:
    shop.ops.change(["workflow_of_webhook_due"], lambda _id, each: Change(named(each, "nobody's"), None))

    outcome = run(shop)["webhook_retries"]

    assert outcome["failed"] == 1
    assert "there is no such workflow" in outcome["failed_ids"]


def named(workflow_: Document, webhook_id: str) -> Document:
    return {**workflow_, "record": {**workflow_["record"], "subjectId": webhook_id}}


def test_stock_that_cannot_be_released_fails_the_run_and_reaches_the_alert_sink(shop: Any) -> None:
    del shop.stock.reserved["bowl"]
    with dg.DagsterInstance.ephemeral() as instance:
        repository = shop.defs.get_repository_def()
        sensor = repository.get_sensor_def("mika_maintenance_alerts")

        def tick(cursor: str | None) -> str | None:
            context = dg.build_sensor_context(
                instance=instance, cursor=cursor, repository_def=repository, sensor_name=sensor.name
            )
            ticked: str | None = sensor.evaluate_tick(context).cursor
            return ticked

        cursor = tick(None)
        outcomes = run(shop, instance)
        tick(cursor)

    assert outcomes["stock_reservations"]["orphan_ids"] == "reservation_old"
    assert {name for name, outcome in outcomes.items() if outcome["status"] == "failed"} == {"stock_reservations"}
    (alert,) = shop.alerts
    assert alert.job == "mika_maintenance"
    assert "reservation_old" in alert.sentence
