"""Payment webhooks: the event stays, without its customer and without the provider's raw payload."""

from collections.abc import Iterator
from typing import Final

from mika_ops.documents.selection import OneOf, Selection, all_of, record, top
from mika_ops.rules import order_documents, person
from mika_ops.subtasks.account_delete.owned_documents import OwnedType, Requests, by_handles, key_values

_UNFINISHED: Final = ("received", "failed", "queued", "processing", "ignored")
"""The statuses of webhooks that no order, checkout or customer may be linked to yet."""


def _select(requests: Requests) -> Iterator[Selection]:
    yield from by_handles(
        "ops",
        "webhook",
        requests,
        ("customerId", record("relatedCustomerId")),
        ("orderId", record("relatedOrderId")),
        ("subscriptionId", record("relatedSubscriptionId")),
        ("providerCheckoutId", record("normalizedPayloadJson", "providerCheckoutId")),
        ("address", record("normalizedPayloadJson", "customer", "email")),
    )
    if key_values(requests, "emailHash"):
        # One that is not processed yet has the payer's address alone, and the request only its hash.
        yield Selection("ops", all_of(OneOf(top("type"), ("webhook",)), OneOf(top("status"), _UNFINISHED)))


WEBHOOKS: Final = OwnedType(
    collection="ops",
    select=_select,
    owns=person.owns,
    without=lambda webhook, _owner, now: order_documents.redacted_webhook(webhook, now=now),
    leftovers=True,
)
