"""Draining the outbox: lease before sending, record before the next.

A batch is leased in one transaction, so that no two workers hold the same email. Each email's end is recorded before
the next is sent: a process killed at any point loses nothing, and at most the email in flight is sent again, once its
lease has lapsed.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import uuid4

from mika_ops.clock import Clock
from mika_ops.ports import (
    ITEMS_KEPT,
    Change,
    DocumentRepository,
    DrainedEmail,
    DrainedOutbox,
    EmailComposer,
    EmailSender,
    EmailSkipped,
    SendResult,
    Spent,
)
from mika_ops.privacy import error_sentence
from mika_ops.rules import email
from mika_ops.rules.document import Document, record_of
from mika_ops.sweep import Sweep

LEASE_BATCH: Final = 25
"""Emails leased at once, at the most."""


def new_lease_key() -> str:
    """Return a key that no other worker has."""
    return uuid4().hex


@dataclass(frozen=True)
class LeasedOutbox:
    """The outbox in the ``ops`` documents, with orders in ``ledger``. Fits ``mika_ops.ports.EmailOutbox``.

    ``send_timeout``: the longest that ``sender`` takes for one email. Batches are so small that the last email of one
    is sent before its lease lapses even where every one before it took that long.
    """

    ops: DocumentRepository
    ledger: DocumentRepository
    sender: EmailSender
    composer: EmailComposer
    lease: timedelta = email.DEFAULT_LEASE
    send_timeout: timedelta = timedelta(seconds=20)
    retry_delay: Callable[[int], timedelta] = email.retry_delay
    lease_key: Callable[[], str] = new_lease_key

    def drain(self, clock: Clock, *, limit: int | None, spent: Spent) -> DrainedOutbox:
        """Send what is due. Emails are taken in order and each once, however often it fails."""
        sweep = Sweep(self.ops, email.due(clock.scheduled_at), "email_outbox", limit, spent)
        counts: Counter[str] = Counter()
        items: list[DrainedEmail] = []
        error = None
        try:
            for ids in sweep.batches(self._batch_size):
                leased, orders = self._lease(ids, clock, sweep, counts)
                for id_, document in leased.items():
                    item = self._deliver(id_, document, orders, clock)
                    counts[item.status] += 1
                    if len(items) < ITEMS_KEPT:
                        items.append(item)
        except Exception as failure:  # noqa: BLE001 - what was sent until now must be reported
            error = error_sentence(failure)
        return DrainedOutbox(
            scanned=sweep.scanned,
            leased=counts["leased"],
            sent=counts["sent"],
            failed=counts["failed"],
            skipped=counts["skipped"],
            lease_missed=counts["lease_missed"],
            lease_lost=counts["lease_lost"],
            malformed=sweep.malformed,
            has_more=sweep.has_more,
            items=tuple(items),
            malformed_ids=sweep.malformed_ids,
            error=error,
        )

    @property
    def _batch_size(self) -> int:
        return max(1, min(LEASE_BATCH, int(self.lease / self.send_timeout) - 1))

    def _lease(
        self, ids: Sequence[str], clock: Clock, sweep: Sweep, counts: Counter[str]
    ) -> tuple[Mapping[str, Document], Mapping[str, Document]]:
        """Lease what is still due of a batch; return the leased emails and the orders that they are about."""

        def rule(_id: str, document: Document) -> Change[None] | None:
            if not sweep.selection.takes(document):
                return None
            return Change(email.leased(document, key=self.lease_key(), now=clock.stamp(), lease=self.lease), None)

        changes = self.ops.change(ids, rule)
        leased = {id_: change.document for id_, change in changes.changed.items() if change.document is not None}
        counts["leased"] += len(leased)
        counts["lease_missed"] += len(changes.left)
        sweep.report_malformed(list(changes.malformed))
        order_ids = (self.composer.order_id_of(document) for document in leased.values())
        return leased, self.ledger.read([order_id for order_id in dict.fromkeys(order_ids) if order_id is not None])

    def _deliver(self, id_: str, document: Document, orders: Mapping[str, Document], clock: Clock) -> DrainedEmail:
        """Render, send and record one leased email."""
        try:
            order_id = self.composer.order_id_of(document)
            envelope = self.composer.render(document, orders.get(order_id) if order_id else None)
            result = self.sender.send(envelope)
        except EmailSkipped as skip:
            return self._record_skipped(id_, document, str(skip), clock)
        except Exception as failure:  # noqa: BLE001 - whatever a sender raises, the email is tried again later
            return self._record_failed(id_, document, error_sentence(failure), clock)
        return self._record_sent(id_, document, result, clock)

    def _record_sent(self, id_: str, leased: Document, result: SendResult, clock: Clock) -> DrainedEmail:
        """Record an email as sent. It must never be sent again, so this holds even where the lease is gone."""
        key = record_of(leased)["leaseKey"]

        def rule(_id: str, document: Document) -> Change[bool] | None:
            now = clock.stamp()
            held = email.holds_lease(document, key=key, now=now)
            if not held and email.is_sent(document):
                return None
            sent = email.sent(document, now=now, provider_message_id=result.provider_message_id)
            return Change(sent, held)

        change = self.ops.change([id_], rule, wait=True).changed.get(id_)
        recovered = None if change is not None and change.note else True
        return DrainedEmail(id_, "sent", result.provider_message_id, recovered_lease_lost=recovered)

    def _record_skipped(self, id_: str, leased: Document, reason: str, clock: Clock) -> DrainedEmail:
        recorded = self._record_end(
            id_, leased, lambda document: email.skipped(document, reason=reason, now=clock.stamp()), clock
        )
        return DrainedEmail(id_, "skipped" if recorded else "lease_lost", error=reason)

    def _record_failed(self, id_: str, leased: Document, error: str, clock: Clock) -> DrainedEmail:
        delay = self.retry_delay(record_of(leased)["attemptCount"])
        recorded = self._record_end(
            id_,
            leased,
            lambda document: email.failed(document, error=error, now=clock.stamp(), retry_after=delay),
            clock,
        )
        if recorded is None:
            return DrainedEmail(id_, "lease_lost", error=error)
        return DrainedEmail(
            id_,
            "failed",
            error=error,
            next_attempt_at=record_of(recorded).get("nextAttemptAt"),
            terminal=email.is_exhausted(recorded),
        )

    def _record_end(
        self, id_: str, leased: Document, end: Callable[[Document], Document], clock: Clock
    ) -> Document | None:
        """Record an end while the lease is still held; return the document, or ``None`` where the lease is gone."""
        key = record_of(leased)["leaseKey"]

        def rule(_id: str, document: Document) -> Change[None] | None:
            held = email.holds_lease(document, key=key, now=clock.stamp())
            return Change(end(document), None) if held else None

        change = self.ops.change([id_], rule, wait=True).changed.get(id_)
        return None if change is None else change.document
