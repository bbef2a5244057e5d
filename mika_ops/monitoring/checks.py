"""Whether a shop is in order: a handful of checks over what a run leaves behind, with thresholds of the shop's own.

A check shows what no outcome of a subtask does: every run succeeds, and something is overdue all the same. Each belongs
to the subtask that keeps its matter in order, or to the shop as a whole. Rules only: reading is the backlog reader's.
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
    """What a check found: whether its matter is in order, in a sentence and in the numbers that the UI plots."""

    passed: bool
    sentence: str
    numbers: Mapping[str, int]


@dataclass(frozen=True)
class Check:
    """One check. ``subtask`` keeps its matter in order; ``None`` where that is no one subtask's.

    ``threshold`` names the setting that it goes by. ``find`` returns ``None`` if the snapshot does not say.
    """

    name: str
    subtask: str | None
    description: str
    threshold: str
    find: Callable[[ShopSnapshot, Thresholds], CheckResult | None]


def run_checks(standing: ShopSnapshot, thresholds: Thresholds) -> dict[str, CheckResult]:
    """Return what the checks find, by name, in order, without those that the snapshot cannot answer."""
    found = {check.name: check.find(standing, thresholds) for check in CHECKS}
    return {name: finding for name, finding in found.items() if finding is not None}


def _oldest_due_email(standing: ShopSnapshot, thresholds: Thresholds) -> CheckResult | None:
    limit = timedelta(minutes=thresholds.check_due_email_minutes)
    return _waiting(
        standing.backlog.due.get("email_outbox"),
        standing.now,
        limit,
        what="emails due",
        remedy="see whether email_outbox is skipped, fails, or runs out of its limit or time",
    )


def _failed_emails(standing: ShopSnapshot, thresholds: Thresholds) -> CheckResult | None:
    failed = standing.failed.get("email_outbox")
    if failed is None:
        return None
    message = f"emails that failed permanently: {failed.count:,}{_since(failed, standing.now)}"
    return CheckResult(
        failed.count <= thresholds.check_failed_emails,
        f"{message}; see `mika-ops email failed` for why, and `mika-ops email requeue`" if failed.count else message,
        {"failed_permanently": failed.count},
    )


def _overdue_account_deletes(standing: ShopSnapshot, thresholds: Thresholds) -> CheckResult | None:
    name = "account_delete_requests"
    failed, waiting = standing.failed.get(name), standing.backlog.due.get(name)
    if failed is None or waiting is None:
        return None
    limit = timedelta(hours=thresholds.check_account_delete_hours)
    oldest = max((age for due in (failed, waiting) if (age := due.age(standing.now)) is not None), default=timedelta(0))
    message = f"account-delete requests that failed: {failed.count:,}, that wait: {waiting.count:,}"
    ids = standing.failed_ids.get(name, ())
    if oldest > limit:
        message += f"; the oldest was made {format_age(oldest)} ago, and the law wants an answer in time"
        if failed.count:
            message += "; fix what the error in the record of each failed one names, and set its status to queued"
            message += f": {format_ids(ids, failed.count)}" if ids else ""
    return CheckResult(
        oldest <= limit,
        message,
        {"failed": failed.count, "waiting": waiting.count, "oldest_age_seconds": round(oldest.total_seconds())},
    )


def _workflows_left_stuck(standing: ShopSnapshot, thresholds: Thresholds) -> CheckResult | None:
    name = "stuck_workflows"
    failed, stuck = standing.failed.get(name), standing.backlog.due.get(name)
    if failed is None or stuck is None:
        return None
    count = failed.count + stuck.count
    message = (
        f"workflows that failed permanently: {failed.count:,}{_since(failed, standing.now)}, "
        f"still stuck: {stuck.count:,}"
    )
    ids = standing.failed_ids.get(name, ())
    return CheckResult(
        count <= thresholds.check_stuck_workflows,
        f"{message}; look at each in the site's admin: {format_ids(ids, failed.count)}" if ids else message,
        {"failed_permanently": failed.count, "stuck": stuck.count},
    )


def _overdue_raw_payloads(standing: ShopSnapshot, thresholds: Thresholds) -> CheckResult | None:
    # A payload becomes due by its age: what it has waited since then is less by the days that it is kept.
    retention = timedelta(days=min(standing.limits.raw_payload_retention_days, 36_500))
    return _waiting(
        standing.backlog.due.get("raw_provider_payloads"),
        standing.now,
        timedelta(hours=thresholds.check_raw_payload_hours),
        what="raw payloads kept for longer than they may",
        remedy="see whether raw_provider_payloads is skipped, fails, or runs out of its limit or time",
        due_after=retention,
    )


def _overdue_reservations(standing: ShopSnapshot, thresholds: Thresholds) -> CheckResult | None:
    return _waiting(
        standing.backlog.due.get("stock_reservations"),
        standing.now,
        timedelta(minutes=thresholds.check_reservation_minutes),
        what="expired reservations still held",
        remedy="what they hold cannot be sold: see what stock_reservations says",
    )


def _reserved_stock(standing: ShopSnapshot, thresholds: Thresholds) -> CheckResult | None:
    drift = standing.drift
    if drift is None:
        return None
    message = f"stock items whose reserved quantity is not what their active reservations hold: {drift.items:,}"
    if drift.items:
        message += (
            f", below zero: {drift.negative:,}; correct quantity_reserved in mika_stock_items: "
            f"{format_ids(drift.ids, drift.items)}"
        )
    return CheckResult(
        drift.items <= thresholds.check_drifting_items, message, {"drifting": drift.items, "negative": drift.negative}
    )


def _malformed_documents(standing: ShopSnapshot, thresholds: Thresholds) -> CheckResult | None:
    backlog = standing.backlog
    if not backlog.due:
        return None
    malformed = sum(due.malformed for due in backlog.due.values())
    count = malformed + backlog.unreadable
    message = f"documents that no subtask can read: {count:,}"
    return CheckResult(
        count <= thresholds.check_malformed_documents,
        f"{message}; name them by `mika-ops backlog`, and fix or remove them" if count else message,
        {"malformed": malformed, "unreadable": backlog.unreadable},
    )


CHECKS: Final = (
    Check(
        "oldest_due_email",
        "email_outbox",
        "No email waits for long once it is due.",
        "check_due_email_minutes",
        _oldest_due_email,
    ),
    Check(
        "failed_emails",
        "email_outbox",
        "No email has used up its attempts: such a one is sent by nobody any more.",
        "check_failed_emails",
        _failed_emails,
    ),
    Check(
        "overdue_account_deletes",
        "account_delete_requests",
        "No request to delete an account is failed or waiting for long: the law wants an answer in time.",
        "check_account_delete_hours",
        _overdue_account_deletes,
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
        "No raw payload of a payment provider is kept for much longer than it may: it holds personal data.",
        "check_raw_payload_hours",
        _overdue_raw_payloads,
    ),
    Check(
        "overdue_reservations",
        "stock_reservations",
        "No expired reservation is held for long: what it holds cannot be sold.",
        "check_reservation_minutes",
        _overdue_reservations,
    ),
    Check(
        "reserved_stock",
        "stock_reservations",
        "Every stock item has as much reserved as its active reservations hold, and not less than nothing.",
        "check_drifting_items",
        _reserved_stock,
    ),
    Check(
        "malformed_documents",
        None,
        "Every document can be read by the subtask that it waits for.",
        "check_malformed_documents",
        _malformed_documents,
    ),
)


CHECK_NAMES: Final = tuple(check.name for check in CHECKS)


def _waiting(
    due: Due | None,
    now: Timestamp,
    limit: timedelta,
    *,
    what: str,
    remedy: str,
    due_after: timedelta = timedelta(0),
) -> CheckResult | None:
    """Find whether the oldest of what is due has been so for longer than it may."""
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
