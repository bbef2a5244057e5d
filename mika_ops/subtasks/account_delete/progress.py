"""Runs the steps of a batch of requests, and records each on its request."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mika_ops.clock import Clock
from mika_ops.documents.document import Document
from mika_ops.documents.repository import Change, DocumentRepository, RepositoryUnavailable
from mika_ops.host.host import Host
from mika_ops.redaction import describe_error
from mika_ops.rules import account_delete
from mika_ops.rules.account_delete import CompletedStep, StepValue
from mika_ops.rules.person import Person
from mika_ops.subtasks.account_delete.owned_documents import Requests, StepOutcome
from mika_ops.subtasks.account_delete.steps import Step
from mika_ops.subtasks.subtask import required


@dataclass
class Progress:
    """The progress of one request of a batch: the steps that are done, and the error that stopped it."""

    person: Person
    values: dict[str, StepValue]
    unrecorded: dict[str, CompletedStep] = field(default_factory=dict)
    error: str | None = None


def recorded_values(request: Document, steps: Sequence[Step]) -> dict[str, StepValue]:
    """Return the values of the steps that a request has recorded as completed."""
    values = {step.name: account_delete.recorded_value(request, step.name, step.kind) for step in steps}
    return {name: value for name, value in values.items() if value is not None}


def run_steps(
    host: Host,
    steps: Sequence[Step],
    progress: Mapping[str, Progress],
    clock: Clock,
    *,
    still: Callable[[Document], bool],
) -> None:
    """Run the steps that are not done yet, each for all requests at once, where ``still`` holds for the request.

    A step that changed something is recorded at once. Raises ``RepositoryUnavailable`` if the shop's storage fails.
    """
    for step in steps:
        waiting = {id_: p.person for id_, p in progress.items() if p.error is None and step.name not in p.values}
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
        _record(required(host.ops), had_work, progress, clock, still)


def _outcome_of(step: Step, host: Host, waiting: Requests, clock: Clock) -> StepOutcome:
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


def _record(
    ops: DocumentRepository,
    ids: Sequence[str],
    progress: Mapping[str, Progress],
    clock: Clock,
    still: Callable[[Document], bool],
) -> None:
    """Record the finished steps of these requests that are not recorded yet."""
    if not ids:
        return

    def rule(id_: str, request: Document) -> Change[None] | None:
        if not still(request):
            return None
        return Change(account_delete.with_steps(request, progress[id_].unrecorded, now=clock.stamp()), None)

    for request_id in ops.change(ids, rule, wait=True).changed:
        progress[request_id].unrecorded.clear()
