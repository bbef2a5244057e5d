"""Rechecking account deletes that the site's own maintenance completed (deviations, number 19)."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest

from mika_ops.clock import Clock
from mika_ops.documents.document import Document
from mika_ops.rules.account_delete import LAST_FURTHER_STEP, UNCHECKED
from mika_ops.rules.person import hash_of_address
from mika_ops.store.acp_sessions import AcpSessionStore
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.subtasks.account_delete import requests
from mika_ops.subtasks.account_delete.recheck import RecheckedRequest, recheck
from mika_ops.subtasks.account_delete.steps import recheck_steps, steps_of
from mika_ops.subtasks.subtask import AccountDeleteScope, RunOptions
from mika_ops_testing.builders import (
    acp_session,
    aggregated,
    delete_request,
    email,
    get,
    order,
    put,
    put_raw,
    recorded,
    webhook,
)
from mika_ops_testing.fakes import host_of

ADDRESS: Final = "canary@example.test"
HASH: Final = hash_of_address(ADDRESS)
WHO: Final = {"email": ADDRESS, "name": "canary"}
KEYS: Final[dict[str, Any]] = {"customerId": "cus_1", "userId": "canary_user", "emailHash": HASH}


def completed(database: Database, clock: Clock, scope: AccountDeleteScope = "reference") -> None:
    """Complete every queued request as the site's own maintenance does, or in another scope."""
    result = requests.run(host_of(database), clock, RunOptions(account_delete_scope=scope))
    assert (result.failed, result.has_more) == (0, False)


def customer_with_everything(database: Database, request_id: str = "delete_1") -> None:
    export = {"id": "exp_1", "status": "ready", "artifactRef": "canary", **KEYS}
    event = {"kind": "payment", "customer": WHO}
    put(database, "account", aggregated("customer", "cus_1", {**WHO, "providerAccounts": [WHO]}, **KEYS))
    put(database, "ledger", order("order_1", customer={**WHO, **KEYS}, customerId="cus_1", emailHash=HASH))
    put(
        database,
        "ops",
        recorded("accountExport", ("customerId", "userId", "status"), export),
        webhook("webhook_1", normalizedPayloadJson=event, relatedOrderId="order_1"),
        email("email_sent", status="sent", toEmail=ADDRESS, metadata={"emailHash": HASH}),
        email("email_order", status="queued", kind="order_confirmation", orderId="order_1", toEmail=ADDRESS),
        delete_request(request_id, **KEYS),
    )


def guest_with_everything(database: Database) -> None:
    metadata = {"checkoutCustomerEmail": ADDRESS, "checkoutCustomerName": "canary"}
    event = {"kind": "payment", "customer": WHO}
    put(database, "ledger", order("order_1", customer=WHO, emailHash=HASH, checkoutSessionId="checkout_1"))
    put(
        database,
        "session",
        aggregated("checkout", "checkout_1", {"metadata": metadata}),
        aggregated("checkout", "checkout_abandoned", {"metadata": metadata}),
    )
    put(
        database,
        "ops",
        webhook("webhook_1", normalizedPayloadJson=event, relatedOrderId="order_1"),
        email("email_sent", status="sent", toEmail=ADDRESS, metadata={"emailHash": HASH}),
        delete_request("delete_1", emailHash=HASH),
    )


def canaries(database: Database) -> set[str]:
    found = set()
    for collection, ids in (
        ("account", ("cus_1",)),
        ("ledger", ("order_1",)),
        ("session", ("checkout_1", "checkout_abandoned")),
        ("ops", ("exp_1", "webhook_1", "email_sent", "email_order", "delete_1")),
    ):
        documents: Mapping[str, Document] = Documents(database, collection).read(ids)  # type: ignore[arg-type]
        found |= {
            id_ for id_, document in documents.items() if any(x in json.dumps(document) for x in ("canary", HASH))
        }
    return found


def unchecked(database: Database) -> list[str]:
    return [found.id for found in Documents(database, "ops").candidates(UNCHECKED, after=None, limit=10)]


@pytest.mark.parametrize("fill", [customer_with_everything, guest_with_everything])
def test_what_the_reference_left_is_removed_and_the_steps_are_recorded(
    fill: Any, database: Database, clock: Clock
) -> None:
    fill(database)
    completed(database, clock)
    before = get(database, "ops", "delete_1")["record"]
    assert canaries(database)
    assert unchecked(database) == ["delete_1"]
    (request,) = recheck(host_of(database), clock).requests
    assert (request.request_id, request.error) == ("delete_1", None)
    assert canaries(database) == set()
    after = get(database, "ops", "delete_1")["record"]
    maintenance = after["metadata"]["maintenance"]
    names = [step.name for step in recheck_steps()]
    assert [name for name in maintenance["steps"] if name in names] == names
    assert maintenance["webhooksRedacted"] == request.documents["webhooksRedacted"] == 1
    assert maintenance["steps"]["tokensDeleted"] == before["metadata"]["maintenance"]["steps"]["tokensDeleted"]
    assert after["completedAt"] == before["completedAt"]


def test_a_request_is_rechecked_once_and_again_where_everything_is(database: Database, clock: Clock) -> None:
    customer_with_everything(database)
    completed(database, clock)
    recheck(host_of(database), clock)
    assert unchecked(database) == []
    assert recheck(host_of(database), clock).requests == ()
    late = webhook("webhook_late", normalizedPayloadJson={"customer": WHO}, relatedOrderId="order_1")
    put(database, "ops", late)
    (request,) = recheck(host_of(database), clock, everything=True).requests
    assert request == RecheckedRequest("delete_1", {"webhooksRedacted": 1})
    assert "canary" not in json.dumps(get(database, "ops", "webhook_late"))


def test_a_request_completed_in_the_complete_scope_needs_no_recheck(database: Database, clock: Clock) -> None:
    customer_with_everything(database)
    completed(database, clock, "complete")
    assert canaries(database) == set()
    assert unchecked(database) == []


def test_a_dry_run_counts_the_same_and_changes_nothing(database: Database, clock: Clock) -> None:
    customer_with_everything(database)
    completed(database, clock)
    documents = {"ops": ("webhook_1", "email_sent", "delete_1"), "ledger": ("order_1",), "account": ("cus_1",)}
    before = {(name, id_): get(database, name, id_) for name, ids in documents.items() for id_ in ids}
    planned = recheck(host_of(database), clock, is_dry=True)
    assert {(name, id_): get(database, name, id_) for name, ids in documents.items() for id_ in ids} == before
    assert planned == recheck(host_of(database), clock)


def test_several_guests_are_each_rechecked(database: Database, clock: Clock) -> None:
    for number in range(3):
        hash_ = hash_of_address(f"canary-{number}@example.test")
        put(database, "ledger", order(f"order_{number}", customer=WHO, emailHash=hash_))
        event = {"customer": {"email": f"canary-{number}@example.test"}}
        put(
            database, "ops", webhook(f"webhook_{number}", normalizedPayloadJson=event, relatedOrderId=f"order_{number}")
        )
        put(database, "ops", delete_request(f"delete_{number}", emailHash=hash_))
    completed(database, clock)
    result = recheck(host_of(database), clock)
    assert len(result.requests) == 3
    assert sum(request.documents.get("webhooksRedacted", 0) for request in result.requests) == 3
    for number in range(3):
        assert "canary" not in json.dumps(get(database, "ops", f"webhook_{number}"))
        assert hash_of_address(f"canary-{number}@example.test") not in json.dumps(
            get(database, "ledger", f"order_{number}")
        )


def test_an_acp_session_of_the_persons_checkout_loses_its_buyer(database: Database, clock: Clock) -> None:
    guest_with_everything(database)
    AcpSessionStore(database).put(
        [acp_session("acp_1", checkoutId="checkout_1", buyer=WHO), acp_session("acp_2", buyer={"email": "bo"})]
    )
    completed(database, clock)
    (request,) = recheck(host_of(database), clock).requests
    assert request.documents["acpSessionsRedacted"] == 1


def test_a_document_that_cannot_be_changed_leaves_its_request_unchecked_and_no_other(
    database: Database, clock: Clock
) -> None:
    put(database, "ops", delete_request("delete_1", customerId="cus_1"), delete_request("delete_2", customerId="cus_2"))
    completed(database, clock)
    too_large = json.dumps(order("order_1", customerId="cus_1")).replace('"schemaVersion": 1', '"schemaVersion": 1e999')
    put_raw(database, "ledger", ("order_1", too_large))
    first, second = recheck(host_of(database), clock).requests
    assert "order_1" in (first.error or "")
    assert second == RecheckedRequest("delete_2")
    assert unchecked(database) == ["delete_1"]


def test_other_peoples_documents_are_untouched(database: Database, clock: Clock) -> None:
    customer_with_everything(database)
    theirs = webhook("webhook_9", normalizedPayloadJson={"customer": WHO}, relatedCustomerId="cus_9")
    put(database, "ops", theirs, delete_request("delete_9", status="failed", customerId="cus_9"))
    completed(database, clock)
    recheck(host_of(database), clock, everything=True)
    assert get(database, "ops", "webhook_9") == theirs


def test_the_last_step_marks_a_request_as_checked() -> None:
    assert [steps[-1].name for steps in (recheck_steps(), steps_of("complete"))] == [LAST_FURTHER_STEP] * 2
    assert {step.name for step in recheck_steps()} <= {step.name for step in steps_of("complete")}
    assert {step.name for step in recheck_steps()}.isdisjoint(step.name for step in steps_of("reference"))
