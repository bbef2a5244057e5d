"""A person who asked to be deleted: every handle by which a document may be theirs, and the rule that decides it.

A request names a person by at most three keys. More is known from their documents: the ids of their orders, checkouts
and subscriptions, and their addresses. By these the documents are found that name the person in no key: a webhook of
an order, a guest's checkout, an email about an order.

Source: behaviour, section 8; deviations, numbers 6, 17 and 19.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Final, Literal, Self, TypeAlias

from mika_ops.documents.document import Document, is_storable
from mika_ops.rules.account_delete import Identity

HandleKind: TypeAlias = Literal[
    "customerId", "userId", "emailHash", "address", "orderId", "checkoutId", "providerCheckoutId", "subscriptionId"
]
Handle: TypeAlias = tuple[HandleKind, str]
"""One way in which a document names a person, or something that is theirs."""

SENTINEL_START: Final = "account-deleted"
"""How every text starts that takes the place of a person's keys."""

EMAIL_SENTINEL_START: Final = "account-deleted-email:"
USER_SENTINEL_START: Final = "account-deleted-user:"
"""How the reference's sentinels of guests start. They repeat the key that they replace."""

_GUEST_SENTINELS: Final[tuple[tuple[str, HandleKind], ...]] = (
    (EMAIL_SENTINEL_START, "emailHash"),
    (USER_SENTINEL_START, "userId"),
)
KEYS: Final[tuple[HandleKind, ...]] = ("customerId", "userId", "emailHash")
_KEY_HOLDERS: Final = ((), ("record",), ("record", "metadata"), ("aggregate",), ("aggregate", "customer"))
"""Where in a document the three keys may stand."""

_NAMED_BY_TYPE: Final[Mapping[str, Mapping[tuple[str, ...], HandleKind]]] = {
    "customer": {("aggregate", "email"): "address"},
    "providerAccount": {("record", "emailSnapshot"): "address"},
    "subscription": {("id",): "subscriptionId", ("aggregate", "customer", "email"): "address"},
    "order": {
        ("id",): "orderId",
        ("checkoutSessionId",): "checkoutId",
        ("providerCheckoutId",): "providerCheckoutId",
        ("aggregate", "customer", "email"): "address",
    },
    "checkout": {
        ("id",): "checkoutId",
        ("orderId",): "orderId",
        ("providerCheckoutId",): "providerCheckoutId",
        ("aggregate", "metadata", "checkoutCustomerEmail"): "address",
    },
    "email": {("record", "orderId"): "orderId", ("orderId",): "orderId", ("record", "toEmail"): "address"},
    "webhook": {
        ("record", "relatedCustomerId"): "customerId",
        ("record", "relatedOrderId"): "orderId",
        ("record", "relatedSubscriptionId"): "subscriptionId",
        ("record", "normalizedPayloadJson", "providerCheckoutId"): "providerCheckoutId",
        ("record", "normalizedPayloadJson", "customer", "email"): "address",
    },
    "entitlement": {},
    "license": {},
    "accountExport": {},
    "cart": {},
    "wishlist": {},
}
"""The further handles of each type, by their place."""

_REVEALED_BY_TYPE: Final[Mapping[str, frozenset[HandleKind]]] = {
    "customer": frozenset({"customerId", "userId", "emailHash", "address"}),
    "providerAccount": frozenset({"address"}),
    "subscription": frozenset({"subscriptionId", "userId", "emailHash", "address"}),
    "order": frozenset({"orderId", "checkoutId", "providerCheckoutId", "userId", "emailHash", "address"}),
    "checkout": frozenset({"checkoutId", "providerCheckoutId"}),
    "cart": frozenset({"userId"}),
    "wishlist": frozenset({"userId"}),
    "accountExport": frozenset({"userId", "emailHash"}),
    "email": frozenset({"userId", "emailHash"}),
}
"""What a person's document of each type reveals about the person.

Others pay for a person's order and staff is written to about it: a webhook, a checkout or the recipient of an email
says nothing of who the person is.
"""


@dataclass(frozen=True)
class Person(Identity):
    """A person of a request, with all handles that are known. ``request_id`` replaces the keys of a guest."""

    request_id: str = ""
    handles: Mapping[HandleKind, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of_request(cls, request_id: str, identity: Identity, *more: Handle) -> Self:
        """Return the person of a request by its keys, by the sentinels that replaced them, and by ``more`` handles."""
        bare = cls(identity.customer_id, identity.user_id, identity.email_hash, request_id)
        handles: list[Handle] = [(key, value) for key in KEYS if (value := identity.keys.get(key)) is not None]
        replaced = [bare.sentinel] if bare.sentinel and not identity.customer_id else []
        if identity.email_hash:
            replaced.append(f"{EMAIL_SENTINEL_START}{identity.email_hash}")
        if identity.user_id:
            replaced.append(f"{USER_SENTINEL_START}{identity.user_id}")
        handles += [(key, sentinel) for sentinel in replaced for key in ("emailHash", "userId")]
        return bare.knowing((*handles, *more))

    @classmethod
    def of_keys(cls, identity: Identity) -> Self:
        """Return the person of a request by its keys alone, with the reference's sentinel."""
        bare = cls(identity.customer_id, identity.user_id, identity.email_hash)
        return bare.knowing((key, value) for key in KEYS if (value := identity.keys.get(key)) is not None)

    @property
    def sentinel(self) -> str | None:
        """What takes the place of the person's keys. A guest's is the id of the request: a hash is still a key."""
        if self.customer_id or not self.request_id:
            return super().sentinel
        return f"{SENTINEL_START}-request:{self.request_id}"

    @property
    def token_subjects(self) -> tuple[str, ...]:
        """The subjects under which the person's tokens are stored. A bare user id is none of them."""
        customers, users, hashes = (sorted(self.values(key)) for key in KEYS)
        return (
            *(subject for id_ in customers for subject in (id_, f"customer:{id_}")),
            *(f"user:{id_}" for id_ in users),
            *(subject for hash_ in hashes for subject in (hash_, f"email:{hash_}")),
        )

    def knowing(self, handles: Iterable[Handle]) -> Self:
        """Return the person with more handles, without those that cannot be used in a query."""
        known = {kind: set(values) for kind, values in self.handles.items()}
        for kind, value in handles:
            if is_storable(value):
                known.setdefault(kind, set()).add(value)
        return type(self)(
            self.customer_id,
            self.user_id,
            self.email_hash,
            self.request_id,
            {kind: frozenset(values) for kind, values in known.items()},
        )

    def values(self, kind: HandleKind) -> frozenset[str]:
        """Return the handles of one kind."""
        return self.handles.get(kind, frozenset())

    def is_known_by(self, handle: Handle) -> bool:
        """Say whether a handle is the person's."""
        return handle[1] in self.values(handle[0])


def handles_in(document: Document) -> Iterator[Handle]:
    """Yield every handle by which a document names people or what is theirs. An address is also its hash."""
    for holder in _KEY_HOLDERS:
        block = _at(document, holder)
        if isinstance(block, dict):
            yield from ((key, value) for key in KEYS if isinstance(value := block.get(key), str) and value)
    for place, kind in _NAMED_BY_TYPE.get(str(document.get("type")), {}).items():
        value = _at(document, place)
        if isinstance(value, str) and value:
            yield kind, value
            if kind == "address":
                yield "emailHash", hash_of_address(value)
    if document.get("type") == "customer":
        accounts = _at(document, ("aggregate", "providerAccounts"))
        for account in accounts if isinstance(accounts, list) else ():
            address = _at(account, ("emailSnapshot",)) if isinstance(account, dict) else None
            if isinstance(address, str) and address:
                yield "address", address
                yield "emailHash", hash_of_address(address)


def owns(person: Person, document: Document) -> bool:
    """Say whether a document is the person's: it names them or what is theirs, and no other customer."""
    handles = set(handles_in(document))
    if any(kind == "customerId" and value not in person.values("customerId") for kind, value in handles):
        return False
    return any(person.is_known_by(handle) for handle in handles)


def is_named_by(person: Person, document: Document) -> bool:
    """Say whether a document names the person by any handle, whatever customer it is of."""
    return any(person.is_known_by(handle) for handle in handles_in(document))


def revealed_by(document: Document) -> Iterator[Handle]:
    """Yield what a person's document reveals about them: handles by which more of their documents are found."""
    type_ = str(document.get("type"))
    if type_ == "email" and document.get("kind") == "admin_notification":
        return
    for kind, value in handles_in(document):
        if kind in _REVEALED_BY_TYPE.get(type_, ()) and not value.startswith(SENTINEL_START):
            yield kind, value


def guest_handles(sentinels: Set[str]) -> Iterator[Handle]:
    """Yield the keys that the reference's sentinels of guests repeat, and the sentinels themselves."""
    for sentinel in sorted(sentinels):
        for start, kind in _GUEST_SENTINELS:
            if sentinel.startswith(start):
                yield ("emailHash", sentinel)
                yield ("userId", sentinel)
                yield (kind, sentinel.removeprefix(start))


def hash_of_address(address: str) -> str:
    """Return the hash that Mika's backend stores for an address.

    A host may supply a hash function of its own; its documents are then found by the other handles.
    """
    # An address with half of a surrogate pair has no hash of Mika's.
    key = f"email:{address.strip().lower()}".encode(errors="replace")
    return hashlib.sha256(key).hexdigest()


def handles_in_acp_session(session: Document) -> Iterator[Handle]:
    """Yield the handles by which an ACP session names a person: its checkout, and its buyer's address."""
    checkout = session.get("checkoutId")
    if isinstance(checkout, str) and checkout:
        yield "checkoutId", checkout
    address = _at(session, ("buyer", "email"))
    if isinstance(address, str) and address:
        yield "address", address
        yield "emailHash", hash_of_address(address)


def _at(document: Document, place: tuple[str, ...]) -> object:
    value: object = document
    for key in place:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value
