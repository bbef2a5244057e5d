"""Whose a document is: by the handles of a person, and not where it names another customer (deviations, number 17)."""

from typing import Any, Final

import pytest
from hypothesis import given

from mika_ops.documents.document import Document
from mika_ops.rules import person as rules
from mika_ops.rules.account_delete import Identity
from mika_ops.rules.person import Handle, Person
from mika_ops_testing.builders import aggregated, email, order, recorded, webhook
from mika_ops_tests.documents.arbitrary import json_objects

ADDRESS: Final = "Ada@Example.test "
HASH: Final = rules.hash_of_address(ADDRESS)
ADA: Final = Person.of_request(
    "delete_1",
    Identity("customer_ada", "user_ada", HASH),
    ("orderId", "order_1"),
    ("checkoutId", "checkout_1"),
    ("providerCheckoutId", "pc_1"),
    ("subscriptionId", "sub_1"),
    ("address", ADDRESS),
)
GUEST: Final = Person.of_request("delete_2", Identity(None, None, HASH))


def paid(**record: Any) -> Document:
    return webhook("webhook_1", **record)


def guest_checkout(id_: str = "checkout_9", /, **metadata: str) -> Document:
    return aggregated("checkout", id_, {"metadata": metadata})


def test_an_address_has_the_hash_that_mika_stores() -> None:
    # From a real site: what Mika 0.1.1 stored for this address.
    stored = "91ac1c30a2370b76125390c018a5b63524a4060eb15e952039f07d5af74ac353"
    assert rules.hash_of_address(" Alice@people.example") == stored


@pytest.mark.parametrize(
    "document",
    [
        email(orderId="order_1"),
        email(toEmail=ADDRESS),
        email(metadata={"userId": "user_ada"}),
        paid(relatedOrderId="order_1"),
        paid(relatedCustomerId="customer_ada"),
        paid(relatedSubscriptionId="sub_1"),
        paid(normalizedPayloadJson={"providerCheckoutId": "pc_1"}),
        paid(normalizedPayloadJson={"customer": {"email": "ada@example.test"}}),
        guest_checkout("checkout_1"),
        guest_checkout(checkoutCustomerEmail="ADA@example.test"),
        order(customer={"userId": "user_ada"}),
        order(emailHash=f"account-deleted-email:{HASH}"),
        recorded("accountExport", (), {"emailHash": HASH}),
        aggregated("cart", "cart_1", {}, userId="user_ada"),
    ],
)
def test_a_document_is_a_persons_by_any_handle(document: Document) -> None:
    assert rules.owns(ADA, document)


@pytest.mark.parametrize(
    "document",
    [
        email(orderId="order_1", customerId="customer_bo"),
        paid(relatedOrderId="order_1", relatedCustomerId="customer_bo"),
        aggregated("checkout", "checkout_1", {}, customerId="customer_bo"),
        order(emailHash=HASH, customer={"customerId": "customer_bo"}),
    ],
)
def test_a_document_that_names_another_customer_is_not(document: Document) -> None:
    assert rules.is_named_by(ADA, document)
    assert not rules.owns(ADA, document)


@pytest.mark.parametrize(
    "document",
    [email(orderId="order_2"), paid(relatedOrderId="order_2"), paid(), order("order_2", customer={})],
)
def test_a_document_of_somebody_else_is_not(document: Document) -> None:
    assert not rules.is_named_by(ADA, document)


def test_a_guest_is_found_by_the_hash_of_the_address_alone() -> None:
    assert rules.owns(GUEST, guest_checkout(checkoutCustomerEmail=ADDRESS))
    assert not rules.owns(GUEST, guest_checkout(checkoutCustomerEmail="bo@example.test"))


def test_the_keys_of_a_guest_are_replaced_by_the_request() -> None:
    assert GUEST.sentinel == "account-deleted-request:delete_2"
    assert rules.owns(GUEST, order(emailHash="account-deleted-request:delete_2")), "a resumed delete finds it again"


def test_the_keys_of_a_customer_are_replaced_by_the_customers_number() -> None:
    assert ADA.sentinel == "account-deleted:customer_ada"


@pytest.mark.parametrize(
    "identity", [Identity("c", "u", "h"), Identity(None, "u", "h"), Identity(None, "u"), Identity()]
)
def test_by_keys_alone_a_person_is_what_the_reference_makes_of_them(identity: Identity) -> None:
    person = Person.of_keys(identity)
    assert person.sentinel == identity.sentinel
    assert sorted(person.token_subjects) == sorted(identity.token_subjects)
    assert {kind: set(values) for kind, values in person.handles.items()} == {
        key: {value} for key, value in identity.keys.items()
    }


@pytest.mark.parametrize(
    ("document", "revealed"),
    [
        (order("order_7", customerId="customer_ada", checkoutSessionId="checkout_7", customer={}), "order_7"),
        (aggregated("subscription", "sub_7", {}, customerId="customer_ada"), "sub_7"),
        (aggregated("cart", "cart_7", {}, customerId="customer_ada", userId="user_7"), "user_7"),
        (recorded("accountExport", (), {"customerId": "customer_ada", "emailHash": "hash_7"}), "hash_7"),
        (email(kind="order_confirmation", metadata={"emailHash": "hash_7"}), "hash_7"),
    ],
)
def test_a_persons_documents_reveal_more_handles(document: Document, revealed: str) -> None:
    assert revealed in {value for _kind, value in rules.revealed_by(document)}


@pytest.mark.parametrize(
    "document",
    [
        paid(relatedCustomerId="customer_ada", normalizedPayloadJson={"customer": {"email": "payer@example.test"}}),
        guest_checkout(checkoutCustomerEmail="payer@example.test"),
        email(
            toEmail="staff@example.test", customerId="customer_ada", kind="admin_notification", metadata={"userId": "x"}
        ),
        order(customer={"userId": "account-deleted:customer_ada", "email": None}),
    ],
)
def test_who_pays_and_who_is_written_to_about_a_person_is_not_the_person(document: Document) -> None:
    assert {kind for kind, _value in rules.revealed_by(document)}.isdisjoint(
        {"userId", "emailHash", "address", "customerId"}
    )


def test_the_references_sentinels_of_guests_reveal_their_keys() -> None:
    handles = set(
        rules.guest_handles({"account-deleted-email:h", "account-deleted-user:u", "account-deleted:customer"})
    )
    assert {("emailHash", "h"), ("userId", "u"), ("emailHash", "account-deleted-email:h")} <= handles
    assert not any("customer" in value for _kind, value in handles)


def test_a_handle_that_no_database_can_hold_is_left_out() -> None:
    handles: list[Handle] = [("address", "a\0b"), ("address", "\ud800"), ("address", "ada")]
    assert Person(request_id="r").knowing(handles).values("address") == {"ada"}


@given(json_objects)
def test_any_document_can_be_asked_for_its_handles(document: Document) -> None:
    for type_ in ("customer", "order", "email", "webhook", "checkout"):
        list(rules.revealed_by({**document, "type": type_}))
    list(rules.handles_in_acp_session(document))
