"""A shop in which all nine subtasks have work, and everything around it: a mail server and the site."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Table, select

from mika_ops.documents.document import Document
from mika_ops.documents.repository import Change
from mika_ops.store.acp_sessions import AcpSessionStore
from mika_ops.store.documents import Documents
from mika_ops.store.opening import open_database
from mika_ops.store.schema.own import acp_sessions
from mika_ops.store.schema.site import ephemeral_records, plugin_storage, stock_events, stock_items
from mika_ops.subtasks.account_delete.steps import steps_of
from mika_ops_testing.admin_api_server import Call, Reply, Site, done, running_site, says
from mika_ops_testing.builders import (
    BEFORE,
    acp_session,
    aggregated,
    delete_request,
    email,
    ephemeral,
    order,
    put,
    put_rows,
    recorded,
    reservation,
    stock_item,
    webhook,
    workflow,
)
from mika_ops_testing.smtp_server import Mailroom, mail_server

EMAILS: Final = 40
PEOPLE: Final = 6
RETRIES: Final = 12
CONCURRENCY: Final = 4
NEVER: Final = "2999-01-01T00:00:00.000Z"
TABLES: Final = (plugin_storage, stock_items, stock_events, ephemeral_records, acp_sessions)

_TIME: Final = re.compile(r"20\d\d-(?!0[1-3])\d\d-\d\d[T ][\d:.]+(Z|\+00)?")
"""A time that maintenance wrote; the shop's times lie in the spring."""


def fill(url: str, *, copies: int = 1) -> None:
    """Fill a shop with work for every subtask, most of it ``copies`` times, and with data that must not change."""
    exhausted: Document = {"attemptCount": 5, "leaseKey": "k", "leaseExpiresAt": BEFORE}
    with open_database(url) as shop:
        put(shop, "ops", *(_due_email(number) for number in range(EMAILS * copies)))
        put(shop, "ops", *(email(f"stuck_{n:02}", **exhausted) for n in range(20 * copies)))
        put(shop, "ops", *(email(f"failed_{n}", status="failed", attemptCount=5) for n in range(5)))
        put(shop, "ops", *(webhook(f"webhook_{n:03}", rawPayloadJson={"body": "x" * 500}) for n in range(80 * copies)))
        put(shop, "ops", *(workflow(f"lost_{n:02}", status="running", **exhausted) for n in range(20)))
        put(shop, "ops", *(workflow(f"retry_{n:02}", status="failed", nextAttemptAt=BEFORE) for n in range(RETRIES)))
        put(shop, "ledger", *(order(f"order_{n}", customer=_buyer(n), **_keys(n)) for n in range(2 * PEOPLE)))
        # Orders of others: nobody gets an email while their delete request is queued.
        put(shop, "ledger", *(order(f"kept_{n}", customerId=f"other_{n}") for n in range(PEOPLE)))
        for number in range(PEOPLE):
            _person(shop, number)
        put_rows(shop, stock_items, *(stock_item(f"item_{n}", quantity_reserved=24 * copies) for n in range(10)))
        put_rows(shop, stock_events, *(_reservation(number) for number in range(240 * copies)))
        put_rows(shop, ephemeral_records, *(ephemeral(f"token:{n}") for n in range(200 * copies)))
        put_rows(shop, ephemeral_records, *(ephemeral(f"rate:{n}", expires_at=NEVER) for n in range(20)))
        AcpSessionStore(shop).put([acp_session(f"acp_{n:02}") for n in range(25)])
        AcpSessionStore(shop).put([acp_session(f"over_{n}", expiredAt=BEFORE, purgeAt=BEFORE) for n in range(5)])


def _due_email(number: int) -> Document:
    about: Document = {"orderId": f"kept_{number % PEOPLE}"} if number % 3 == 0 else {}
    kind = "order_confirmation" if about else "magic_link"
    return email(f"email_{number:02}", kind=kind, maxAttempts=1_000, **about)


def _buyer(number: int) -> Document:
    return {"email": f"person_{number % PEOPLE}@example.test", "name": "Ada Lind"}


def _keys(number: int) -> Document:
    person = number % PEOPLE
    return {"customerId": f"customer_{person}", "userId": f"user_{person}", "emailHash": f"hash_{person}"}


def _person(shop: Any, number: int) -> None:
    """Store all documents of one person, and their account-delete request."""
    keys = _keys(number)
    put(shop, "ops", delete_request(f"delete_{number}", **keys))
    put(
        shop,
        "account",
        aggregated("customer", f"customer_{number}", _buyer(number), **keys),
        recorded("entitlement", (), {"id": f"entitlement_{number}", "status": "active", **keys}, **keys),
        recorded("license", (), {"id": f"license_{number}", "status": "active", **keys}, status="active", **keys),
        aggregated("subscription", f"subscription_{number}", _buyer(number), status="cancelled", **keys),
    )
    put(shop, "session", aggregated("cart", f"cart_{number}", {"customer": keys}, status="active", **keys))


def _reservation(number: int) -> Document:
    whose = {"customer_id": f"customer_{number % PEOPLE}"} if number % 4 == 0 else {}
    expires_at = NEVER if number % 3 == 0 else BEFORE
    return reservation(f"event_{number:03}", stock_item_id=f"item_{number % 10}", expires_at=expires_at, **whose)


@dataclass
class World:
    """A shop with its mail server and its site."""

    url: str
    mailroom: Mailroom
    site: Site
    replayed: Counter[str] = field(default_factory=Counter)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of mika-ops for this shop."""
        return {
            "database_url": self.url,
            "smtp_url": f"smtp://127.0.0.1:{self.mailroom.port}",
            "email_from": "shop@example.test",
            "email_concurrency": CONCURRENCY,
            "admin_api_url": self.site.url,
            "admin_api_token": "ec_pat_test",
        }

    def state(self) -> dict[str, Any]:
        """Return all that the shop holds, by table and key, without times of maintenance and attempts."""
        with open_database(self.url) as shop, shop.reading() as connection:
            return {table.name: _rows(connection, table) for table in TABLES}

    def broken_promises(self, *, interruptions: int) -> list[str]:
        """Return the promises about a fully maintained shop that do not hold."""
        state = self.state()
        documents = {key: json.loads(row["data"]) for key, row in state["_plugin_storage"].items()}
        emails = [each for each in documents.values() if each["type"] == "email"]
        requests = [each for each in documents.values() if each["type"] == "accountDeleteRequest"]
        events = state["mika_stock_events"].values()
        arrived = Counter(str(message["Message-ID"]) for message in self.mailroom.messages)
        promises = {
            "every email arrives": len({message["To"] for message in self.mailroom.messages}) == EMAILS,
            "a repeated email has the same Message-ID": len(arrived) == EMAILS,
            "only emails under way are repeated": arrived.total() - EMAILS <= interruptions * CONCURRENCY,
            "no lease is held": not any("leaseKey" in each["record"] for each in emails),
            "every account delete is complete": all(
                each["status"] == "completed" and set(_steps(each)) == {step.name for step in steps_of("complete")}
                for each in requests
            ),
            "every webhook is replayed": len(self.replayed) == RETRIES,
            "the stock that is reserved is that of active reservations": all(
                item["quantity_reserved"]
                == sum(e["quantity_delta"] for e in events if e["stock_item_id"] == id_ and e["status"] == "active")
                for id_, item in state["mika_stock_items"].items()
            ),
        }
        return [promise for promise, holds in promises.items() if not holds]


@contextmanager
def shop_at_work(url: str, *, together: int = 0, copies: int = 1) -> Iterator[World]:
    """Fill a shop and run a mail server and a site beside it; the site completes the workflows that it is asked to.

    ``together``: so many emails are answered at once. ``copies``: the backlog, as a multiple.
    """
    fill(url, copies=copies)
    with mail_server(together=together) as mailroom, running_site() as site, open_database(url) as shop:
        world = World(url, mailroom, site)

        def replay(call: Call) -> Reply:
            id_ = str(call.body["webhookId"]).removeprefix("webhook_of_")
            Documents(shop, "ops").change([id_], lambda _id, found: Change(_completed(found), None), wait=True)
            world.replayed[id_] += 1
            return says(done())

        site.reply_to = replay
        yield world


def _completed(document: Document) -> Document:
    record = {**document["record"], "status": "completed"}
    return {**document, "status": "completed", "record": record}


def _rows(connection: Any, table: Table) -> dict[str, dict[str, Any]]:
    keys = [column.name for column in table.primary_key.columns if column.name != "plugin_id"]
    found = {}
    for row in connection.execute(select(table)).mappings():
        stable = {name: _TIME.sub("<time>", value) if isinstance(value, str) else value for name, value in row.items()}
        if "data" in stable:
            stable["data"] = _without_counts(stable["data"])
        found["/".join(str(row[key]) for key in keys)] = stable
    return found


def _without_counts(text: str) -> str:
    """Leave out how often an email was tried, and how much of a step of an account delete the last process did."""
    document = json.loads(text)
    if document.get("type") == "email" and document["status"] == "sent":
        del document["record"]["attemptCount"]
    if document.get("type") == "accountDeleteRequest" and document["status"] == "completed":
        document["record"]["metadata"]["maintenance"] = sorted(_steps(document))
    return json.dumps(document, sort_keys=True)


def _steps(request: Document) -> Collection[str]:
    maintenance = request["record"]["metadata"]["maintenance"]
    steps: Collection[str] = maintenance["steps"] if isinstance(maintenance, dict) else maintenance
    return steps
