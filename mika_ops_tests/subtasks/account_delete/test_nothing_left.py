"""No trace of a deleted person is left, nobody else's documents change, and an interrupted delete is resumed.

Properties over arbitrary shops: every document of a person has a canary in each place that may hold personal data, and
is linked to the person by some of the handles that a document of its type may have.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select

from mika_ops.clock import Clock
from mika_ops.documents.document import Document
from mika_ops.documents.repository import Changes, Note, RepositoryUnavailable, Rule
from mika_ops.host.host import Host
from mika_ops.rules.person import hash_of_address
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.schema.site import plugin_storage
from mika_ops.subtasks.account_delete import requests
from mika_ops.subtasks.outcome import SubtaskFailed
from mika_ops.subtasks.subtask import RunOptions
from mika_ops_testing.builders import aggregated, delete_request, email, get, put_raw, recorded, webhook
from mika_ops_testing.fakes import host_of
from mika_ops_tests.store.arbitrary import on_a_database

Shop = Mapping[str, list[Document]]


@dataclass(frozen=True)
class Someone:
    """A person of the shop. ``customer_id`` is ``None`` for a guest."""

    name: str
    customer_id: str | None = None

    @property
    def address(self) -> str:
        return f"canary-{self.name}@example.test"

    @property
    def canaries(self) -> Document:
        return {"email": self.address, "name": f"canary-{self.name}", "vatId": f"canary-{self.name}"}

    @property
    def keys(self) -> Document:
        keys = {"userId": f"canary-user-{self.name}", "emailHash": hash_of_address(self.address)}
        return (
            {"emailHash": keys["emailHash"]} if self.customer_id is None else {"customerId": self.customer_id, **keys}
        )


ADA: Final = Someone("ada", "customer_ada")
BO: Final = Someone("bo", "customer_bo")
CY: Final = Someone("cy")
DI: Final = Someone("di")
DELETED: Final = (ADA, CY)
EVERYBODY: Final = (ADA, BO, CY, DI)


def some_of(handles: Document) -> st.SearchStrategy[Document]:
    """Return some of these handles, at least one."""
    names = st.sets(st.sampled_from(sorted(handles)), min_size=1)
    return names.map(lambda chosen: {name: handles[name] for name in sorted(chosen)})


@st.composite
def an_email(draw: st.DrawFn, one: Someone, id_: str) -> Document:
    kinds = {"order": {"orderId": f"order_{one.name}"}, "address": {"toEmail": one.address}}
    kinds |= {"customer": {"customerId": one.customer_id}} if one.customer_id else {}
    in_metadata = {key: value for key, value in one.keys.items() if key != "customerId"}
    linked = draw(some_of({**kinds, **{key: {"metadata": {key: value}} for key, value in in_metadata.items()}}))
    fields: Document = {"toEmail": f"canary-{one.name}", "subject": f"canary-{one.name}", "metadata": {}}
    for link in linked.values():
        fields = {**fields, **link, "metadata": {**fields["metadata"], **link.get("metadata", {})}}
    return email(id_, **{**fields, "status": draw(st.sampled_from(["queued", "failed", "sent", "skipped"]))})


@st.composite
def a_webhook(draw: st.DrawFn, one: Someone, id_: str) -> Document:
    links: Document = {"order": {"relatedOrderId": f"order_{one.name}"}}
    links |= {"customer": {"relatedCustomerId": one.customer_id}} if one.customer_id else {}
    event = {"kind": "payment", "customer": one.canaries}
    record: Document = {"normalizedPayloadJson": event, "rawPayloadJson": one.canaries}
    if draw(st.booleans()):
        for link in draw(some_of(links)).values():
            record |= link
    return webhook(id_, **{**record, "status": draw(st.sampled_from(["processed", "received", "failed"]))})


@st.composite
def a_checkout(draw: st.DrawFn, one: Someone, id_: str) -> Document:
    links: Document = {"order": {"orderId": f"order_{one.name}"}}
    links |= {"customer": {"customerId": one.customer_id}} if one.customer_id else {}
    metadata = {"checkoutCustomerEmail": one.address, "checkoutCustomerName": f"canary-{one.name}"}
    linked = draw(st.one_of(st.just({}), some_of(links)))
    top: Document = {}
    for link in linked.values():
        top |= link
    return aggregated("checkout", id_, {"metadata": metadata}, **top)


@st.composite
def an_export(draw: st.DrawFn, one: Someone, id_: str) -> Document:
    status = draw(st.sampled_from(["ready", "expired"]))
    record = {"id": id_, "status": status, "artifactRef": one.address, **draw(some_of(one.keys))}
    return recorded("accountExport", ("customerId", "userId", "status"), record)


@st.composite
def a_cart(draw: st.DrawFn, one: Someone, id_: str) -> Document:
    return aggregated("cart", id_, {"customer": {**one.canaries, **one.keys}}, **draw(some_of(one.keys)))


@st.composite
def an_order(draw: st.DrawFn, one: Someone, id_: str) -> Document:
    keys = draw(some_of({key: value for key, value in one.keys.items() if key != "userId"}))
    return aggregated("order", id_, {"customer": {**one.canaries, **one.keys}}, **keys)


@st.composite
def shops(draw: st.DrawFn) -> Shop:
    shop: dict[str, list[Document]] = {"ops": [], "session": [], "ledger": [], "account": []}
    types: tuple[tuple[str, Any], ...] = (
        ("ops", an_email),
        ("ops", a_webhook),
        ("ops", an_export),
        ("session", a_checkout),
        ("session", a_cart),
        ("ledger", an_order),
    )
    for one in EVERYBODY:
        shop["ledger"].append(draw(an_order(one, f"order_{one.name}")))
        for number in range(draw(st.integers(0, 4))):
            collection, build = draw(st.sampled_from(types))
            shop[collection].append(draw(build(one, f"{build.__name__}_{one.name}_{number}")))
        if one.customer_id is not None:
            customer = aggregated("customer", one.customer_id, one.canaries, **one.keys)
            entitlement = recorded("entitlement", tuple(one.keys), {"id": f"ent_{one.name}", **one.keys})
            shop["account"] += [customer, entitlement]
    shop["ops"] += [delete_request(f"delete_{one.name}", **one.keys) for one in DELETED]
    return shop


@dataclass
class Interrupted:
    """Documents whose storage fails at one change: the next run has to go on from there."""

    inner: Documents
    changes_left: list[int]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def change(self, ids: list[str], rule: Rule[Note], **options: Any) -> Changes[Note]:
        if self.changes_left[0] == 0:
            self.changes_left[0] = -1
            raise RepositoryUnavailable("the database was stopped")
        self.changes_left[0] -= 1
        return self.inner.change(ids, rule, **options)


def interrupted(host: Host, after: int) -> Host:
    left = [after]
    collections = {name: Interrupted(getattr(host, name), left) for name in ("ops", "account", "ledger", "session")}
    return replace(host, **collections)  # type: ignore[arg-type]


def fill(database: Database, shop: Shop) -> None:
    with database.engine.begin() as connection:
        connection.execute(delete(plugin_storage))
    for collection, documents in shop.items():
        if documents:
            put_raw(database, collection, *((document["id"], json.dumps(document)) for document in documents))


def texts(database: Database) -> dict[str, str]:
    with database.reading() as connection:
        rows = connection.execute(select(plugin_storage.c.id, plugin_storage.c.data)).all()
    return {row.id: row.data for row in rows}


def test_no_canary_of_a_deleted_person_is_left_and_nobody_else_changes(database: Database, clock: Clock) -> None:
    @on_a_database
    @given(shops(), st.integers(0, 25))
    def holds(shop: Shop, after: int) -> None:
        fill(database, shop)
        before = texts(database)
        host = host_of(database)
        try:
            requests.run(interrupted(host, after), clock, RunOptions())
        except SubtaskFailed:
            requests.run(host, clock, RunOptions())
        found = texts(database)
        for one in DELETED:
            assert get(database, "ops", f"delete_{one.name}")["status"] == "completed"
            left = {id_ for id_, text in found.items() if f"-{one.name}" in text or one.keys["emailHash"] in text}
            assert left == set(), {id_: found[id_] for id_ in left}
        others = {id_ for id_, text in before.items() if any(f"-{one.name}" in text for one in (BO, DI))}
        assert others
        assert {id_: found[id_] for id_ in others} == {id_: before[id_] for id_ in others}

    holds()
