"""Rechecks account deletes that were completed without the further steps: by the site's own maintenance, above all.

The reference completes a request and leaves what its eight steps do not reach. This runs the steps that may be run
again at any time, and records them on the request like the others. A request that has the last of them is done.

A completed request keeps the customer id alone. Of a guest it keeps nothing: guests are found by the sentinels that the
reference put into their orders and entitlements, which repeat the key that they replace.

Source: deviations, number 19.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from mika_ops.clock import Clock
from mika_ops.documents.document import Document, MalformedDocument
from mika_ops.documents.repository import Candidate, Change, Changes, DocumentRepository, Note, Rule
from mika_ops.documents.selection import Has, Not, OneOf, Selection, all_of, top
from mika_ops.documents.sweep import Sweep
from mika_ops.host.host import Host
from mika_ops.rules import account_delete
from mika_ops.rules.account_delete import Identity, StepValue
from mika_ops.rules.person import Person, guest_handles
from mika_ops.subtasks.account_delete.people import find_people
from mika_ops.subtasks.account_delete.progress import Progress, run_steps
from mika_ops.subtasks.account_delete.requests import REQUESTS_PER_BATCH
from mika_ops.subtasks.account_delete.steps import recheck_steps
from mika_ops.subtasks.subtask import required

_NAME: Final = "account_delete_requests"


@dataclass(frozen=True)
class RecheckedRequest:
    """One completed request: how many documents each step changed, or why it could not be rechecked."""

    request_id: str
    documents: Mapping[str, StepValue] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True)
class RecheckResult:
    """The completed requests that were gone through, in the order of their creation; and those that are malformed."""

    requests: tuple[RecheckedRequest, ...] = ()
    malformed_ids: tuple[str, ...] = ()


def recheck(host: Host, clock: Clock, *, everything: bool = False, is_dry: bool = False) -> RecheckResult:
    """Run the further steps for completed requests that do not have them, or with ``everything`` for all completed.

    With ``is_dry``, nothing is written, and ACP sessions are not counted. Raises ``RepositoryUnavailable`` if the
    shop's storage fails; what was done by then is kept, and the next call goes on from there.
    """
    if is_dry:
        collections = ("ops", "account", "ledger", "session")
        unwritten = {name: _Unwritten(required(getattr(host, name))) for name in collections}
        host = replace(host, acp_sessions=None, **unwritten)  # type: ignore[arg-type]
    selection = account_delete.COMPLETED if everything else account_delete.UNCHECKED
    sweep = Sweep(required(host.ops), selection, _NAME)
    rechecked: list[RecheckedRequest] = []
    for ids in sweep.batches(REQUESTS_PER_BATCH):
        rechecked += _recheck(host, ids, clock)
    return RecheckResult(tuple(rechecked), sweep.malformed_ids)


def _recheck(host: Host, ids: Sequence[str], clock: Clock) -> Iterator[RecheckedRequest]:
    ops = required(host.ops)
    requests = {id_: request for id_, request in ops.read(ids).items() if account_delete.is_completed(request)}
    requests = {id_: requests[id_] for id_ in ids if id_ in requests}
    people = find_people(host, _people_of(host, requests))
    progress = {id_: Progress(person, {}) for id_, person in people.items()}
    run_steps(host, recheck_steps(), progress, clock, still=account_delete.is_completed)

    def rule(id_: str, request: Document) -> Change[None] | None:
        if not account_delete.is_completed(request):
            return None
        state = progress[id_]
        return Change(account_delete.rechecked(request, state.unrecorded, state.values, now=clock.stamp()), None)

    done = [id_ for id_, state in progress.items() if state.error is None]
    changes = ops.change(done, rule, wait=True) if done else Changes[None]()
    for id_, state in progress.items():
        error = state.error or changes.malformed.get(id_)
        yield RecheckedRequest(id_, {name: value for name, value in state.values.items() if value}, error)


def _people_of(host: Host, requests: Mapping[str, Document]) -> dict[str, Person]:
    """Return the people of completed requests, as far as the requests and the sentinels of guests name them."""
    people = {id_: Person.of_request(id_, Identity.of(request)) for id_, request in requests.items()}
    guests = {id_: requests[id_] for id_, person in people.items() if not person.customer_id}
    if not guests:
        return people
    by_time = {at: id_ for id_ in reversed(guests) for at in account_delete.times_of_steps(guests[id_])}
    for document in _documents_of_guests(host):
        sentinels = {value for key in ("emailHash", "userId") if isinstance(value := document.get(key), str)}
        if handles := tuple(guest_handles(sentinels)):
            # The reference writes one time into a request and its documents. Where none fits, the oldest request takes
            # the document: that decides only where the recheck is recorded, for all guests are rechecked.
            id_ = by_time.get(str(document.get("updatedAt")), next(iter(guests)))
            people[id_] = people[id_].knowing(handles)
    return people


def _documents_of_guests(host: Host) -> Iterator[Document]:
    nobodys = (Not(Has(top("customerId"))), Has(top("emailHash")))
    for repository, selection in (
        (required(host.ledger), Selection("ledger", all_of(OneOf(top("type"), ("order",)), *nobodys))),
        (required(host.account), Selection("account", all_of(OneOf(top("type"), ("entitlement",)), *nobodys))),
    ):
        for ids in Sweep(repository, selection, _NAME).batches():
            yield from repository.read(ids).values()


@dataclass(frozen=True)
class _Unwritten:
    """A repository that keeps what is written for itself: it says what changes would do, and makes none."""

    inner: DocumentRepository
    written: dict[str, Document] = field(default_factory=dict)

    def candidates(self, selection: Selection, *, after: Candidate | None, limit: int) -> Sequence[Candidate]:
        return self.inner.candidates(selection, after=after, limit=limit)

    def read(self, ids: Sequence[str]) -> Mapping[str, Document]:
        found = self.inner.read(ids)
        return {id_: self.written.get(id_, document) for id_, document in found.items()}

    def change(
        self,
        ids: Sequence[str],
        rule: Rule[Note],
        *,
        wait: bool = False,  # noqa: ARG002 - of the port
        seen: Mapping[str, Document] | None = None,  # noqa: ARG002 - of the port
    ) -> Changes[Note]:
        changed: dict[str, Change[Note]] = {}
        malformed: dict[str, str] = {}
        for id_, document in self.read(ids).items():
            try:
                change = rule(id_, document)
            except MalformedDocument as error:
                malformed[id_] = str(error)
                continue
            if change is not None:
                changed[id_] = change
            if change is not None and change.document is not None:
                self.written[id_] = change.document
        return Changes(changed, [id_ for id_ in ids if id_ not in changed and id_ not in malformed], malformed)
