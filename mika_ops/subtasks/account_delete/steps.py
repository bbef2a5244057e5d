"""The steps of an account delete, each for many requests at once: its cost grows with the shop, not with the requests.

A document that several requests own is changed for each of them, in the order of the requests, as if they had been
processed one after the other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from mika_ops.clock import Clock
from mika_ops.documents.document import Document
from mika_ops.documents.selection import (
    Collection,
    Field,
    OneOf,
    Selection,
    all_of,
    record,
    top,
)
from mika_ops.documents.sweep import IDS_NAMED, Sweep
from mika_ops.host.host import Host
from mika_ops.rules import personal_data
from mika_ops.rules.account_delete import Identity, StepValue
from mika_ops.subtasks.account_delete.owned_documents import (
    Requests,
    StepOutcome,
    by_keys,
    change_owned,
    key_values,
    named_inside,
)
from mika_ops.subtasks.subtask import AccountDeleteScope, required
from mika_ops.timestamps import Timestamp


@dataclass(frozen=True)
class Step:
    """One step: ``kind`` is the type of its value; a value recorded earlier counts only if it has this type."""

    name: str
    run: Callable[[Host, Requests, Clock], StepOutcome]
    kind: type[int] | type[bool] = int


def delete_tokens(host: Host, requests: Requests, _clock: Clock) -> StepOutcome:
    """Delete the people's tokens and cache markers."""
    subjects = {subject: None for identity in requests.values() for subject in identity.token_subjects}
    deleted = dict(required(host.ephemeral).delete_tokens(tuple(subjects)) if subjects else {})
    return StepOutcome(
        {
            request_id: sum(deleted.pop(subject, 0) for subject in identity.token_subjects)
            for request_id, identity in requests.items()
        }
    )


def release_reservations(host: Host, requests: Requests, clock: Clock) -> StepOutcome:
    """Release the customers' stock reservations; an orphaned one fails the step for its customer only."""
    customers = key_values(requests, "customerId")
    released = dict(required(host.stock).release_customers(customers, now=clock.stamp()) if customers else {})
    values: dict[str, StepValue] = {}
    errors: dict[str, str] = {}
    for request_id, identity in requests.items():
        reservations = released.get(identity.customer_id or "")
        values[request_id] = reservations.released if reservations else 0
        if reservations and reservations.orphans:
            errors[request_id] = (
                "reservations of the customer point to stock items that do not exist; restore the items or "
                f"delete these rows of mika_stock_events: {', '.join(reservations.orphans[:IDS_NAMED])}"
            )
        elif reservations and identity.customer_id:
            del released[identity.customer_id]
    return StepOutcome(values, errors)


def redact_emails(host: Host, requests: Requests, clock: Clock, *, statuses: tuple[str, ...]) -> StepOutcome:
    """Redact the people's emails of these statuses."""
    named = named_inside(
        requests,
        customerId=record("customerId"),
        userId=record("metadata", "userId"),
        emailHash=record("metadata", "emailHash"),
    )
    chosen = all_of(OneOf(top("type"), ("email",)), OneOf(top("status"), statuses))
    return change_owned(
        required(host.ops),
        [Selection("ops", chosen, named, reports_malformed=False)] if named else [],
        requests,
        clock,
        owns=personal_data.owns_email,
        without=lambda email, _identity, now: personal_data.redacted_email(email, now=now),
    )


def redact_exports(host: Host, requests: Requests, clock: Clock) -> StepOutcome:
    """Expire the people's account exports and forget their files."""
    named = named_inside(
        requests, customerId=record("customerId"), userId=record("userId"), emailHash=record("emailHash")
    )
    chosen = OneOf(top("type"), ("accountExport",))
    return change_owned(
        required(host.ops),
        [Selection("ops", chosen, named, reports_malformed=False)] if named else [],
        requests,
        clock,
        owns=personal_data.owns_export,
        without=lambda export, _identity, now: personal_data.redacted_export(export, now=now),
    )


def anonymize_orders(host: Host, requests: Requests, clock: Clock, *, complete: bool) -> StepOutcome:
    """Anonymize the people's orders, found by customer and by email hash."""
    return change_owned(
        required(host.ledger),
        list(by_keys("ledger", ("order",), requests, "customerId", "emailHash")),
        requests,
        clock,
        owns=personal_data.owns_order,
        without=lambda order, identity, now: personal_data.anonymized_order(
            order, _sentinel(identity), now=now, complete=complete
        ),
    )


def anonymize_orders_by_user(host: Host, requests: Requests, clock: Clock) -> StepOutcome:
    """Anonymize orders that name a person only by the user id in their customer block, and that id in others."""
    inside = OneOf(Field(("aggregate", "customer", "userId")), key_values(requests, "userId"))
    by_user = Selection("ledger", all_of(OneOf(top("type"), ("order",)), inside))
    return change_owned(
        required(host.ledger),
        [*([by_user] if inside.values else []), *by_keys("ledger", ("order",), requests, "customerId")],
        requests,
        clock,
        owns=personal_data.names_user_in_order,
        without=lambda order, identity, now: personal_data.anonymized_order(
            order, _sentinel(identity), now=now, complete=True
        ),
    )


def anonymize_entitlements(host: Host, requests: Requests, clock: Clock) -> StepOutcome:
    """Anonymize the people's entitlements."""
    return change_owned(
        required(host.account),
        list(by_keys("account", ("entitlement",), requests, "customerId", "emailHash", "userId")),
        requests,
        clock,
        owns=personal_data.owns_by_keys,
        without=lambda entitlement, identity, now: personal_data.anonymized_entitlement(
            entitlement, _sentinel(identity), now=now
        ),
    )


def anonymize_licenses(host: Host, requests: Requests, clock: Clock) -> StepOutcome:
    """Revoke and anonymize the customers' licenses."""
    return change_owned(
        required(host.account),
        list(by_keys("account", ("license",), requests, "customerId")),
        requests,
        clock,
        owns=personal_data.owns_as_customer,
        without=lambda license_, identity, now: personal_data.anonymized_license(
            license_, _sentinel(identity), now=now
        ),
    )


def anonymize_customers(
    host: Host, requests: Requests, clock: Clock, *, keys: tuple[str, ...], complete: bool
) -> StepOutcome:
    """Anonymize each person's customer document, found by the first of these keys that finds one."""
    account = required(host.account)
    selections = list(by_keys("account", ("customer",), requests, *keys))
    existing: dict[str, set[object]] = {key: set() for key in keys}
    for selection in selections:
        for ids in Sweep(account, selection, "account_delete_requests").batches():
            for customer in account.read(ids).values():
                for key in keys:
                    existing[key].update([customer[key]] if isinstance(customer.get(key), str) else [])

    def owns(identity: Identity, customer: Document) -> bool:
        own = {"customerId": identity.customer_id, "emailHash": identity.email_hash, "userId": identity.user_id}
        finder = next((key for key in keys if own[key] is not None and own[key] in existing[key]), None)
        return finder is not None and customer.get(finder) == own[finder]

    outcome = change_owned(
        account,
        selections,
        requests,
        clock,
        owns=owns,
        without=lambda customer, _identity, now: personal_data.anonymized_customer(
            customer, now=now, complete=complete
        ),
    )
    return StepOutcome({request_id: bool(count) for request_id, count in outcome.values.items()}, outcome.errors)


def redact_provider_accounts(host: Host, requests: Requests, clock: Clock) -> StepOutcome:
    """Redact the people's accounts at payment providers, and their copies in the customer documents."""

    def without(document: Document, identity: Identity, now: Timestamp) -> Document:
        if document.get("type") == "customer":
            return personal_data.anonymized_customer(document, now=now, complete=True)
        return personal_data.anonymized_aggregate(document, _sentinel(identity), now=now)

    return change_owned(
        required(host.account),
        [
            *by_keys("account", ("providerAccount",), requests, "customerId", "userId", "emailHash"),
            *by_keys("account", ("customer",), requests, "customerId"),
        ],
        requests,
        clock,
        owns=personal_data.owns_provider_account,
        without=without,
    )


def anonymize_aggregates(
    host: Host, requests: Requests, clock: Clock, *, collection: Collection, types: tuple[str, ...]
) -> StepOutcome:
    """Anonymize documents whose aggregate repeats the people's data."""
    inside = named_inside(
        requests,
        userId=Field(("aggregate", "customer", "userId")),
        emailHash=Field(("aggregate", "customer", "emailHash")),
    )
    selections = list(by_keys(collection, types, requests, "customerId", *_PERSON_KEYS[collection]))
    if inside is not None:
        selections.append(Selection(collection, all_of(OneOf(top("type"), types), inside)))
    return change_owned(
        required(host.account if collection == "account" else host.session),
        selections,
        requests,
        clock,
        owns=personal_data.owns_aggregate,
        without=lambda document, identity, now: personal_data.anonymized_aggregate(
            document, _sentinel(identity), now=now
        ),
    )


def steps_of(scope: AccountDeleteScope) -> tuple[Step, ...]:
    """Return the steps in order: the reference's eight, and with ``complete`` those for what the eight leave behind."""
    return _COMPLETE if scope == "complete" else _REFERENCE


def _sentinel(identity: Identity) -> str:
    sentinel = identity.sentinel
    if sentinel is None:
        raise TypeError("a person without any key owns no document")
    return sentinel


_PERSON_KEYS: Final[dict[Collection, tuple[str, ...]]] = {"account": ("userId", "emailHash"), "session": ()}
"""The further keys by which the database finds a collection's documents."""


def _eight(*, complete: bool) -> tuple[Step, ...]:
    customer_keys = ("customerId", "emailHash", "userId") if complete else ("customerId", "emailHash")
    return (
        Step("tokensDeleted", delete_tokens),
        Step("reservationsReleased", release_reservations),
        Step("emailsRedacted", partial(redact_emails, statuses=("queued", "failed"))),
        Step("accountExportsRedacted", redact_exports),
        Step("ordersAnonymized", partial(anonymize_orders, complete=complete)),
        Step("entitlementsAnonymized", anonymize_entitlements),
        Step("licensesAnonymized", anonymize_licenses),
        Step("customerAnonymized", partial(anonymize_customers, keys=customer_keys, complete=complete), bool),
    )


_REFERENCE: Final = _eight(complete=False)


_COMPLETE: Final = (
    *_eight(complete=True),
    Step("sentEmailsRedacted", partial(redact_emails, statuses=("sent", "skipped"))),
    Step("providerAccountsRedacted", redact_provider_accounts),
    Step("subscriptionsAnonymized", partial(anonymize_aggregates, collection="account", types=("subscription",))),
    Step(
        "cartsAnonymized",
        partial(anonymize_aggregates, collection="session", types=("cart", "checkout", "wishlist")),
    ),
    Step("ordersUserIdsAnonymized", anonymize_orders_by_user),
)
