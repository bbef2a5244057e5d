"""What is left of webhooks, checkouts, exports and requests without their person (deviations, number 17)."""

import json
from typing import Any, Final

import pytest

from mika_ops.documents.document import Document, MalformedDocument
from mika_ops.rules import order_documents as rules
from mika_ops.rules.acp_session import names_buyer, without_buyer
from mika_ops.rules.personal_data import REDACTED_ERROR
from mika_ops_testing.builders import EARLIER, NOW, acp_session, aggregated, delete_request, recorded, webhook

SENTINEL: Final = "account-deleted:customer_ada"
WHO: Final = {"email": "canary@example.test", "name": "canary", "company": "canary", "vatId": "canary"}


def paid(**record: Any) -> Document:
    event = {"kind": "payment", "providerCheckoutId": "pc_1", "lines": [{"name": "Bowl", "email": "canary"}]}
    return webhook("webhook_1", **{"normalizedPayloadJson": {**event, "customer": WHO}, **record})


def test_a_webhook_keeps_what_was_paid_and_loses_who_paid() -> None:
    document = rules.redacted_webhook(paid(rawPayloadJson={"buyer": "canary"}, relatedOrderId="order_1"), now=NOW)
    record = document["record"]
    assert "canary" not in json.dumps(document)
    assert record["normalizedPayloadJson"] == {
        "kind": "payment",
        "providerCheckoutId": "pc_1",
        "lines": [{"name": "Bowl"}],
    }
    assert "rawPayloadJson" not in record
    assert record["rawPayloadPurgedAt"] == document["updatedAt"] == NOW
    assert record["relatedOrderId"] == "order_1"


def test_a_webhook_whose_raw_payload_was_purged_keeps_the_time() -> None:
    document = rules.redacted_webhook(paid(rawPayloadJson=None, rawPayloadPurgedAt=EARLIER), now=NOW)
    assert document["record"]["rawPayloadPurgedAt"] == EARLIER


def test_the_error_of_a_webhook_is_redacted() -> None:
    document = rules.redacted_webhook(paid(lastError="declined for canary"), now=NOW)
    assert document["record"]["lastError"] == REDACTED_ERROR


def test_a_payload_that_is_no_object_goes_as_a_whole() -> None:
    document = rules.redacted_webhook(paid(normalizedPayloadJson=json.dumps(WHO)), now=NOW)
    assert "normalizedPayloadJson" not in document["record"]


def test_a_webhook_without_a_record_is_malformed() -> None:
    with pytest.raises(MalformedDocument, match="record"):
        rules.redacted_webhook({"type": "webhook"}, now=NOW)


def test_a_checkout_keeps_its_metadata_but_the_customers() -> None:
    metadata = {f"checkoutCustomer{name}": "canary" for name in ("Email", "Name", "Company", "VatId")}
    checkout = aggregated("checkout", "checkout_1", {"metadata": {**metadata, "source": "web"}, "customer": WHO})
    document = rules.anonymized_checkout(checkout, SENTINEL, now=NOW)
    assert "canary" not in json.dumps(document)
    assert document["aggregate"]["metadata"] == {"source": "web"}


@pytest.mark.parametrize("aggregate", [None, "text", {"metadata": "text"}, {}])
def test_a_checkout_of_another_shape_is_left_in_it(aggregate: object) -> None:
    checkout = {**aggregated("checkout", "checkout_1", {}), "aggregate": aggregate}
    assert rules.anonymized_checkout(checkout, SENTINEL, now=NOW)["aggregate"] == aggregate


@pytest.mark.parametrize("status", ["ready", "expired"])
def test_an_export_names_nobody_and_has_no_file(status: str) -> None:
    fields = {"id": "export_1", "status": status, "customerId": "customer_ada", "artifactRef": "canary"}
    keys = {"userId": "canary", "emailHash": "canary"}
    export = recorded("accountExport", ("customerId", "userId", "status"), {**fields, **keys})
    document = rules.nameless_export(export, now=NOW)
    assert "canary" not in json.dumps(document)
    assert document["status"] == "expired"
    assert document["customerId"] == document["record"]["customerId"] == "customer_ada"
    assert rules.nameless_export(document, now=NOW) == document


@pytest.mark.parametrize(
    ("status", "kept"), [("queued", True), ("confirmed", True), ("failed", False), ("cancelled", False)]
)
def test_an_earlier_request_forgets_its_keys_unless_it_waits(status: str, kept: bool) -> None:
    request = delete_request(status=status, customerId="customer_ada", userId="canary", emailHash="canary")
    document = rules.nameless_request(request, now=NOW)
    assert ("canary" in json.dumps(document)) is kept
    assert document["record"]["customerId"] == "customer_ada"


def test_a_customer_that_was_anonymized_keeps_the_time_and_loses_the_rest() -> None:
    accounts = [{"provider": "stripe", "emailSnapshot": "canary"}]
    aggregate = {"metadata": {"anonymizedAt": EARLIER}, "providerAccounts": accounts, "phone": "canary"}
    document = rules.nameless_customer(aggregated("customer", "c", aggregate, customerId="customer_ada"), now=NOW)
    assert "canary" not in json.dumps(document)
    assert document["aggregate"]["metadata"] == {"anonymizedAt": EARLIER}
    assert rules.nameless_customer(document, now=NOW) == document


def test_an_acp_session_loses_its_buyer_and_address_and_counts_a_version() -> None:
    session = acp_session(buyer=WHO, fulfillmentAddress={"name": "canary"}, version=3)
    document = without_buyer(session, now=NOW)
    assert names_buyer(session)
    assert not names_buyer(document)
    assert "canary" not in json.dumps(document)
    assert (document["version"], document["updatedAt"]) == (4, NOW)
