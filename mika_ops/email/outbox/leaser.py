"""Leasing: ids of due emails -> batches that this worker holds, composed and ready to send."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import Final

from mika_ops.clock import Clock
from mika_ops.documents.document import Document, record_of
from mika_ops.documents.repository import Change, DocumentRepository
from mika_ops.documents.sweep import Sweep
from mika_ops.email.outbox.attempts import Leased
from mika_ops.email.outbox.persistence import LeasePersistence
from mika_ops.email.outbox.withheld import PeopleToDelete
from mika_ops.ports.email import EmailComposer, EmailSkipped, Envelope
from mika_ops.rules import email

LINK_HAS_EXPIRED: Final = "its sign-in link has expired, so that it would not work"
"""Why a magic link is skipped that waited in the outbox for longer than it is valid."""


@dataclass(frozen=True)
class LeasedBatch:
    """A batch that was leased.

    ``missed`` counts those of it that another worker leased first, ``withheld`` those to people whose delete request is
    queued.
    """

    leased: Sequence[Leased]
    missed: int
    withheld: int


@dataclass
class Leaser:
    """Leases the candidates of ``sweep``, ``batch_size`` at a time, each batch in one transaction.

    With ``withholds``, emails to people whose delete request was queued when the first batch was leased stay as they
    are. With ``skips_expired_links``, a magic link that has expired is skipped (deviations, number 18).

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
    persistence: LeasePersistence
    withholds: bool = True
    skips_expired_links: bool = True
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

        # Read before the transaction: the user may have one connection only.
        people = self._people
        tried: dict[str, tuple[str, Document]] = {}

        def rule(id_: str, document: Document) -> Change[Document] | None:
            key, before = tried.get(id_, (None, document))
            if key is not None and record_of(document).get("leaseKey") == key:
                # An earlier try was written, and the connection lost before the database could say so.
                return Change(document, before)
            if not self.sweep.selection.takes(document):
                return None
            if people.are_named_in(document):
                return Change(None, document)
            self.sweep.note_age(document)
            tried[id_] = self.lease_key(), document
            leased = email.leased(document, key=tried[id_][0], now=self.clock.stamp(), lease=self.lease)
            return Change(leased, document)

        changes = self._ops.change(ids, rule)
        self.sweep.report_malformed(list(changes.malformed))
        leased = [
            Leased(id_, change.note, change.document)
            for id_, change in changes.changed.items()
            if change.document is not None
        ]
        try:
            ready = self._compose(leased)
            return LeasedBatch(ready, missed=len(changes.left), withheld=len(changes.changed) - len(ready))
        except BaseException:
            # Otherwise nobody would send them until their lease lapses.
            release(leased, self._ops, self.clock, self.persistence)
            raise

    @cached_property
    def _people(self) -> PeopleToDelete:
        return PeopleToDelete.read(self._ops) if self.withholds else PeopleToDelete(frozenset())

    def _compose(self, leased: Sequence[Leased]) -> list[Leased]:
        """Return the emails ready to send, composed here while others are sent; the orders are read once a batch.

        An email may name a person by its order alone: it is released here.
        """
        composer = self.composer
        order_ids = {each.id: composer.order_id_of(each.document) or "" for each in leased}
        orders = self.ledger.read([order_id for order_id in dict.fromkeys(order_ids.values()) if order_id])
        withheld = [each for each in leased if self._people.are_named_in(orders.get(order_ids[each.id]))]
        release(withheld, self._ops, self.clock, self.persistence)

        def compose(document: Document, order: Document | None) -> Envelope | Exception:
            try:
                if self.skips_expired_links and email.link_has_expired(document, now=self.clock.stamp()):
                    raise EmailSkipped(LINK_HAS_EXPIRED)
                return composer.render(document, order)
            except Exception as failure:  # noqa: BLE001 - an email that cannot be composed fails like an unsent one
                return failure

        return [
            replace(each, composed=compose(each.document, orders.get(order_ids[each.id])))
            for each in leased
            if each not in withheld
        ]


def release(unsent: Sequence[Leased], ops: DocumentRepository, clock: Clock, persistence: LeasePersistence) -> int:
    """Release emails that were leased and not sent: the attempt does not count. Return how many were released."""
    if not unsent:
        return 0
    by_id = {leased.id: leased for leased in unsent}

    def rule(id_: str, document: Document) -> Change[None] | None:
        leased, now = by_id[id_], clock.stamp()
        if not email.holds_lease(document, key=leased.key, now=now):
            return None
        return Change(email.given_back(document, before=leased.before, now=now), None)

    return len(persistence.write(lambda: ops.change(list(by_id), rule, wait=True), unsent).changed)
