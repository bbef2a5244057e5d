"""Account deletes: none of a person's data is left, whatever fails in between."""

import json
from typing import Any, Final

import pytest
from sqlalchemy import select

from mika_ops.clock import Clock
from mika_ops.documents.document import Document
from mika_ops.store.acp_sessions import AcpSessionStore
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.errors import DatabaseError
from mika_ops.store.schema.own import acp_sessions
from mika_ops.store.schema.site import ephemeral_records, plugin_storage, stock_events, stock_items
from mika_ops.subtasks.account_delete import requests
from mika_ops.subtasks.account_delete.requests import AccountDeleteRequestsResult
from mika_ops.subtasks.account_delete.steps import steps_of
from mika_ops.subtasks.subtask import AccountDeleteScope, RunOptions
from mika_ops_testing.builders import (
    LATER,
    NOW,
    acp_session,
    aggregated,
    delete_request,
    email,
    ephemeral,
    get,
    order,
    put,
    put_raw,
    put_rows,
    recorded,
    reservation,
    stock_item,
    webhook,
)
from mika_ops_testing.fakes import host_of

IDENTITY: Final[dict[str, Any]] = {"customerId": "cus_1", "userId": "user_1", "emailHash": "hash_1"}
CANARY = "canary"


def delete(
    database: Database, clock: Clock, scope: AccountDeleteScope = "complete", limit: int | None = None
) -> AccountDeleteRequestsResult:
    return requests.run(host_of(database), clock, RunOptions(limit=limit, account_delete_scope=scope))


def customer(id_: str = "cus_1", /, **top: Any) -> Document:
    aggregate = {"email": f"{CANARY}@example.test", "name": CANARY, "company": CANARY, "vatId": CANARY}
    accounts = [{"provider": "stripe", "providerCustomerId": "pc_1", "emailSnapshot": f"{CANARY}@example.test"}]
    keys = {"customerId": id_, "userId": "user_1", "emailHash": "hash_1"}
    return aggregated("customer", id_, {**aggregate, "providerAccounts": accounts}, **{**keys, **top})


def everything_of_a_person(database: Database, **request: Any) -> None:
    """Fill a shop with every kind of document and row that names one person, and their delete request."""
    who = {"email": f"{CANARY}@example.test", "name": CANARY, "company": CANARY, "vatId": CANARY, "userId": "user_1"}
    entitlement = {"id": "ent_1", "entitlementKey": "course", "status": "active", **IDENTITY}
    license_ = {"id": "lic_1", "licenseKeyHash": CANARY, "displayKeySuffix": CANARY, "status": "active"}
    account = {"id": "pa_1", "provider": "stripe", "emailSnapshot": f"{CANARY}@example.test"}
    export = {"id": "exp_1", "status": "ready", "artifactRef": CANARY, "downloadTokenHash": CANARY, **IDENTITY}
    put(
        database,
        "account",
        customer(),
        recorded("entitlement", tuple(IDENTITY), entitlement),
        recorded("license", ("status",), license_, customerId="cus_1"),
        recorded("providerAccount", ("provider",), account, customerId="cus_1"),
        aggregated("subscription", "sub_1", {"customer": who}, customerId="cus_1", status="cancelled"),
    )
    put(
        database,
        "ledger",
        order("order_1", customer=who, customerId="cus_1", emailHash="hash_1"),
        order("order_2", customer=who, emailHash="hash_1"),
        order("order_3", customer=who),
    )
    guest = {"checkoutCustomerEmail": f"{CANARY}@example.test", "checkoutCustomerName": CANARY, "source": "web"}
    put(
        database,
        "session",
        aggregated("cart", "cart_1", {"customer": who}, customerId="cus_1", userId="user_1", status="open"),
        aggregated("checkout", "checkout_1", {"metadata": guest}, orderId="order_2"),
        aggregated("checkout", "checkout_2", {"metadata": guest}),
    )
    link = {"link": f"https://shop.example.test/{CANARY}"}
    put(
        database,
        "ops",
        recorded("accountExport", ("status",), export),
        email("email_queued", customerId="cus_1", toEmail=f"{CANARY}@example.test", metadata=link),
        email("email_failed", status="failed", toEmail=f"{CANARY}@example.test", metadata={**link, "userId": "user_1"}),
        email("email_sent", status="sent", toEmail=f"{CANARY}@example.test", metadata={**link, "emailHash": "hash_1"}),
        email("email_skipped", status="skipped", customerId="cus_1", subject=CANARY, metadata=link),
        email("email_of_order", kind="order_confirmation", orderId="order_2", toEmail=f"{CANARY}@example.test"),
        paid("webhook_1", relatedOrderId="order_2"),
        paid("webhook_2", relatedCustomerId="cus_1"),
        delete_request("delete_0", status="cancelled", emailHash="hash_1"),
        delete_request(**IDENTITY, **request),
    )
    AcpSessionStore(database).put([acp_session("acp_1", checkoutId="checkout_1", buyer={"email": CANARY})])
    put_rows(database, stock_items, stock_item(quantity_reserved=1))
    put_rows(database, stock_events, reservation(customer_id="cus_1", expires_at=LATER))
    put_rows(database, ephemeral_records, ephemeral(subject_hash="user:user_1", data_json=CANARY, expires_at=LATER))


def paid(id_: str, **related: Any) -> Document:
    """Return a processed webhook about a payment of the person."""
    who = {"email": f"{CANARY}@example.test", "name": CANARY}
    return webhook(
        id_, rawPayloadJson={"buyer": CANARY}, normalizedPayloadJson={"kind": "payment", "customer": who}, **related
    )


def what_is_left(database: Database) -> str:
    """Return the whole shop as one text."""
    parts: list[str] = []
    with database.reading() as connection:
        for table in (plugin_storage, stock_items, stock_events, ephemeral_records, acp_sessions):
            parts += [json.dumps(dict(row)) for row in connection.execute(select(table)).mappings()]
    return "\n".join(parts)


def test_nothing_of_a_person_is_left_in_the_complete_scope(database: Database, clock: Clock) -> None:
    everything_of_a_person(database)
    assert delete(database, clock).completed == 1
    assert CANARY not in what_is_left(database)


def test_every_step_and_its_value_is_recorded(database: Database, clock: Clock) -> None:
    everything_of_a_person(database)
    delete(database, clock)
    record = get(database, "ops", "delete_1")["record"]
    values = {name: step["result"]["value"] for name, step in record["metadata"]["maintenance"]["steps"].items()}
    assert values == {
        "tokensDeleted": 1,
        "reservationsReleased": 1,
        "emailsRedacted": 2,
        "accountExportsRedacted": 1,
        "ordersAnonymized": 2,
        "entitlementsAnonymized": 1,
        "licensesAnonymized": 1,
        "customerAnonymized": True,
        "sentEmailsRedacted": 2,
        "webhooksRedacted": 2,
        "checkoutsAnonymized": 2,
        "acpSessionsRedacted": 1,
        "orderEmailsRedacted": 1,
        "subscriptionsAnonymized": 1,
        "cartsAnonymized": 1,
        "ordersUserIdsAnonymized": 1,
        "entitlementKeysAnonymized": 0,
        "accountExportKeysRemoved": 1,
        "earlierRequestKeysRemoved": 1,
        "providerAccountsRedacted": 1,
        "customerDataRemoved": 0,
    }
    assert {name: record["metadata"]["maintenance"][name] for name in values} == values


def test_the_reference_scope_has_exactly_its_eight_steps(database: Database, clock: Clock) -> None:
    everything_of_a_person(database)
    delete(database, clock, scope="reference")
    steps = get(database, "ops", "delete_1")["record"]["metadata"]["maintenance"]["steps"]
    assert list(steps) == [
        "tokensDeleted",
        "reservationsReleased",
        "emailsRedacted",
        "accountExportsRedacted",
        "ordersAnonymized",
        "entitlementsAnonymized",
        "licensesAnonymized",
        "customerAnonymized",
    ]


def test_a_sent_email_stays_a_sent_email(database: Database, clock: Clock) -> None:
    everything_of_a_person(database)
    delete(database, clock)
    document = get(database, "ops", "email_sent")
    assert document["status"] == document["record"]["status"] == "sent"
    assert document["record"]["toEmail"] == "redacted-email_sent@redacted.invalid"


def test_a_customer_found_only_by_user_id_is_anonymized(database: Database, clock: Clock) -> None:
    put(database, "account", customer("cus_9", emailHash="other"))
    put(database, "ops", delete_request(userId="user_1"))
    delete(database, clock)
    assert CANARY not in json.dumps(get(database, "account", "cus_9"))


def test_a_request_that_the_sites_own_maintenance_nearly_completed_gets_the_further_steps(
    database: Database, clock: Clock
) -> None:
    done = {
        step.name: {"status": "completed", "completedAt": NOW, "result": {"value": step.kind(1)}}
        for step in steps_of("reference")
    }
    everything_of_a_person(database, metadata={"maintenance": {"steps": done}})
    assert delete(database, clock).completed == 1
    for id_ in ("email_sent", "email_skipped"):
        assert CANARY not in json.dumps(get(database, "ops", id_))
    for id_ in ("pa_1", "sub_1"):
        assert CANARY not in json.dumps(get(database, "account", id_))
    assert "emailSnapshot" not in json.dumps(get(database, "account", "cus_1"))
    assert CANARY not in json.dumps(get(database, "session", "cart_1"))
    assert "user_1" not in json.dumps([get(database, "ledger", id_) for id_ in ("order_1", "order_3")])


@pytest.mark.parametrize("step", [step.name for step in steps_of("complete")])
def test_a_request_resumes_at_the_step_that_failed(
    step: str, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything_of_a_person(database)
    all_steps = steps_of("complete")

    def broken(*_: object) -> object:
        raise DatabaseError("the shop's database: the disk is full")

    failing = tuple(
        type(each)(each.name, broken if each.name == step else each.run, each.kind)  # type: ignore[arg-type]
        for each in all_steps
    )
    with monkeypatch.context() as patched:
        patched.setattr(requests, "steps_of", lambda _scope: failing)
        result = delete(database, clock)
    assert (result.completed, result.failed) == (0, 1)
    request = get(database, "ops", "delete_1")
    names = [each.name for each in all_steps]
    recorded_steps = request["record"].get("metadata", {}).get("maintenance", {}).get("steps", {})
    assert list(recorded_steps) == names[: names.index(step)]
    assert request["status"] == ("failed" if step == names[0] else "queued")
    assert f"{step}: the shop's database: the disk is full" in request["record"]["lastError"]
    if request["status"] == "queued":
        assert delete(database, clock).completed == 1
        assert CANARY not in what_is_left(database)
        assert "lastError" not in get(database, "ops", "delete_1")["record"]


def test_an_orphaned_reservation_fails_the_request_of_its_customer_only(database: Database, clock: Clock) -> None:
    put_rows(database, stock_items, stock_item(quantity_reserved=2))
    put_rows(
        database,
        stock_events,
        reservation("event_1", customer_id="cus_1", expires_at=LATER),
        reservation("event_2", customer_id="cus_1", stock_item_id="gone", expires_at=LATER),
        reservation("event_3", customer_id="cus_2", expires_at=LATER),
    )
    put(database, "ops", delete_request("delete_1", customerId="cus_1"), delete_request("delete_2", customerId="cus_2"))
    result = delete(database, clock)
    assert (result.completed, result.failed) == (1, 1)
    assert "event_2" in get(database, "ops", "delete_1")["record"]["lastError"]
    with database.reading() as connection:
        statuses = dict(connection.execute(select(stock_events.c.id, stock_events.c.status)).all())
    assert statuses == {"event_1": "active", "event_2": "active", "event_3": "released"}


def test_a_document_that_cannot_be_anonymized_stops_its_request_and_no_other(database: Database, clock: Clock) -> None:
    broken = {**order("order_broken", customerId="cus_1"), "aggregate": "lost"}
    put(database, "ledger", broken, order("order_2", customerId="cus_2"))
    put(database, "ops", delete_request("delete_1", customerId="cus_1"), delete_request("delete_2", customerId="cus_2"))
    result = delete(database, clock)
    assert (result.completed, result.failed) == (1, 1)
    assert "order_broken" in get(database, "ops", "delete_1")["record"]["lastError"]
    assert get(database, "ops", "delete_1")["status"] == "queued"


def test_a_live_subscription_blocks_however_many_ended_ones_come_before_it(database: Database, clock: Clock) -> None:
    ended = [
        aggregated("subscription", f"sub_{number:03}", {}, customerId="cus_1", status="expired")
        for number in range(150)
    ]
    live = aggregated("subscription", "sub_zzz", {}, customerId="cus_1", status="past_due")
    put(database, "account", *ended, live)
    put(database, "ops", delete_request(customerId="cus_1"))
    assert delete(database, clock).failed == 1
    assert "subscription" in get(database, "ops", "delete_1")["record"]["lastError"]


def test_every_queued_request_is_tried_once_however_many_fail_before_it(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "REQUESTS_PER_BATCH", 10)
    put(database, "session", aggregated("cart", "cart_1", {}, customerId="cus_busy", status="checkout_pending"))
    tried = {"metadata": {"maintenance": {"steps": {"tokensDeleted": "begun"}}}}
    busy = [delete_request(f"delete_a{number:02}", customerId="cus_busy", **tried) for number in range(30)]
    put(database, "ops", *busy, delete_request("delete_z", customerId="cus_free"))
    result = delete(database, clock)
    assert (result.scanned, result.completed, result.failed) == (31, 1, 30)
    assert get(database, "ops", "delete_z")["status"] == "completed"


def test_a_shared_document_is_changed_for_each_request_in_turn(database: Database, clock: Clock) -> None:
    put(database, "ledger", order("order_1", customerId="cus_1", emailHash="hash_1"))
    put(
        database,
        "ops",
        delete_request("delete_1", emailHash="hash_1"),
        delete_request("delete_2", customerId="cus_1"),
    )
    result = delete(database, clock)
    assert [item.steps["ordersAnonymized"] for item in result.items] == [1, 1]
    assert get(database, "ledger", "order_1")["emailHash"] == "account-deleted:cus_1"


def test_steps_that_found_nothing_cost_no_write_of_their_own(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, "ops", delete_request(customerId="cus_1"))
    writes: list[list[str]] = []
    change = Documents.change

    def counted(self: Documents, ids: list[str], *args: object, **kwargs: object) -> object:
        writes.append(list(ids))
        return change(self, ids, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Documents, "change", counted)
    assert delete(database, clock).completed == 1
    assert writes == [["delete_1"]]


def test_other_peoples_data_is_untouched(database: Database, clock: Clock) -> None:
    everything_of_a_person(database)
    theirs = {
        "account": aggregated("customer", "cus_2", {"email": "bo@example.test"}, customerId="cus_2", userId="user_2"),
        "ledger": order("order_9", customerId="cus_2", emailHash="hash_2"),
        "session": aggregated("cart", "cart_9", {"customer": {"name": "Bo Ek"}}, customerId="cus_2"),
        "ops": email("email_9", customerId="cus_2"),
    }
    for collection, document in theirs.items():
        put(database, collection, document)
    delete(database, clock)
    assert {name: get(database, name, document["id"]) for name, document in theirs.items()} == theirs


def test_a_document_that_only_the_database_can_read_stops_its_persons_request_and_no_other(
    database: Database, clock: Clock
) -> None:
    too_large = json.dumps(order("order_1", customerId="cus_1")).replace('"schemaVersion": 1', '"schemaVersion": 1e999')
    put_raw(database, "ledger", ("order_1", too_large))
    put(database, "ops", delete_request("delete_1", customerId="cus_1"), delete_request("delete_2", customerId="cus_2"))
    result = delete(database, clock)
    assert (result.completed, result.failed) == (1, 1)
    assert "order_1" in get(database, "ops", "delete_1")["record"]["lastError"]


def test_a_customer_whose_keys_are_no_texts_keeps_no_other_request_waiting(database: Database, clock: Clock) -> None:
    put(database, "account", customer("cus_1", emailHash={"odd": True}))
    put(database, "ops", delete_request("delete_1", customerId="cus_1"), delete_request("delete_2", customerId="cus_2"))
    assert delete(database, clock).completed == 2
    assert CANARY not in json.dumps(get(database, "account", "cus_1"))
