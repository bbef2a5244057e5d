"""Completes account-delete requests: removes a person's data step by step, and resumes after an interruption.

Requests are processed in batches: every step runs for the whole batch, and each request is attempted once per run. A
step that changed something is recorded on its request at once; a step that found nothing is recorded with the next one
that did.

A request fails only for a reason that lies in the request. If the shop's storage fails, requests stay queued for the
next run: a failed request needs manual action, and the law sets a time limit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mika_ops.clock import Clock
from mika_ops.documents.document import Document
from mika_ops.documents.repository import Change, DocumentRepository, RepositoryUnavailable
from mika_ops.documents.sweep import IDS_NAMED, Sweep
from mika_ops.host.host import Host
from mika_ops.ports.email import ITEMS_KEPT
from mika_ops.redaction import describe_error
from mika_ops.rules import account_delete
from mika_ops.rules.account_delete import Identity, StepValue
from mika_ops.rules.person import Person
from mika_ops.subtasks.account_delete.blockers import blocked_requests
from mika_ops.subtasks.account_delete.people import find_people
from mika_ops.subtasks.account_delete.progress import Progress, recorded_values, run_steps
from mika_ops.subtasks.account_delete.steps import steps_of
from mika_ops.subtasks.outcome import SubtaskFailed, SweptResult
from mika_ops.subtasks.subtask import AccountDeleteScope, RunOptions, Subtask, required

REQUESTS_PER_BATCH = 200


@dataclass(frozen=True)
class DeletedAccount:
    """The result of one request: the value of every step, or the error that stopped it."""

    request_id: str
    status: str
    steps: Mapping[str, StepValue] = field(default_factory=dict)
    error: str | None = None


class AccountDeleteRequestsResult(SweptResult):
    """Requests taken, completed and failed; ``items`` lists the first of them."""

    completed: int = 0
    failed: int = 0
    items: tuple[DeletedAccount, ...] = ()
    failed_ids: tuple[str, ...] = ()


def run(host: Host, clock: Clock, limits: RunOptions) -> AccountDeleteRequestsResult:
    """Process the queued requests, oldest first. Raises ``SubtaskFailed`` if the shop's storage fails."""
    ops = required(host.ops)
    sweep = Sweep(
        ops, account_delete.QUEUED, "account_delete_requests", limits.limit, limits.out_of_time, shard=limits.shard
    )
    completed = failed = 0
    items: tuple[DeletedAccount, ...] = ()
    failed_ids: tuple[str, ...] = ()
    unavailable = None
    for ids in sweep.batches(REQUESTS_PER_BATCH):
        try:
            accounts = _process(host, sweep, ids, limits.account_delete_scope, clock)
        except RepositoryUnavailable as failure:
            unavailable = describe_error(failure)
            break
        completed += sum(account.status == "completed" for account in accounts)
        failed += sum(account.status == "failed" for account in accounts)
        items = (*items, *accounts)[:ITEMS_KEPT]
        failed_ids = (*failed_ids, *(a.request_id for a in accounts if a.status == "failed"))[:IDS_NAMED]
    result = AccountDeleteRequestsResult(
        completed=completed, failed=failed, items=items, failed_ids=failed_ids, **sweep.counts()
    )
    if unavailable is not None:
        raise SubtaskFailed(f"{unavailable}; the requests in progress stay queued for the next run", result)
    return result


def _process(
    host: Host, sweep: Sweep, ids: Sequence[str], scope: AccountDeleteScope, clock: Clock
) -> list[DeletedAccount]:
    ops, steps = required(host.ops), steps_of(scope)
    requests = ops.read(ids)
    for request in requests.values():
        sweep.note_age(request)
    progress = {
        id_: Progress(Person.of_keys(Identity.of(requests[id_])), recorded_values(requests[id_], steps))
        for id_ in ids
        if id_ in requests and account_delete.is_queued(requests[id_])
    }
    for state in progress.values():
        if unusable := state.person.unusable_keys:
            state.error = f"nothing can be found by its {', '.join(unusable)}: fix it, then queue the request again"
    sound = {id_: state.person for id_, state in progress.items() if state.error is None}
    if scope == "complete":
        sound = find_people(host, {id_: Person.of_request(id_, person) for id_, person in sound.items()})
        for id_, person in sound.items():
            progress[id_].person = person
    for request_id, reason in blocked_requests(host, sound).items():
        progress[request_id].error = reason
    run_steps(host, steps, progress, clock, still=account_delete.is_queued)
    return _finish(ops, progress, clock)


def _finish(ops: DocumentRepository, progress: Mapping[str, Progress], clock: Clock) -> list[DeletedAccount]:
    """Complete the requests whose steps are all done, and record why the others failed."""

    def rule(id_: str, request: Document) -> Change[None] | None:
        if not account_delete.is_queued(request):
            return None
        state, now = progress[id_], clock.stamp()
        if state.error is None:
            return Change(account_delete.completed(request, state.unrecorded, state.values, now=now), None)
        recorded = account_delete.with_steps(request, state.unrecorded, now=now) if state.unrecorded else request
        return Change(account_delete.failed(recorded, error=state.error, now=now), None)

    changes = ops.change(list(progress), rule, wait=True)
    accounts = []
    for id_, state in progress.items():
        error = state.error or changes.malformed.get(id_)
        if error is not None:
            accounts.append(DeletedAccount(id_, "failed", error=error))
        elif id_ in changes.changed:
            accounts.append(DeletedAccount(id_, "completed", dict(state.values)))
    return accounts


SUBTASK = Subtask(
    name="account_delete_requests",
    description="Completes account-delete requests: releases, redacts and anonymizes all that is a person's.",
    needs=(("ops",), ("account",), ("ledger",), ("session",), ("stock",), ("ephemeral",)),
    run=run,
    done=("completed",),
    due=lambda _now, _limits: account_delete.QUEUED,
    permanently_failed=account_delete.PERMANENTLY_FAILED,
    shardable=True,
    optional=("acp_sessions",),
)
