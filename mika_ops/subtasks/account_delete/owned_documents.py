"""Finds and changes the documents of the people who asked to be deleted."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from mika_ops.clock import Clock
from mika_ops.documents.document import Document, MalformedDocument
from mika_ops.documents.repository import Change, DocumentRepository
from mika_ops.documents.selection import (
    Collection,
    Condition,
    Field,
    OneOf,
    Selection,
    all_of,
    any_of,
    top,
)
from mika_ops.documents.sweep import Sweep
from mika_ops.host.host import Host
from mika_ops.rules import personal_data
from mika_ops.rules.account_delete import Identity, StepValue
from mika_ops.subtasks.subtask import required
from mika_ops.timestamps import Timestamp

Requests: TypeAlias = Mapping[str, Identity]
"""The people to delete, by request id, oldest request first."""


@dataclass(frozen=True)
class StepOutcome:
    """The result of a step for each request: a value, or the reason why it failed."""

    values: Mapping[str, StepValue] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)


Owns: TypeAlias = Callable[[Identity, Document], bool]


Without: TypeAlias = Callable[[Document, Identity, Timestamp], Document]


@dataclass(frozen=True)
class OwnedType:
    """One type of document that a person may own.

    ``select`` yields the selections by which the database finds the people's documents, one for each key, so that each
    is an index lookup. ``owns`` decides on one document, and ``without`` returns it without its person.
    """

    collection: Collection
    select: Callable[[Requests], Iterable[Selection]]
    owns: Owns
    without: Without


def change_owned(host: Host, owned: OwnedType, requests: Requests, clock: Clock) -> StepOutcome:
    """Change every document of a type for each request that owns it; count the documents by request."""
    repository: DocumentRepository = required(getattr(host, owned.collection))
    counts = dict.fromkeys(requests, 0)
    errors: dict[str, str] = {}
    people = _People(requests, owned.owns)

    def rule(id_: str, document: Document) -> Change[tuple[tuple[str, ...], str | None]] | None:
        owners: list[str] = []
        changed, owner = document, people.first_owner(document)
        while owner is not None:
            request_id, identity = people.requests[owner]
            owners.append(request_id)
            try:
                changed = owned.without(changed, identity, clock.stamp())
            except MalformedDocument as error:
                return Change(None, (tuple(owners), f"document {id_} cannot be read: {error}"))
            owner = people.first_owner(changed, after=owner)
        return Change(changed, (tuple(owners), None)) if owners else None

    for selection in owned.select(requests):
        for ids in Sweep(repository, selection, "account_delete_requests").batches():
            changes = repository.change(ids, rule, wait=True)
            for change in changes.changed.values():
                owners, error = change.note
                for request_id in owners:
                    counts[request_id] += 1
                    if error is not None:
                        errors.setdefault(request_id, error)
            for id_, reason in changes.malformed.items():
                for request_id in _owners_of(id_, repository, owned, requests):
                    errors.setdefault(request_id, f"document {id_} cannot be changed: {reason}")
    return StepOutcome(counts, errors)


class _People:
    """The people of a batch of requests, indexed by the keys that a document may name."""

    def __init__(self, requests: Requests, owns: Owns) -> None:
        self.requests = tuple(requests.items())
        self._owns = owns
        self._by_key: dict[tuple[str, str], list[int]] = {}
        for number, (_request_id, identity) in enumerate(self.requests):
            for key, value in identity.keys.items():
                self._by_key.setdefault((key, value), []).append(number)

    def first_owner(self, document: Document, *, after: int = -1) -> int | None:
        """Return the number of the first request after ``after`` that owns the document."""
        named = {number for key in personal_data.named_in(document) for number in self._by_key.get(key, ())}
        owners = (n for n in sorted(named) if n > after and self._owns(self.requests[n][1], document))
        return next(owners, None)


def _owners_of(id_: str, repository: DocumentRepository, owned: OwnedType, requests: Requests) -> Iterator[str]:
    """Yield the requests whose person a malformed document names: the database can still search it."""
    for request_id, identity in requests.items():
        selections = owned.select({request_id: identity})
        sweeps = (Sweep(repository, selection, "account_delete_requests") for selection in selections)
        if any(id_ in ids for sweep in sweeps for ids in sweep.batches()):
            yield request_id


def by_keys(
    collection: Collection, types: tuple[str, ...], requests: Requests, *, keys: tuple[str, ...]
) -> Iterator[Selection]:
    """Select documents by the top-level keys that name a person: one selection for each key, each an index lookup."""
    for key in keys:
        values = key_values(requests, key)
        if values:
            yield Selection(collection, all_of(OneOf(top("type"), types), OneOf(top(key), values)))


def key_values(requests: Requests, key: str) -> tuple[str, ...]:
    """Return the values of one key over all requests."""
    return tuple(dict.fromkeys(identity.keys[key] for identity in requests.values() if key in identity.keys))


def named_inside(requests: Requests, **fields: Field) -> Condition | None:
    """Return the condition that a field inside a document names one of the people, by key."""
    conditions = [OneOf(place, key_values(requests, key)) for key, place in fields.items() if key_values(requests, key)]
    return any_of(*conditions) if conditions else None


def sentinel_of(identity: Identity) -> str:
    """Return what takes the place of a person's keys. Raises ``TypeError`` for a person who has none."""
    sentinel = identity.sentinel
    if sentinel is None:
        raise TypeError("a person without any key owns no document")
    return sentinel
