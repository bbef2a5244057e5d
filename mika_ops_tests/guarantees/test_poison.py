"""Documents that went wrong in any way, among good ones, in every collection: the good ones are all done."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import delete
from sqlalchemy.exc import DBAPIError

from mika_ops.clock import utc_now
from mika_ops.config.loading import isolated_settings
from mika_ops.config.shop import Shop
from mika_ops.documents.document import ABSENT, Document, patched
from mika_ops.documents.selection import Collection
from mika_ops.orchestration.run_once import RunReport, run_once
from mika_ops.store.database import Database
from mika_ops.store.opening import open_database
from mika_ops.store.schema.own import acp_sessions
from mika_ops.store.schema.site import ephemeral_records, plugin_storage, stock_events, stock_items
from mika_ops.subtasks.outcome import Outcome, result_of
from mika_ops.timestamps import to_timestamp
from mika_ops_testing.builders import (
    BEFORE,
    aggregated,
    delete_request,
    documents_of,
    email,
    order,
    put,
    put_raw,
    recorded,
    webhook,
    workflow,
)
from mika_ops_testing.shop_at_work import fill
from mika_ops_testing.sites import Sites
from mika_ops_tests.documents.arbitrary import json_values

pytestmark = pytest.mark.thorough  # a shop at work with every kind of malformed document

WHO: Final[Document] = {"customerId": "customer_p", "userId": "user_p", "emailHash": "hash_p"}
"""Whose documents go wrong: nobody of the shop's, so that its own requests can all be completed."""
STUCK: Final[Document] = {"attemptCount": 5, "leaseKey": "k", "leaseExpiresAt": BEFORE}

SOUND: Final[list[tuple[Collection, Document]]] = [
    ("ops", email("p", **STUCK)),
    ("ops", email("p", **WHO)),
    ("ops", webhook("p")),
    ("ops", workflow("p", status="running", **STUCK)),
    ("ops", workflow("p", status="failed", nextAttemptAt=BEFORE)),
    ("ops", delete_request("p", **WHO)),
    ("ops", recorded("accountExport", ("status",), {"id": "p", "status": "ready", **WHO}, status="ready", **WHO)),
    ("ledger", order("p", customer={"email": "a", **WHO}, **WHO)),
    ("account", aggregated("customer", "p", {"email": "a"}, **WHO)),
    ("account", aggregated("subscription", "p", {"email": "a"}, status="cancelled", **WHO)),
    ("account", recorded("entitlement", (), {"id": "p", "status": "active", **WHO}, **WHO)),
    ("account", recorded("license", (), {"id": "p", "status": "active", **WHO}, status="active", **WHO)),
    ("session", aggregated("cart", "p", {"customer": WHO}, status="active", **WHO)),
]
"""One document of each kind that a subtask reads; what stands in it goes wrong."""

PLUGIN: Final = plugin_storage.c

odd: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([ABSENT, None, "", "no time", -1, 10**20, [], {}, ["email"], {"a": {"b": [None]}}, "\ud83d"]),
    json_values,
)


def paths(block: Document, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in block.items():
        yield (*before, name)
        if isinstance(value, dict):
            yield from paths(value, (*before, name))


def spoiled(block: Document, path: tuple[str, ...], value: Any) -> Document:
    name, *rest = path
    if not rest:
        return patched(block, {name: value})
    inner = block.get(name)
    return {**block, name: spoiled(inner, tuple(rest), value)} if isinstance(inner, dict) else block


@st.composite
def poison(draw: st.DrawFn) -> tuple[Collection, str]:
    """Draw the text of a document in which one to three things are not what they should be."""
    collection, document = draw(st.sampled_from(SOUND))
    for path in draw(st.lists(st.sampled_from(list(paths(document))), min_size=1, max_size=3)):
        document = spoiled(document, path, draw(odd))
    return collection, json.dumps(document)


def malformed(report: RunReport) -> list[str]:
    """Return the ids of all documents that any subtask named as malformed."""
    return [id_ for each in report.subtasks.values() for id_ in malformed_in(each)]


def malformed_in(outcome: Outcome) -> tuple[str, ...]:
    return result_of(outcome).named_ids().get("malformed_ids", ())


@hypothesis_settings(
    max_examples=4,
    phases=[Phase.generate],
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(poison(), min_size=12, max_size=30))
def test_good_documents_are_all_done_whatever_lies_among_them(
    database: Database, url: str, tmp_path: Path, drawn: list[tuple[Collection, str]]
) -> None:
    with database.engine.begin() as connection:
        for table in (plugin_storage, stock_items, stock_events, ephemeral_records, acp_sessions):
            connection.execute(delete(table))
    fill(url)
    stored: dict[str, tuple[Collection, Any]] = {}
    for number, (collection, text) in enumerate(drawn):
        id_ = f"{'aez'[number % 3]}_poison_{number:02}"
        try:
            put_raw(database, collection, (id_, text))
        except DBAPIError:
            continue  # the site could not have stored it either: an index refuses it
        stored[id_] = (collection, documents_of(database, collection)[id_])

    settings = isolated_settings(database_url=url, email_directory=tmp_path, email_concurrency=4)
    report = run_once(Shop(settings), now=to_timestamp(utc_now()))

    assert {outcome.status for outcome in report.subtasks.values()} == {"completed", "skipped"}
    ops = documents_of(database, "ops")
    good = Counter((each["type"], each["status"]) for id_, each in ops.items() if "poison" not in id_)
    assert good["email", "sent"] == 40
    assert good["email", "failed"] == 25, "20 that were stuck, and 5 that had failed"
    assert good["workflow", "failed"] == 20 + 12, "20 that were stuck, and 12 that wait for the site"
    assert good["accountDeleteRequest", "completed"] == 6
    assert not any("rawPayloadJson" in each["record"] for id_, each in ops.items() if id_.startswith("webhook_"))
    named = malformed(report)
    assert set(named) <= stored.keys()
    for id_ in named:
        collection, document = stored[id_]
        # What one subtask cannot read may be another's: all of a person who leaves is redacted.
        if not any(key in json.dumps(document) for key in WHO.values()):
            assert documents_of(database, collection)[id_] == document, "what cannot be read is left alone"
    for outcome in report.subtasks.values():
        ids = malformed_in(outcome)
        assert len(ids) == len(set(ids)), "it is named once"


HALF_A_PAIR = "\ud83d"
"""Half of a surrogate pair: JavaScript has such texts, and no database can be asked for one."""


def test_a_request_with_a_key_that_nobody_can_look_for_fails_alone(sqlite_sites: Sites) -> None:
    url = sqlite_sites.new()
    with open_database(url) as shop:
        put(shop, "ops", delete_request("delete_odd", userId=HALF_A_PAIR), delete_request("delete_ok", userId="user_1"))
        report = run_once(Shop(isolated_settings(database_url=url)), now=to_timestamp(utc_now()))
        odd_one, fine = (documents_of(shop, "ops")[id_] for id_ in ("delete_odd", "delete_ok"))

    assert report.subtasks["account_delete_requests"].status == "completed"
    assert fine["status"] == "completed"
    assert odd_one["status"] == "failed"
    error = "nothing can be found by its userId: fix it, then queue the request again"
    assert odd_one["record"]["lastError"] == error


@pytest.mark.parametrize("order_id", [HALF_A_PAIR, "a\0b"])
def test_an_email_about_an_order_that_nobody_can_look_for_fails_alone(
    sqlite_sites: Sites, tmp_path: Path, order_id: str
) -> None:
    url = sqlite_sites.new()
    with open_database(url) as shop:
        put(shop, "ops", email("email_odd", kind="order_confirmation", orderId=order_id), email("email_ok"))
        run_once(Shop(isolated_settings(database_url=url, email_directory=tmp_path)), now=to_timestamp(utc_now()))
        statuses = {id_: document["status"] for id_, document in documents_of(shop, "ops").items()}

    assert statuses == {"email_odd": "failed", "email_ok": "sent"}
