"""Arbitrary batches of stored documents: sound ones, and such as went wrong wherever a selection looks."""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from mika_ops.documents.document import ABSENT, Document, patched
from mika_ops_testing.builders import AFTER, BEFORE, EARLIER, LATER, NOW

on_a_database: Final = settings(
    max_examples=30,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
"""For properties of a store: one database per test, emptied between examples."""

Build: TypeAlias = Callable[[str], Document]
Mutation: TypeAlias = tuple[tuple[str, ...], Any]

ids: Final = st.text("aAzZ09_.~é\uffff𝄞", min_size=1, max_size=3)

odd: Final = st.sampled_from(
    [
        *(ABSENT, None, True, False, 0, 5, 2.5, -1, 10**20, 1e300, [], {}, [NOW], ["email"], {"a": 1}),
        *("", "5", "~", "É", "𝄞", "text", "2026", "2026-03-01T12:00:00Z"),
    ]
)
"""What should not stand in a field, or only in another."""


def mostly(*good: Any) -> st.SearchStrategy[Any]:
    expected = st.sampled_from(good)
    return st.one_of(expected, expected, odd)


times: Final = mostly(EARLIER, BEFORE, NOW, AFTER, LATER)
counts: Final = mostly(0, 4, 5, 6, 4.5, 5.0)
keys: Final = mostly("ada", "bob", "eve")
statuses: Final = mostly("queued", "failed", "sent", "skipped", "running", "processed", "active", "checkout_pending")

_RECORD: Final[dict[str, st.SearchStrategy[Any]]] = {
    "status": statuses,
    "attemptCount": counts,
    "maxAttempts": counts,
    "nextAttemptAt": times,
    "leaseExpiresAt": times,
    "receivedAt": times,
    "updatedAt": times,
    "lastError": mostly("", "refused"),
    "rawPayloadJson": mostly("{}", {"id": "evt"}),
    "normalizedPayloadJson": mostly("{}"),
    "rawPayloadPurgedAt": times,
    "customerId": keys,
    "userId": keys,
    "emailHash": keys,
    "metadata": odd,
}

_PLACES: Final[dict[tuple[str, ...], st.SearchStrategy[Any]]] = {
    ("type",): odd,
    ("status",): statuses,
    ("kind",): odd,
    ("nextAttemptAt",): times,
    ("leaseExpiresAt",): times,
    ("receivedAt",): times,
    ("createdAt",): times,
    ("customerId",): keys,
    ("userId",): keys,
    ("emailHash",): keys,
    ("record",): odd,
    **{("record", field): values for field, values in _RECORD.items()},
    ("record", "createdAt"): times,
    ("record", "metadata", "redactedAt"): times,
    ("record", "metadata", "userId"): keys,
    ("record", "metadata", "emailHash"): keys,
    **{("record", key): keys for key in ("relatedCustomerId", "relatedOrderId", "orderId", "toEmail")},
    ("record", "normalizedPayloadJson", "customer", "email"): keys,
    ("aggregate",): odd,
    ("aggregate", "customer"): odd,
    ("aggregate", "customer", "userId"): keys,
    ("aggregate", "customer", "emailHash"): keys,
    ("aggregate", "metadata", "checkoutCustomerEmail"): keys,
}


def mutations(*places: tuple[str, ...]) -> st.SearchStrategy[Mutation]:
    """Return a change of one of these places to a value that may or may not belong there."""
    return st.sampled_from(places).flatmap(lambda place: st.tuples(st.just(place), _PLACES[place]))


def mutated(document: Document, changes: list[Mutation]) -> Document:
    for path, value in changes:
        document = _with(document, path, value)
    return document


def _with(block: Any, path: tuple[str, ...], value: Any) -> Any:
    if not isinstance(block, dict):
        return block
    key, *rest = path
    if not rest:
        return patched(block, {key: value})
    return {**block, key: _with(block[key], tuple(rest), value)} if key in block else block


def batches(
    *builds: Build, likely: tuple[tuple[str, ...], ...], max_size: int = 8
) -> st.SearchStrategy[dict[str, Any]]:
    """Return documents by id: as built, with up to four changes, most of them in the ``likely`` places."""
    change = st.one_of(mutations(*likely), mutations(*likely), mutations(*_PLACES))
    document = st.tuples(st.sampled_from(builds), st.lists(change, max_size=4))
    stored = st.one_of(document, document, document, document, document, st.tuples(st.none(), odd))

    def built(batch: dict[str, Any]) -> dict[str, Any]:
        return {
            id_: mutated(build(id_), changes) if build else None if changes is ABSENT else changes
            for id_, (build, changes) in batch.items()
        }

    return st.dictionaries(ids, stored, min_size=2, max_size=max_size).map(built)
