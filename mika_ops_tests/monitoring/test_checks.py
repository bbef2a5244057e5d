"""The checks of a shop: what each reports of a real shop, and beyond which value it fails."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mika_ops.config.errors import SettingsError
from mika_ops.config.loading import isolated_settings, load_settings
from mika_ops.documents.sweep import IDS_NAMED
from mika_ops.monitoring.checks import CHECK_NAMES, CHECKS, CheckResult, run_checks
from mika_ops.monitoring.snapshot import ShopSnapshot, take_snapshot
from mika_ops.monitoring.thresholds import Thresholds
from mika_ops.ports.backlog import Backlog, BacklogInspector, Due, StockDrift
from mika_ops.rules.account_delete import LAST_FURTHER_STEP
from mika_ops.store.backlog import DatabaseBacklog
from mika_ops.store.database import Database
from mika_ops.store.schema.site import stock_events, stock_items
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops.subtasks.subtask import RunOptions
from mika_ops_testing.builders import (
    EARLIER,
    NOW,
    delete_request,
    email,
    order,
    put,
    put_raw,
    put_rows,
    reservation,
    stock_item,
    webhook,
    workflow,
)

EXHAUSTED: dict[str, Any] = {"status": "failed", "attemptCount": 5}
LONG_AGO = "2026-02-27T12:00:00.000Z"
JUST_NOW = "2026-03-01T11:55:00.000Z"


def snapshot_of(database: Database, **limits: Any) -> ShopSnapshot:
    return take_snapshot(DatabaseBacklog(database), RunOptions(**limits), now=NOW)


def results_of(database: Database, **thresholds: Any) -> dict[str, CheckResult]:
    return run_checks(snapshot_of(database), Thresholds(**thresholds))


def failing(database: Database, **thresholds: Any) -> set[str]:
    return {name for name, result in results_of(database, **thresholds).items() if not result.passed}


def test_the_backlog_of_a_database_can_be_inspected(database: Database) -> None:
    assert isinstance(DatabaseBacklog(database), BacklogInspector)


def test_all_checks_pass_on_an_empty_shop_and_say_so_in_numbers(database: Database) -> None:
    results = results_of(database)

    assert tuple(results) == CHECK_NAMES
    assert all(result.passed for result in results.values())
    assert {value for result in results.values() for value in result.numbers.values()} == {0}


def test_all_checks_pass_on_a_shop_in_order(database: Database) -> None:
    put(
        database,
        "ops",
        email(nextAttemptAt=JUST_NOW),
        email("done", status="sent"),
        delete_request(top={"createdAt": JUST_NOW}),
    )
    put(database, "ops", webhook(receivedAt=JUST_NOW), workflow(status="completed"))
    put(database, "ledger", order())
    put_rows(database, stock_items, stock_item(quantity_reserved=2))
    put_rows(database, stock_events, reservation(expires_at=JUST_NOW), reservation("gone", status="released"))

    assert failing(database, check_drifting_items=1) == set()


def hold_expired(database: Database) -> None:
    put_rows(database, stock_items, stock_item(quantity_reserved=1))
    put_rows(database, stock_events, reservation(expires_at=EARLIER, quantity_delta=1))


FAILING: dict[str, Callable[[Database], None]] = {
    "oldest_due_email": lambda shop: put(shop, "ops", email(nextAttemptAt=EARLIER)),
    "failed_emails": lambda shop: put(shop, "ops", email(**EXHAUSTED)),
    "overdue_account_deletes": lambda shop: put(
        shop, "ops", delete_request(status="failed", top={"createdAt": LONG_AGO})
    ),
    "unchecked_account_deletes": lambda shop: put(shop, "ops", delete_request(status="completed")),
    "workflows_left_stuck": lambda shop: put(shop, "ops", workflow(**EXHAUSTED)),
    "overdue_raw_payloads": lambda shop: put(shop, "ops", webhook(receivedAt="2026-02-01T00:00:00.000Z")),
    "overdue_reservations": hold_expired,
    "reserved_stock": lambda shop: put_rows(shop, stock_items, stock_item(quantity_reserved=3)),
    "malformed_documents": lambda shop: put_raw(shop, "ops", ("broken", "[]")),
}


@pytest.mark.parametrize("check", CHECK_NAMES)
def test_each_check_fails_for_its_own_cause_alone(check: str, database: Database) -> None:
    FAILING[check](database)

    assert failing(database) == {check}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_each_check_passes_where_its_threshold_is_high_enough(check: Any, database: Database) -> None:
    FAILING[check.name](database)

    assert failing(database, **{check.threshold: 8_000}) == set()


def test_a_failing_check_says_how_much_how_old_and_what_to_do(database: Database) -> None:
    put(database, "ops", email(nextAttemptAt=EARLIER), email("b", nextAttemptAt=JUST_NOW))

    result = results_of(database)["oldest_due_email"]

    assert result.sentence == (
        "emails due: 2, the oldest for 3 d; "
        "check whether email_outbox is skipped, fails, or reaches its limit or time budget"
    )
    assert result.numbers == {"due": 2, "oldest_age_seconds": 259_200}


@pytest.mark.parametrize("status", ["failed", "queued"])
def test_an_account_delete_is_overdue_whether_it_failed_or_waits(status: str, database: Database) -> None:
    put(database, "ops", delete_request(status=status, top={"createdAt": LONG_AGO}))

    assert failing(database) == {"overdue_account_deletes"}


def test_overdue_account_deletes_that_failed_are_named(database: Database) -> None:
    requests = (delete_request(f"delete_{n:02}", status="failed", top={"createdAt": LONG_AGO}) for n in range(25))
    put(database, "ops", *requests)

    sentence = results_of(database)["overdue_account_deletes"].sentence

    assert "that failed: 25, queued: 0; the oldest was made 2 d ago" in sentence
    assert sentence.endswith(", ".join(f"delete_{n:02}" for n in range(IDS_NAMED)) + " and 5 more")


def test_a_completed_account_delete_with_the_further_steps_is_in_order(database: Database) -> None:
    steps = {LAST_FURTHER_STEP: {"status": "completed", "result": {"value": 0}}}
    done = {"status": "completed", "metadata": {"maintenance": {"steps": steps}}}
    put(database, "ops", delete_request(**done, top={"createdAt": LONG_AGO}))

    assert failing(database) == set()


def test_in_the_scope_of_the_reference_no_account_delete_lacks_a_step(database: Database) -> None:
    put(database, "ops", delete_request(status="completed"))

    found_there = run_checks(snapshot_of(database, account_delete_scope="reference"), Thresholds())

    assert "unchecked_account_deletes" not in found_there


def test_a_raw_payload_is_overdue_by_the_days_that_the_shop_keeps_it(database: Database) -> None:
    put(database, "ops", webhook(receivedAt="2026-02-01T00:00:00.000Z"))

    kept_for_longer = snapshot_of(database, raw_payload_retention_days=27.7)

    assert run_checks(kept_for_longer, Thresholds())["overdue_raw_payloads"].passed


def test_drifting_stock_is_named_and_what_is_below_zero_counted(database: Database) -> None:
    put_rows(
        database,
        stock_items,
        stock_item("fits", sellable_id="fits", quantity_reserved=5),
        stock_item("below", sellable_id="below", quantity_reserved=-1),
        stock_item("too_much", sellable_id="too_much", quantity_reserved=3),
        stock_item("too_little", sellable_id="too_little", quantity_reserved=0),
    )
    later = "2026-03-02T12:00:00.000Z"
    put_rows(
        database,
        stock_events,
        reservation("a", stock_item_id="fits", quantity_delta=2, expires_at=later),
        reservation("b", stock_item_id="fits", quantity_delta=3, expires_at=None),
        reservation("c", stock_item_id="too_much", quantity_delta=2, expires_at=later),
        reservation("d", stock_item_id="too_much", quantity_delta=9, status="consumed"),
        reservation("e", stock_item_id="too_little", quantity_delta=1, expires_at=later),
        reservation("f", stock_item_id="fits", kind="movement", status="active", quantity_delta=7),
    )

    assert DatabaseBacklog(database).stock_drift() == StockDrift(3, 1, ("below", "too_little", "too_much"))
    assert results_of(database)["reserved_stock"].sentence.endswith(
        "below zero: 1; correct quantity_reserved in mika_stock_items: below, too_little, too_much"
    )


def test_of_much_drifting_stock_the_first_are_named_and_all_counted(database: Database) -> None:
    items = (stock_item(f"item_{n:02}", sellable_id=f"s{n}", quantity_reserved=1) for n in range(IDS_NAMED + 7))
    put_rows(database, stock_items, *items)

    drift = DatabaseBacklog(database).stock_drift()

    assert (drift.items, len(drift.ids), drift.ids[0]) == (IDS_NAMED + 7, IDS_NAMED, "item_00")


def test_a_check_without_its_data_has_no_result() -> None:
    class CountsEmailsOnly:
        def read(self, selections: object, *, now: str) -> Backlog:
            return Backlog({"email_outbox": Due(1, now)})

    snapshot = take_snapshot(CountsEmailsOnly(), RunOptions(), now=NOW)

    assert snapshot.drift is None
    assert list(run_checks(snapshot, Thresholds())) == ["oldest_due_email", "malformed_documents"]


def test_an_empty_snapshot_has_no_results() -> None:
    assert run_checks(ShopSnapshot(NOW), Thresholds()) == {}


@given(
    st.dictionaries(
        st.sampled_from(SUBTASK_NAMES), st.builds(Due, st.integers(0, 9), st.sampled_from([None, "?", NOW]))
    ),
    st.dictionaries(
        st.sampled_from(SUBTASK_NAMES), st.builds(Due, st.integers(0, 9), st.sampled_from([None, "?", NOW]))
    ),
)
def test_malformed_times_never_keep_a_check_from_a_result(due: Any, failed: Any) -> None:
    for result in run_checks(ShopSnapshot(NOW, Backlog(due), failed), Thresholds()).values():
        assert result.sentence
        assert all(value >= 0 for value in result.numbers.values())


def test_every_check_belongs_to_a_subtask_or_to_the_shop_and_has_a_name_of_its_own() -> None:
    assert {check.subtask for check in CHECKS} <= {None, *SUBTASK_NAMES}
    assert len(set(CHECK_NAMES)) == len(CHECKS)
    assert not set(CHECK_NAMES) & set(SUBTASK_NAMES)


def test_which_checks_are_errors_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIKA_CHECK_ERRORS", "failed_emails, reserved_stock")

    assert load_settings().check_errors == ("failed_emails", "reserved_stock")


def test_an_error_that_is_no_check_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIKA_CHECK_ERRORS", "failed_mails")

    with pytest.raises(
        SettingsError, match=r"MIKA_CHECK_ERRORS: 'failed_mails' is no check: write of oldest_due_email,"
    ):
        load_settings()


def test_an_owner_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="'bob' is no owner: write team:name or an email address"):
        isolated_settings(asset_owners=("bob",))
