"""The checks of a shop: whether its snapshot after a run is within thresholds, which the settings hold.

A check detects what no outcome of a subtask shows: all runs succeed, and something is overdue all the same. Each check
belongs to the subtask that prevents its failure, or to the shop as a whole. The checks are pure functions: the backlog
reader reads.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from mika_ops.formatting import format_age, format_ids
from mika_ops.monitoring.snapshot import ShopSnapshot
from mika_ops.monitoring.thresholds import Thresholds
from mika_ops.ports.backlog import Due
from mika_ops.timestamps import Timestamp


@dataclass(frozen=True)
class CheckResult:
    """The result of a check: whether it passed, a sentence, and the numbers that the UI plots."""

    passed: bool
    sentence: str
    numbers: Mapping[str, int]


@dataclass(frozen=True)
class Check:
    """One check. ``subtask``: the subtask that prevents its failure; ``None`` if it is no single subtask.

    ``threshold``: its field of ``Thresholds``. ``evaluate`` returns ``None`` if the snapshot lacks what it needs.
    """

    name: str
    subtask: str | None
    description: str
    threshold: str
    evaluate: Callable[[ShopSnapshot, Thresholds], CheckResult | None]


def run_checks(snapshot: ShopSnapshot, thresholds: Thresholds) -> dict[str, CheckResult]:
    """Return the results by name of the check, in order, without the checks that the snapshot cannot answer."""
    results = {check.name: check.evaluate(snapshot, thresholds) for check in CHECKS}
    return {name: result for name, result in results.items() if result is not None}


def _oldest_due_email(snapshot: ShopSnapshot, thresholds: Thresholds) -> CheckResult | None:
    limit = timedelta(minutes=thresholds.check_due_email_minutes)
    return _overdue(
        snapshot.backlog.due.get("email_outbox"),
        snapshot.now,
        limit,
        what="emails due",
        remedy="check whether email_outbox is skipped, fails, or reaches its limit or time budget",
    )


def _failed_emails(snapshot: ShopSnapshot, thresholds: Thresholds) -> CheckResult | None:
    failed = snapshot.failed.get("email_outbox")
    if failed is None:
        return None
    message = f"emails that failed permanently: {failed.count:,}{_since(failed, snapshot.now)}"
    return CheckResult(
        failed.count <= thresholds.check_failed_emails,
        f"{message}; see `mika-ops email failed` for why, and `mika-ops email requeue`" if failed.count else message,
        {"failed_permanently": failed.count},
    )


def _overdue_account_deletes(snapshot: ShopSnapshot, thresholds: Thresholds) -> CheckResult | None:
    name = "account_delete_requests"
    failed, queued = snapshot.failed.get(name), snapshot.backlog.due.get(name)
    if failed is None or queued is None:
        return None
    limit = timedelta(hours=thresholds.check_account_delete_hours)
    oldest = max((age for due in (failed, queued) if (age := due.age(snapshot.now)) is not None), default=timedelta(0))
    message = f"account-delete requests that failed: {failed.count:,}, queued: {queued.count:,}"
    ids = snapshot.failed_ids.get(name, ())
    if oldest > limit:
        message += f"; the oldest was made {format_age(oldest)} ago, and the law sets a deadline"
        if failed.count:
            message += "; fix the cause that the record of each failed request names, and set its status to queued"
            message += f": {format_ids(ids, failed.count)}" if ids else ""
    return CheckResult(
        oldest <= limit,
        message,
        {"failed": failed.count, "waiting": queued.count, "oldest_age_seconds": round(oldest.total_seconds())},
    )


def _unchecked_account_deletes(snapshot: ShopSnapshot, thresholds: Thresholds) -> CheckResult | None:
    unchecked = snapshot.unchecked_deletes
    if unchecked is None or snapshot.limits.account_delete_scope != "complete":
        return None
    message = f"account deletes that were completed without the further steps: {unchecked.count:,}"
    if unchecked.count:
        message += "; personal data may be left: run `mika-ops account-deletes recheck`"
    return CheckResult(
        unchecked.count <= thresholds.check_unchecked_account_deletes, message, {"unchecked": unchecked.count}
    )


def _workflows_left_stuck(snapshot: ShopSnapshot, thresholds: Thresholds) -> CheckResult | None:
    name = "stuck_workflows"
    failed, stuck = snapshot.failed.get(name), snapshot.backlog.due.get(name)
    if failed is None or stuck is None:
        return None
    count = failed.count + stuck.count
    message = (
        f"workflows that failed permanently: {failed.count:,}{_since(failed, snapshot.now)}, "
        f"still stuck: {stuck.count:,}"
    )
    ids = snapshot.failed_ids.get(name, ())
    return CheckResult(
        count <= thresholds.check_stuck_workflows,
        f"{message}; open each in the site's admin: {format_ids(ids, failed.count)}" if ids else message,
        {"failed_permanently": failed.count, "stuck": stuck.count},
    )


def _overdue_raw_payloads(snapshot: ShopSnapshot, thresholds: Thresholds) -> CheckResult | None:
    # The age of a payload counts from its receipt. It is overdue only since its retention ended.
    retention = timedelta(days=min(snapshot.limits.raw_payload_retention_days, 36_500))
    return _overdue(
        snapshot.backlog.due.get("raw_provider_payloads"),
        snapshot.now,
        timedelta(hours=thresholds.check_raw_payload_hours),
        what="raw payloads past their retention",
        remedy="check whether raw_provider_payloads is skipped, fails, or reaches its limit or time budget",
        due_after=retention,
    )


def _overdue_reservations(snapshot: ShopSnapshot, thresholds: Thresholds) -> CheckResult | None:
    return _overdue(
        snapshot.backlog.due.get("stock_reservations"),
        snapshot.now,
        timedelta(minutes=thresholds.check_reservation_minutes),
        what="expired reservations that are not released",
        remedy="their stock cannot be sold: check the outcome of stock_reservations",
    )


def _reserved_stock(snapshot: ShopSnapshot, thresholds: Thresholds) -> CheckResult | None:
    drift = snapshot.drift
    if drift is None:
        return None
    message = f"stock items whose reserved quantity differs from their active reservations: {drift.items:,}"
    if drift.items:
        message += (
            f", below zero: {drift.negative:,}; correct quantity_reserved in mika_stock_items: "
            f"{format_ids(drift.ids, drift.items)}"
        )
    return CheckResult(
        drift.items <= thresholds.check_drifting_items, message, {"drifting": drift.items, "negative": drift.negative}
    )


def _malformed_documents(snapshot: ShopSnapshot, thresholds: Thresholds) -> CheckResult | None:
    backlog = snapshot.backlog
    if not backlog.due:
        return None
    malformed = sum(due.malformed for due in backlog.due.values())
    count = malformed + backlog.unreadable
    message = f"documents that no subtask can read: {count:,}"
    return CheckResult(
        count <= thresholds.check_malformed_documents,
        f"{message}; `mika-ops backlog` names them: fix or remove them" if count else message,
        {"malformed": malformed, "unreadable": backlog.unreadable},
    )


CHECKS: Final = (
    Check(
        "oldest_due_email",
        "email_outbox",
        "No email stays due for long.",
        "check_due_email_minutes",
        _oldest_due_email,
    ),
    Check(
        "failed_emails",
        "email_outbox",
        "No email has used up its attempts: no run would retry it.",
        "check_failed_emails",
        _failed_emails,
    ),
    Check(
        "overdue_account_deletes",
        "account_delete_requests",
        "No account-delete request has failed or is queued for long: the law sets a deadline.",
        "check_account_delete_hours",
        _overdue_account_deletes,
    ),
    Check(
        "unchecked_account_deletes",
        "account_delete_requests",
        "No account delete was completed without the steps that go beyond the eight of Mika's own maintenance.",
        "check_unchecked_account_deletes",
        _unchecked_account_deletes,
    ),
    Check(
        "workflows_left_stuck",
        "stuck_workflows",
        "No workflow is stuck after a run, and none has failed permanently.",
        "check_stuck_workflows",
        _workflows_left_stuck,
    ),
    Check(
        "overdue_raw_payloads",
        "raw_provider_payloads",
        "No raw payload of a payment provider is kept long after its retention: it holds personal data.",
        "check_raw_payload_hours",
        _overdue_raw_payloads,
    ),
    Check(
        "overdue_reservations",
        "stock_reservations",
        "No expired reservation stays unreleased for long: its stock cannot be sold.",
        "check_reservation_minutes",
        _overdue_reservations,
    ),
    Check(
        "reserved_stock",
        "stock_reservations",
        "The reserved quantity of every stock item is the sum of its active reservations, and not negative.",
        "check_drifting_items",
        _reserved_stock,
    ),
    Check(
        "malformed_documents",
        None,
        "Every document can be read by its subtask.",
        "check_malformed_documents",
        _malformed_documents,
    ),
)


CHECK_NAMES: Final = tuple(check.name for check in CHECKS)


def _overdue(
    due: Due | None,
    now: Timestamp,
    limit: timedelta,
    *,
    what: str,
    remedy: str,
    due_after: timedelta = timedelta(0),
) -> CheckResult | None:
    """Return whether the oldest of what is due is within its limit; ``due_after``: the age at which it becomes due."""
    if due is None:
        return None
    age = due.age(now) or due_after
    late = max(timedelta(0), age - due_after)
    message = f"{what}: {due.count:,}" + (f", the oldest for {format_age(late)}" if due.count else "")
    return CheckResult(
        late <= limit,
        message if late <= limit else f"{message}; {remedy}",
        {"due": due.count, "oldest_age_seconds": round(late.total_seconds())},
    )


def _since(due: Due, now: Timestamp) -> str:
    age = due.age(now)
    return "" if age is None or not due.count else f", the oldest made {format_age(age)} ago"
