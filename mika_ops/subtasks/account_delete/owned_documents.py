"""Finds and changes the documents of the people who asked to be deleted."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from mika_ops.clock import Clock
from mika_ops.documents.document import Document, MalformedDocument
from mika_ops.documents.repository import Change, Changes, DocumentRepository, Note, Rule
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
from mika_ops.documents.sweep import BATCH, Sweep
from mika_ops.host.host import Host
from mika_ops.rules.account_delete import StepValue
from mika_ops.rules.person import Handle, HandleKind, Person, handles_in
from mika_ops.subtasks.subtask import required
from mika_ops.timestamps import Timestamp

Requests: TypeAlias = Mapping[str, Person]
"""The people to delete, by request id, oldest request first."""


@dataclass(frozen=True)
class StepOutcome:
    """The result of a step for each request: a value, or the reason why it failed."""

    values: Mapping[str, StepValue] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)


Owns: TypeAlias = Callable[[Person, Document], bool]
Without: TypeAlias = Callable[[Document, Person, Timestamp], Document]


@dataclass(frozen=True)
class OwnedType:
    """One type of document that a person may own.

    ``select`` yields the selections by which the database finds the people's documents, one for each handle, so that
    each is an index lookup; ``ids`` names documents that are known by id. ``owns`` decides on one document, and
    ``without`` returns it without its person.

    With ``leftovers``, a document counts only where ``without`` changes more than its ``updatedAt``. Such a type may be
    gone through again at any time.
    """

    collection: Collection
    select: Callable[[Requests], Iterable[Selection]]
    owns: Owns
    without: Without
    ids: Callable[[Requests], Iterable[str]] = lambda _requests: ()
    leftovers: bool = False


_Note: TypeAlias = tuple[tuple[str, ...], str | None]
"""The requests that own a document, and why it could not be changed."""


def change_owned(host: Host, owned: OwnedType, requests: Requests, clock: Clock) -> StepOutcome:
    """Change every document of a type for each request that owns it; count the documents by request."""
    repository: DocumentRepository = required(getattr(host, owned.collection))
    counts = dict.fromkeys(requests, 0)
    errors: dict[str, str] = {}
    people = People(requests, owned.owns)

    def rule(id_: str, document: Document) -> Change[_Note] | None:
        owners: list[str] = []
        changed, owner = document, people.first_owner(document)
        while owner is not None:
            request_id, person = people.requests[owner]
            try:
                without = owned.without(changed, person, clock.stamp())
            except MalformedDocument as error:
                return Change(None, ((*owners, request_id), f"document {id_} cannot be read: {error}"))
            if not owned.leftovers or _differs(without, changed):
                owners.append(request_id)
                changed = without
            owner = people.first_owner(changed, after=owner)
        return Change(changed, (tuple(owners), None)) if owners else None

    for ids in _ids_of(repository, owned, requests):
        wanted = _unfinished(repository, ids, rule)
        changes = repository.change(wanted, rule, wait=True) if wanted else Changes[_Note]()
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


def read_owned(host: Host, owned: OwnedType, requests: Requests) -> Iterator[tuple[str, Document]]:
    """Yield every document of a type that is somebody's, with the request of the person; changes nothing."""
    repository: DocumentRepository = required(getattr(host, owned.collection))
    people = People(requests, owned.owns)
    for ids in _ids_of(repository, owned, requests):
        for document in repository.read(ids).values():
            owner = people.first_owner(document)
            while owner is not None:
                yield people.requests[owner][0], document
                owner = people.first_owner(document, after=owner)


class People:
    """The people of a batch of requests, indexed by the handles that a document may name."""

    def __init__(self, requests: Requests, owns: Owns) -> None:
        self.requests = tuple(requests.items())
        self._owns = owns
        self._by_handle: dict[Handle, list[int]] = {}
        for number, (_request_id, person) in enumerate(self.requests):
            for kind, values in person.handles.items():
                for value in values:
                    self._by_handle.setdefault((kind, value), []).append(number)

    def first_owner(self, document: Document, *, after: int = -1) -> int | None:
        """Return the number of the first request after ``after`` that owns the document."""
        owners = (
            n for n in self.known_by(handles_in(document)) if n > after and self._owns(self.requests[n][1], document)
        )
        return next(owners, None)

    def known_by(self, handles: Iterable[Handle]) -> list[int]:
        """Return the numbers of the requests whose person has one of these handles."""
        return sorted({number for handle in handles for number in self._by_handle.get(handle, ())})


def _unfinished(repository: DocumentRepository, ids: Sequence[str], rule: Rule[Note]) -> list[str]:
    """Return the ids of the documents that a rule would change, and of those that could not be read."""
    documents = repository.read(ids)
    return [id_ for id_ in ids if id_ not in documents or rule(id_, documents[id_]) is not None]


def _ids_of(repository: DocumentRepository, owned: OwnedType, requests: Requests) -> Iterator[list[str]]:
    known = sorted(set(owned.ids(requests)))
    for start in range(0, len(known), BATCH):
        # One that does not exist any more is not one that cannot be read.
        ids = known[start : start + BATCH]
        there = repository.read(ids)
        if there:
            yield [id_ for id_ in ids if id_ in there]
    for selection in owned.select(requests):
        yield from Sweep(repository, selection, "account_delete_requests").batches()


def _differs(changed: Document, document: Document) -> bool:
    return {**changed, "updatedAt": None} != {**document, "updatedAt": None}


def _owners_of(id_: str, repository: DocumentRepository, owned: OwnedType, requests: Requests) -> Iterator[str]:
    """Yield the requests whose person a malformed document names: the database can still search it."""
    for request_id, person in requests.items():
        selections = owned.select({request_id: person})
        sweeps = (Sweep(repository, selection, "account_delete_requests") for selection in selections)
        if any(id_ in ids for sweep in sweeps for ids in sweep.batches()):
            yield request_id


def by_keys(
    collection: Collection, types: tuple[str, ...], requests: Requests, *, keys: tuple[HandleKind, ...]
) -> Iterator[Selection]:
    """Select documents by the top-level keys that name a person: one selection for each key, each an index lookup."""
    for key in keys:
        values = key_values(requests, key)
        if values:
            yield Selection(collection, all_of(OneOf(top("type"), types), OneOf(top(key), values)))


def key_values(requests: Requests, kind: HandleKind) -> tuple[str, ...]:
    """Return the handles of one kind over all requests."""
    return tuple(dict.fromkeys(value for person in requests.values() for value in sorted(person.values(kind))))


def named_inside(requests: Requests, **fields: Field) -> Condition | None:
    """Return the condition that a field inside a document names one of the people, by the kind of handle."""
    conditions = [
        OneOf(place, values)
        for kind, place in fields.items()
        if (values := key_values(requests, cast("HandleKind", kind)))
    ]
    return any_of(*conditions) if conditions else None


def by_handles(
    collection: Collection, type_: str, requests: Requests, *places: tuple[HandleKind, Field]
) -> Iterator[Selection]:
    """Select documents of a type by handles, wherever they stand: one selection for each place."""
    for kind, place in places:
        values = key_values(requests, kind)
        if values:
            yield Selection(collection, all_of(OneOf(top("type"), (type_,)), OneOf(place, values)))


def sentinel_of(person: Person) -> str:
    """Return what takes the place of a person's keys. Raises ``TypeError`` for a person who has none."""
    sentinel = person.sentinel
    if sentinel is None:
        raise TypeError("a person without any key owns no document")
    return sentinel
