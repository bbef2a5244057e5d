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
from mika_ops.rules.account_delete import CompletedStep, Identity, StepValue
from mika_ops.subtasks.account_delete.blockers import blocked_requests
from mika_ops.subtasks.account_delete.owned_documents import StepOutcome
from mika_ops.subtasks.account_delete.steps import Step, steps_of
from mika_ops.subtasks.outcome import SubtaskFailed, SweptResult
from mika_ops.subtasks.subtask import RunOptions, Subtask, required

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


@dataclass
class _Progress:
    """The progress of one request of the batch."""

    identity: Identity
    values: dict[str, StepValue]
    unrecorded: dict[str, CompletedStep] = field(default_factory=dict)
    error: str | None = None


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
            accounts = _process(host, ids, steps_of(limits.account_delete_scope), clock)
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


def _process(host: Host, ids: Sequence[str], steps: Sequence[Step], clock: Clock) -> list[DeletedAccount]:
    ops = required(host.ops)
    requests = ops.read(ids)
    progress = {
        id_: _Progress(Identity.of(requests[id_]), _recorded_values(requests[id_], steps))
        for id_ in ids
        if id_ in requests and account_delete.is_queued(requests[id_])
    }
    for state in progress.values():
        if unusable := state.identity.unusable_keys:
            state.error = f"nothing can be found by its {', '.join(unusable)}: fix it, then queue the request again"
    sound = {id_: state.identity for id_, state in progress.items() if state.error is None}
    for request_id, reason in blocked_requests(host, sound).items():
        progress[request_id].error = reason
    for step in steps:
        waiting = {id_: p.identity for id_, p in progress.items() if p.error is None and step.name not in p.values}
        outcome = _outcome_of(step, host, waiting, clock)
        had_work = []
        for request_id in waiting:
            request = progress[request_id]
            request.error = outcome.errors.get(request_id)
            if request.error is None:
                value = outcome.values[request_id]
                request.values[step.name] = value
                request.unrecorded[step.name] = CompletedStep(value, clock.stamp())
                if value:
                    had_work.append(request_id)
        _record(ops, had_work, progress, clock)
    return _finish(ops, progress, clock)


def _recorded_values(request: Document, steps: Sequence[Step]) -> dict[str, StepValue]:
    values = {step.name: account_delete.recorded_value(request, step.name, step.kind) for step in steps}
    return {name: value for name, value in values.items() if value is not None}


def _outcome_of(step: Step, host: Host, waiting: Mapping[str, Identity], clock: Clock) -> StepOutcome:
    if not waiting:
        return StepOutcome()
    try:
        outcome = step.run(host, waiting, clock)
    except RepositoryUnavailable:
        raise
    except Exception as failure:  # noqa: BLE001 - the requests are resumed from the steps recorded so far
        outcome = StepOutcome(errors=dict.fromkeys(waiting, describe_error(failure)))
    return StepOutcome(
        outcome.values, {request_id: f"{step.name}: {error}" for request_id, error in outcome.errors.items()}
    )


def _record(ops: DocumentRepository, ids: Sequence[str], progress: Mapping[str, _Progress], clock: Clock) -> None:
    """Record the finished steps of these requests that are not recorded yet."""
    if not ids:
        return

    def rule(id_: str, request: Document) -> Change[None] | None:
        if not account_delete.is_queued(request):
            return None
        steps = progress[id_].unrecorded
        return Change(account_delete.with_steps(request, steps, now=clock.stamp()), None)

    for request_id in ops.change(ids, rule, wait=True).changed:
        progress[request_id].unrecorded.clear()


def _finish(ops: DocumentRepository, progress: Mapping[str, _Progress], clock: Clock) -> list[DeletedAccount]:
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
)
