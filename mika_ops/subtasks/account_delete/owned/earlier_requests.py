"""Earlier account-delete requests of the same people: they forget the keys, as a completed one does."""

from functools import partial
from typing import Final

from mika_ops.rules import order_documents, person
from mika_ops.subtasks.account_delete.owned_documents import OwnedType, by_keys

EARLIER_REQUESTS: Final = OwnedType(
    collection="ops",
    select=partial(by_keys, "ops", ("accountDeleteRequest",), keys=("customerId", "userId", "emailHash")),
    owns=person.owns,
    without=lambda request, _owner, now: order_documents.nameless_request(request, now=now),
    leftovers=True,
)
