"""Taking a person out of documents (behaviour, section 8; deviations, number 6): what goes, what stays, whose it is."""

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mika_ops.documents.document import ABSENT, Document, MalformedDocument, patched
from mika_ops.rules import personal_data as rules
from mika_ops.rules.account_delete import Identity
from mika_ops_testing.builders import BEFORE, EARLIER, NOW, aggregated, email, order, recorded
from mika_ops_tests.documents.arbitrary import json_objects

ADA: Final = Identity("customer_ada", "user_ada", "hash_ada")
SENTINEL: Final = "account-deleted:customer_ada"
CONTACT: Final = ("email", "name", "company", "vatId")
SCOPES = pytest.mark.parametrize("complete", [False, True], ids=["reference", "complete"])


def canaries(*fields: str) -> Document:
    return {field: f"canary {field}" for field in fields}


def holds_canary(document: Document) -> bool:
    return "canary" in json.dumps(document)


def written_to_ada(**record: Any) -> Document:
    return email(**{"customerId": "customer_ada", "toEmail": "canary@example.test", "subject": "canary", **record})


def redacted(document: Document) -> Document:
    return rules.redacted_email(document, now=NOW)


@pytest.mark.parametrize(
    "record",
    [
        {"customerId": "customer_ada"},
        {"metadata": {"userId": "user_ada"}},
        {"metadata": {"emailHash": "hash_ada"}},
    ],
)
def test_an_email_is_a_persons_by_customer_or_by_its_metadatas_user_or_hash(record: Document) -> None:
    assert rules.owns_email(ADA, email(**record))


@pytest.mark.parametrize("record", [{"userId": "user_ada"}, {"emailHash": "hash_ada"}, {"metadata": "user_ada"}, {}])
def test_an_email_is_nobodys_by_other_places(record: Document) -> None:
    assert not rules.owns_email(ADA, email(**record))


def test_a_person_without_keys_owns_nothing() -> None:
    nameless = email(customerId=None, metadata={"userId": None, "emailHash": None})
    for owns in (rules.owns_email, rules.owns_export, rules.owns_order, rules.owns_by_keys, rules.owns_as_customer):
        assert not owns(Identity(), nameless)
        assert not owns(Identity(), {"customerId": None, "userId": None, "emailHash": None, "record": {}})


@pytest.mark.parametrize("status", ["queued", "failed"])
def test_a_waiting_email_is_never_sent_once_redacted(status: str) -> None:
    document = redacted(written_to_ada(status=status, nextAttemptAt=BEFORE))
    assert document["status"] == document["record"]["status"] == "skipped"
    assert document["record"]["lastError"] == rules.REDACTED_ERROR


@pytest.mark.parametrize("status", ["sent", "skipped"])
def test_a_finished_email_keeps_its_status(status: str) -> None:
    document = redacted(written_to_ada(status=status))
    assert document["status"] == document["record"]["status"] == status


def test_a_sent_email_without_an_error_gets_none() -> None:
    assert "lastError" not in redacted(written_to_ada(status="sent"))["record"]


def test_a_skipped_emails_error_is_redacted_too() -> None:
    assert redacted(written_to_ada(status="skipped", lastError="canary"))["record"]["lastError"] == rules.REDACTED_ERROR


def test_a_redacted_email_is_addressed_to_nobody() -> None:
    record = redacted(written_to_ada())["record"]
    assert record["toEmail"] == "redacted-email_1@redacted.invalid"
    assert record["subject"] == rules.REDACTED_SUBJECT


def test_a_redacted_email_keeps_nothing_of_its_metadata_but_when_it_was_redacted() -> None:
    assert redacted(written_to_ada(metadata={"link": "canary"}))["record"]["metadata"] == {"redactedAt": NOW}


def test_a_redacted_email_points_to_nothing_and_waits_for_nothing() -> None:
    fields = ("customerId", "orderId", "tokenId", "nextAttemptAt", "leaseKey", "leasedAt", "leaseExpiresAt")
    document = redacted(written_to_ada(**canaries(*fields)))
    for place in (document, document["record"]):
        assert not set(fields) & set(place)


@given(
    status=st.sampled_from(["queued", "failed", "sent", "skipped"]),
    fields=st.sets(st.sampled_from(["orderId", "tokenId", "lastError", "nextAttemptAt", "leaseKey"])),
    metadata=st.dictionaries(st.text(max_size=5), st.just("canary"), max_size=3),
)
def test_nothing_of_whom_an_email_was_for_survives(status: str, fields: set[str], metadata: Document) -> None:
    document = redacted(written_to_ada(status=status, metadata=metadata, **canaries(*fields)))
    assert not holds_canary(document)
    assert "customer_ada" not in json.dumps(document)
    assert not rules.owns_email(ADA, document)


def export(**record: Any) -> Document:
    fields = {"id": "export_1", "status": "ready", "customerId": "customer_ada", "artifactRef": "canary"}
    return recorded("accountExport", rules.EXPORT_MIRRORED, patched(fields, record))


@pytest.mark.parametrize("key", [{"customerId": "customer_ada"}, {"userId": "user_ada"}, {"emailHash": "hash_ada"}])
def test_an_export_is_a_persons_by_any_of_its_records_keys(key: Document) -> None:
    assert rules.owns_export(ADA, export(**{"customerId": ABSENT, **key}))


def test_an_export_of_somebody_else_is_not_owned() -> None:
    assert not rules.owns_export(ADA, export(customerId="customer_bob"))


def test_an_export_without_a_record_is_nobodys() -> None:
    assert not rules.owns_export(ADA, {"status": "ready", "customerId": "customer_ada"})


@pytest.mark.parametrize(("artifact", "owned"), [("file", True), ("", True), (None, False), (ABSENT, False)])
def test_an_expired_export_is_redacted_again_only_where_it_still_has_an_artifact(artifact: object, owned: bool) -> None:
    assert rules.owns_export(ADA, export(status="expired", artifactRef=artifact)) is owned


def test_a_redacted_export_is_expired_and_forgets_its_file() -> None:
    document = rules.redacted_export(export(downloadTokenHash="canary", metadata={"format": "zip"}), now=NOW)
    assert (document["status"], document["expiresAt"]) == ("expired", NOW)
    assert not holds_canary(document)
    assert document["record"]["metadata"] == {"format": "zip", "redactedAt": NOW}
    assert document["record"]["lastError"] == rules.REDACTED_ERROR
    assert not rules.owns_export(ADA, document)


@SCOPES
def test_an_order_forgets_its_customer_and_keeps_the_books(complete: bool) -> None:
    document = order(customer=canaries(*CONTACT), emailHash="hash_ada", customerId="customer_ada")
    anonymized = rules.anonymized_order(document, SENTINEL, now=NOW, complete=complete)
    assert not holds_canary(anonymized)
    assert anonymized["emailHash"] == anonymized["aggregate"]["customer"]["emailHash"] == SENTINEL
    assert anonymized["customerId"] == "customer_ada"
    for kept in ("lines", "totals", "schemaVersion"):
        assert anonymized["aggregate"][kept] == document["aggregate"][kept]
    assert anonymized["updatedAt"] == NOW


def test_an_orders_phone_number_goes_in_the_complete_scope_only() -> None:
    document = order(customer=canaries("phone"))
    for complete, left in ((False, canaries("phone")), (True, {})):
        anonymized = rules.anonymized_order(document, SENTINEL, now=NOW, complete=complete)
        assert anonymized["aggregate"]["customer"] == {**left, "emailHash": SENTINEL}


def test_an_orders_user_id_goes_in_the_complete_scope_only() -> None:
    document = order(customer={"userId": "user_ada"})
    for complete, left in ((False, "user_ada"), (True, SENTINEL)):
        anonymized = rules.anonymized_order(document, SENTINEL, now=NOW, complete=complete)
        assert anonymized["aggregate"]["customer"]["userId"] == left


def test_an_order_without_a_user_id_gets_none() -> None:
    anonymized = rules.anonymized_order(order(), SENTINEL, now=NOW, complete=True)
    assert anonymized["aggregate"]["customer"] == {"emailHash": SENTINEL}


@pytest.mark.parametrize("broken", [None, "text", [], 5])
def test_an_order_without_an_aggregate_is_malformed(broken: object) -> None:
    with pytest.raises(MalformedDocument, match="aggregate"):
        rules.anonymized_order({**order(), "aggregate": broken}, SENTINEL, now=NOW, complete=True)


@pytest.mark.parametrize(("key", "owned"), [("customerId", True), ("emailHash", True), ("userId", False)])
def test_an_order_is_a_persons_by_customer_and_hash_at_the_top(key: str, owned: bool) -> None:
    values: Document = {"customerId": "customer_ada", "emailHash": "hash_ada", "userId": "user_ada"}
    assert rules.owns_order(ADA, order(**{key: values[key]})) is owned


def test_an_entitlement_keeps_what_was_granted_without_to_whom() -> None:
    keys = {"emailHash": "canary", "userId": "canary"}
    document = recorded("entitlement", (), {"id": "e", "entitlementKey": "pro", **keys}, **keys)
    anonymized = rules.anonymized_entitlement(document, SENTINEL, now=NOW)
    assert not holds_canary(anonymized)
    for place in (anonymized, anonymized["record"]):
        assert (place["emailHash"], place["userId"]) == (SENTINEL, SENTINEL)
    assert anonymized["record"]["entitlementKey"] == "pro"


def license_of_ada(**record: Any) -> Document:
    fields = {"id": "l", "licenseKeyHash": "canary", "displayKeySuffix": "canary", "status": "active"}
    return recorded("license", (), patched(fields, record), customerId="customer_ada", status="active")


def revoked(document: Document) -> Document:
    return rules.anonymized_license(document, SENTINEL, now=NOW)


def test_a_license_is_revoked_and_its_key_forgotten() -> None:
    document = revoked(license_of_ada(metadata={"plan": "pro"}))
    assert not holds_canary(document)
    assert "customerId" not in document
    assert document["status"] == "revoked"
    assert document["record"] == {
        "id": "l",
        "licenseKeyHash": "account-deleted:customer_ada:license-redacted",
        "displayKeySuffix": "redacted",
        "status": "revoked",
        "metadata": {"plan": "pro", "anonymizedAt": NOW},
        "revokedAt": NOW,
    }


@pytest.mark.parametrize(("revoked_at", "kept"), [(EARLIER, EARLIER), (None, NOW), (ABSENT, NOW)])
def test_a_license_revoked_earlier_keeps_its_time(revoked_at: object, kept: str) -> None:
    assert revoked(license_of_ada(revokedAt=revoked_at))["record"]["revokedAt"] == kept


def customer(**aggregate: Any) -> Document:
    keys = {"customerId": "customer_ada", "userId": "user_ada", "emailHash": "hash_ada"}
    return aggregated("customer", "customer_ada", {"emailHash": "hash_ada", **aggregate}, **keys)


@SCOPES
def test_a_customer_is_a_number_only(complete: bool) -> None:
    document = customer(**canaries(*CONTACT), metadata={"source": "web"}, currency="EUR")
    anonymized = rules.anonymized_customer(document, now=NOW, complete=complete)
    assert not holds_canary(anonymized)
    assert (anonymized["emailHash"], anonymized["userId"]) == (SENTINEL, SENTINEL)
    assert anonymized["aggregate"] == {
        "schemaVersion": 1,
        "emailHash": SENTINEL,
        "currency": "EUR",
        "metadata": {"source": "web", "anonymizedAt": NOW},
    }


def test_a_customer_is_known_by_the_customer_id_where_there_is_one() -> None:
    document = aggregated("customer", "document_id", {}, customerId="customer_ada")
    assert rules.anonymized_customer(document, now=NOW, complete=True)["userId"] == SENTINEL


def test_a_document_is_a_customers_by_its_customer_id_only() -> None:
    assert rules.owns_as_customer(ADA, {"customerId": "customer_ada"})
    assert not rules.owns_as_customer(
        ADA, {"customerId": "customer_bob", "userId": "user_ada", "emailHash": "hash_ada"}
    )


def test_a_customer_without_a_customer_id_is_known_by_the_documents_id() -> None:
    document = aggregated("customer", "document_id", {})
    assert rules.anonymized_customer(document, now=NOW, complete=True)["userId"] == "account-deleted:document_id"


def test_a_customers_provider_accounts_are_redacted_in_the_complete_scope_only() -> None:
    document = customer(providerAccounts=[{"provider": "stripe", **canaries("emailSnapshot", "name")}, "broken"])
    left = rules.anonymized_customer(document, now=NOW, complete=False)["aggregate"]["providerAccounts"]
    assert left == document["aggregate"]["providerAccounts"]
    redacted = rules.anonymized_customer(document, now=NOW, complete=True)["aggregate"]["providerAccounts"]
    assert redacted == [{"provider": "stripe"}]


PERSONAL: Final = (
    *CONTACT,
    *("firstName", "lastName", "phone", "address", "billingAddress", "shippingAddress"),
    *("buyer", "contact", "emailSnapshot"),
)


@given(
    type_=st.sampled_from(["subscription", "cart", "checkout", "wishlist", "providerAccount"]),
    payload=st.sampled_from(["aggregate", "record"]),
    at_the_top=st.sets(st.sampled_from(PERSONAL)),
    inside=st.sets(st.sampled_from([*PERSONAL, "userId", "emailHash"])),
    in_the_block=st.sets(st.sampled_from([*PERSONAL, "userId", "emailHash"])),
    kept=json_objects,
)
def test_no_payload_says_who_it_was(
    type_: str, payload: str, at_the_top: set[str], inside: set[str], in_the_block: set[str], kept: Document
) -> None:
    document = {
        "id": "d",
        "type": type_,
        "customerId": "customer_ada",
        **canaries(*at_the_top),
        payload: {"kept": kept, **canaries(*inside), "customer": canaries(*in_the_block)},
    }
    anonymized = rules.anonymized_aggregate(document, SENTINEL, now=NOW)
    assert not holds_canary(anonymized)
    assert anonymized[payload]["kept"] == kept
    again = rules.anonymized_aggregate(anonymized, SENTINEL, now=NOW)
    assert again == anonymized, "a document that names nobody is not changed again"


@pytest.mark.parametrize("payload", ["aggregate", "record"])
def test_the_sentinel_takes_the_place_of_each_key_of_a_payload(payload: str) -> None:
    keys = {"userId": "user_ada", "emailHash": "hash_ada"}
    anonymized = rules.anonymized_aggregate({**keys, payload: {**keys, "customer": keys}}, SENTINEL, now=NOW)
    replaced = {"userId": SENTINEL, "emailHash": SENTINEL}
    assert anonymized == {**replaced, payload: {**replaced, "customer": replaced}, "updatedAt": NOW}


@pytest.mark.parametrize(
    ("condition", "status", "holds"),
    [
        (rules.LIVE_SUBSCRIPTION, "active", True),
        (rules.LIVE_SUBSCRIPTION, "past_due", True),
        (rules.LIVE_SUBSCRIPTION, None, True),
        (rules.LIVE_SUBSCRIPTION, "cancelled", False),
        (rules.LIVE_SUBSCRIPTION, "expired", False),
        (rules.CHECKOUT_IN_PROGRESS, "checkout_pending", True),
        (rules.CHECKOUT_IN_PROGRESS, "active", False),
        (rules.CHECKOUT_IN_PROGRESS, None, False),
    ],
)
def test_a_live_subscription_or_a_checkout_in_progress_blocks_a_delete(
    condition: Any, status: str | None, holds: bool
) -> None:
    assert condition.holds({"status": status}) is holds


def test_phone_and_addresses_go_too_in_the_complete_scope() -> None:
    more = {"phone": "canary", "billingAddress": {"street": "canary"}, "firstName": "canary"}
    customer = aggregated("customer", "cus_1", {**more, "providerAccounts": []}, customerId="cus_1")
    assert "canary" not in json.dumps(rules.anonymized_customer(customer, now=NOW, complete=True))
    assert "canary" not in json.dumps(rules.anonymized_order(order(customer=more), SENTINEL, now=NOW, complete=True))
    assert "canary" in json.dumps(rules.anonymized_customer(customer, now=NOW, complete=False))
