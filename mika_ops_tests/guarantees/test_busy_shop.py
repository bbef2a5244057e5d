"""Beside a storefront that writes a hundred times a second, no change is lost and no lock is reported."""

import pytest

from mika_ops.clock import utc_now
from mika_ops.config.loading import isolated_settings
from mika_ops.config.shop import Shop
from mika_ops.orchestration.run_once import run_once
from mika_ops.store.opening import open_database
from mika_ops.store.schema.site import stock_items
from mika_ops.subtasks.outcome import outcome_facts
from mika_ops.timestamps import to_timestamp
from mika_ops_testing.builders import documents_of, rows_of
from mika_ops_testing.shop_at_work import CONCURRENCY, EMAILS, shop_at_work
from mika_ops_testing.sites import Sites
from mika_ops_testing.storefront import busy_storefront, in_wal_mode

pytestmark = pytest.mark.thorough  # a storefront at work for seconds beside maintenance

EDITED = [f"{kind}_{number:02}" for kind in ("email", "stuck", "lost", "retry") for number in range(12)]


@pytest.mark.parametrize("mode", ["sqlite", "sqlite with a write-ahead log", "postgres"])
def test_neither_side_loses_a_change_or_sees_a_lock(mode: str, request: pytest.FixtureRequest) -> None:
    sites: Sites = request.getfixturevalue(f"{mode.split()[0]}_sites")
    url = sites.new()
    if "log" in mode:
        in_wal_mode(url)
    with shop_at_work(url) as world:
        reserved_before = world.state()["mika_stock_items"]
        assert {item["quantity_reserved"] for item in reserved_before.values()} == {24}
        with busy_storefront(url, EDITED) as storefront:
            in_haste = isolated_settings(**world.settings, time_budget_seconds=8)
            reports = [run_once(Shop(in_haste), now=to_timestamp(utc_now()))]
        # What came in at the last moment, and what the time did not suffice for.
        at_leisure = isolated_settings(**world.settings, time_budget_seconds=300)
        reports += [run_once(Shop(at_leisure), now=to_timestamp(utc_now())) for _ in range(2)]
        with open_database(url) as shop:
            documents = documents_of(shop, "ops")
            reserved = {id_: item["quantity_reserved"] for id_, item in rows_of(shop, stock_items).items()}

        assert storefront.errors == []
        facts = [outcome_facts(outcome) for report in reports for outcome in report.subtasks.values()]
        assert [each for each in facts if "error" in each or each.get("failed")] == []
        assert {id_: documents[id_].get("note") for id_ in storefront.notes} == storefront.notes
        assert {documents[id_]["status"] for id_ in EDITED} == {"sent", "failed", "completed"}
        assert {documents[id_]["status"] for id_ in storefront.mails} == {"sent"}
        recipients = [message["To"] for message in world.mailroom.messages]
        assert len(recipients) == len(set(recipients)) == EMAILS + len(storefront.mails)
        # Of the 24 that were reserved of each item, 8 have not expired, and some were released with an account.
        assert all(reserved[item] - storefront.reserved[item] in range(9) for item in reserved)
        assert "the stock that is reserved is that of active reservations" not in world.broken_promises(
            interruptions=CONCURRENCY
        )
        assert len(storefront.latencies) > 100
