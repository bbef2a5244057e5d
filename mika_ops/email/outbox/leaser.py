"""Leasing: ids of due emails -> batches that this worker holds, composed and ready to send."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from mika_ops.clock import Clock
from mika_ops.documents.document import Document
from mika_ops.documents.repository import Change, DocumentRepository
from mika_ops.documents.sweep import Sweep
from mika_ops.email.outbox.attempts import Leased
from mika_ops.ports.email import EmailComposer, Envelope
from mika_ops.rules import email


@dataclass(frozen=True)
class LeasedBatch:
    """A batch that was leased; ``missed`` counts those of it that another worker leased first."""

    leased: Sequence[Leased]
    missed: int


@dataclass
class Leaser:
    """Leases the candidates of ``sweep``, ``batch_size`` at a time, each batch in one transaction.

    One thread at a time may call ``next_batch``. It knows nothing of the drain that it leases for, so it may run beside
    it; ``sweep`` is the leaser's alone until the last batch was returned.
    """

    sweep: Sweep
    ledger: DocumentRepository
    composer: EmailComposer
    clock: Clock
    lease: timedelta
    lease_key: Callable[[], str]
    batch_size: int
    _ops: DocumentRepository = field(init=False)
    _batches: Iterator[list[str]] = field(init=False)

    def __post_init__(self) -> None:
        self._ops = self.sweep.repository
        self._batches = self.sweep.batches(self.batch_size)

    def next_batch(self) -> LeasedBatch | None:
        """Lease the next batch and compose its emails; return ``None`` where there is none."""
        ids = next(self._batches, None)
        if ids is None:
            return None

        def rule(_id: str, document: Document) -> Change[Document] | None:
            if not self.sweep.selection.takes(document):
                return None
            now = self.clock.stamp()
            return Change(email.leased(document, key=self.lease_key(), now=now, lease=self.lease), document)

        changes = self._ops.change(ids, rule)
        self.sweep.report_malformed(list(changes.malformed))
        leased = [Leased(id_, change.note, change.document or {}) for id_, change in changes.changed.items()]
        try:
            return LeasedBatch(self._compose(leased), missed=len(changes.left))
        except BaseException:
            # Otherwise nobody would send them until their lease lapses.
            release(leased, self._ops, self.clock)
            raise

    def _compose(self, leased: Sequence[Leased]) -> list[Leased]:
        """Return the emails ready to send, composed here while others are sent; the orders are read once a batch."""
        composer = self.composer
        order_ids = {each.id: composer.order_id_of(each.document) for each in leased}
        orders = self.ledger.read([order_id for order_id in dict.fromkeys(order_ids.values()) if order_id])

        def compose(document: Document, order: Document | None) -> Envelope | Exception:
            try:
                return composer.render(document, order)
            except Exception as failure:  # noqa: BLE001 - an email that cannot be composed fails like an unsent one
                return failure

        return [replace(each, composed=compose(each.document, orders.get(order_ids[each.id] or ""))) for each in leased]


def release(unsent: Sequence[Leased], ops: DocumentRepository, clock: Clock) -> int:
    """Release emails that were leased and not sent: the attempt does not count. Return how many were released."""
    if not unsent:
        return 0
    by_id = {leased.id: leased for leased in unsent}

    def rule(id_: str, document: Document) -> Change[None] | None:
        leased, now = by_id[id_], clock.stamp()
        if not email.holds_lease(document, key=leased.key, now=now):
            return None
        return Change(email.given_back(document, before=leased.before, now=now), None)

    return len(ops.change(list(by_id), rule, wait=True).changed)
