"""Emails that are not sent for now: those to people whose account-delete request is queued.

The request redacts them. If it fails, a later drain sends them.
"""

from dataclasses import dataclass
from typing import Self

from mika_ops.documents.document import Document, MalformedDocument
from mika_ops.documents.repository import DocumentRepository
from mika_ops.documents.sweep import Sweep
from mika_ops.rules import account_delete
from mika_ops.rules.account_delete import Identity
from mika_ops.rules.person import handles_in


@dataclass(frozen=True)
class PeopleToDelete:
    """The people whose delete request is queued, by the keys that documents name them with."""

    keys: frozenset[tuple[str, str]]

    @classmethod
    def read(cls, ops: DocumentRepository) -> Self:
        """Read all queued requests. One that cannot be read is reported by the subtask of account deletes."""
        keys: set[tuple[str, str]] = set()
        for ids in Sweep(ops, account_delete.QUEUED, "email_outbox, reading the queued account deletes").batches():
            for request in ops.read(ids).values():
                try:
                    keys.update(Identity.of(request).keys.items())
                except MalformedDocument:
                    continue
        return cls(frozenset(keys))

    def are_named_in(self, document: Document | None) -> bool:
        """Return whether a document names one of them."""
        return document is not None and not self.keys.isdisjoint(handles_in(document))
