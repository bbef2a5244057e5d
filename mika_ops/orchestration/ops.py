"""One op for each subtask, and the summary of the run.

How a subtask ended stands in the metadata of its op's output, where people see it; the summary reads it there too. So
no value passes between the ops: any executor will do, and no event is stored that nobody reads.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import dagster as dg

from mika_ops.backlog import Backlog
from mika_ops.host import Host
from mika_ops.orchestration.assets import observation
from mika_ops.orchestration.config import RUN_RESOURCE
from mika_ops.orchestration.resources import RunPlan
from mika_ops.outcome import NOT_CHOSEN, Failed, Outcome, Skipped
from mika_ops.privacy import error_sentence
from mika_ops.report import counted, told
from mika_ops.settings import for_shop, limits_from
from mika_ops.subtasks.registry import SUBTASK_NAMES, due_selections
from mika_ops.subtasks.subtask import Subtask, outcome_of

FAIL_RUN_ON: Final = frozenset({"stock_reservations"})
"""The subtasks whose failure fails the run; any other failure warns."""

BACKLOG: Final = "backlog"
"""The piece of the host that says what is left."""

AFTER: Final = "after"
"""The input that orders the ops."""

COMPLETED_TAG: Final = "mika/completed"
FAILED_TAG: Final = "mika/failed"
SKIPPED_TAG: Final = "mika/skipped"
"""The tags of a run that name how its subtasks ended, with commas between; one that was not chosen is in none."""


@cache
def op_for(subtask: Subtask) -> dg.OpDefinition:
    """Return the op that runs a subtask. It never raises for one that fails: its output says how it ended.

    The jobs of several shops share it, for a code location knows one op of a name.
    """
    pieces = sorted({name for need in subtask.needs for name in ((need,) if isinstance(need, str) else need)})

    @dg.op(
        name=subtask.name,
        description=f"{subtask.description}\n\nNeeds {_described(subtask)}; without, it is skipped.",
        required_resource_keys={RUN_RESOURCE, *pieces},
        ins={AFTER: dg.In(dg.Nothing, description="Subtasks run one after the other.")},
        out=dg.Out(dg.Nothing, description="How the subtask ended, as metadata: status, counts, reason or error."),
    )
    def run_subtask(context: dg.OpExecutionContext) -> dg.Output[None]:
        plan: RunPlan = getattr(context.resources, RUN_RESOURCE)
        host = Host(**{name: getattr(context.resources, name) for name in pieces})
        outcome: Outcome
        if subtask.name in plan.selected:
            outcome = outcome_of(subtask, host, plan.clock, plan.limits_of(subtask.name))
            if isinstance(outcome, Skipped):
                outcome = outcome.model_copy(update={"reason": for_shop(plan.shop, outcome.reason)})
            elif isinstance(outcome, Failed):
                outcome = outcome.model_copy(update={"error": for_shop(plan.shop, outcome.error)})
        else:
            outcome = Skipped(reason=NOT_CHOSEN)
        metadata = metadata_of(outcome)
        if isinstance(outcome, Failed):
            context.log.error("%s failed: %s", subtask.name, outcome.error)
        elif counts := counted(metadata):
            context.log.info("%s: %s", subtask.name, counts)
        if seen := observation(subtask.name, plan.shop, metadata):
            context.log_event(seen)
        return dg.Output(None, metadata=metadata)

    return run_subtask


@dg.op(
    description=(
        "Sums up the run in one structured line: a warning where any subtask failed. "
        f"Fails the run where one of these failed: {', '.join(sorted(FAIL_RUN_ON))}."
    ),
    required_resource_keys={RUN_RESOURCE, BACKLOG},
    ins={AFTER: dg.In(dg.Nothing, description="All subtasks have ended.")},
    out=dg.Out(dg.Nothing, description="The run as a table, as metadata, and how many subtasks ended how."),
)
def summary(context: dg.OpExecutionContext) -> dg.Output[None]:
    """Log the run's result and what is left; raise where the run must fail."""
    plan: RunPlan = getattr(context.resources, RUN_RESOURCE)
    outcomes = outcomes_of(context.instance, context.run_id)
    if not outcomes:
        # "Re-execute from failure" runs the summary alone: without this, it would turn a failed run green.
        raise dg.Failure("No subtask was part of this run: re-execute all of it, not the summary alone.")
    context.instance.add_run_tags(context.run_id, outcome_tags(outcomes, before=context.run.tags))
    left = _backlog(context, plan)
    failed = [name for name, outcome in outcomes.items() if outcome["status"] == "failed"]
    line = json.dumps({"now": plan.clock.scheduled_at, **outcomes}, ensure_ascii=False)
    (context.log.warning if failed else context.log.info)("%s %s", context.job_name, line)
    statuses = [outcome["status"] for outcome in outcomes.values()]
    metadata: dict[str, Any] = {
        "overview": dg.MetadataValue.md(overview(outcomes, left)),
        **{status: statuses.count(status) for status in ("completed", "failed", "skipped")},
        "unreadable_documents": left.unreadable,
    }
    fatal = [f"{name}: {outcomes[name]['error']}" for name in failed if name in FAIL_RUN_ON]
    if fatal:
        raise dg.Failure("; ".join(fatal), metadata=metadata, allow_retries=False)
    return dg.Output(None, metadata=metadata)


def _backlog(context: dg.OpExecutionContext, plan: RunPlan) -> Backlog:
    """Read what is left; a backlog that cannot be read takes nothing from what the run did."""
    reader = getattr(context.resources, BACKLOG)
    if reader is None:
        return Backlog()
    selections = due_selections(plan.clock.scheduled_at, limits_from(plan.settings))
    try:
        backlog: Backlog = reader.read(selections, now=plan.clock.scheduled_at)
    except Exception as failure:  # noqa: BLE001 - see above
        context.log.warning("what is left could not be read: %s", error_sentence(failure))
        return Backlog()
    if backlog.unreadable:
        context.log.warning(
            "%d documents are no JSON objects with a type; mend or remove them: %s",
            backlog.unreadable,
            ", ".join(backlog.unreadable_ids),
        )
    return backlog


def outcomes_of(instance: dg.DagsterInstance, run_id: str) -> dict[str, dict[str, Any]]:
    """Return how each subtask of a run ended, in order: what ``metadata_of`` said of it."""
    told_by = {}
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_OUTPUT):
        event = entry.get_dagster_event()
        if event.step_key in SUBTASK_NAMES:
            metadata = event.step_output_data.metadata
            told_by[event.step_key] = {name: value.value for name, value in metadata.items()}
    return {name: told_by[name] for name in SUBTASK_NAMES if name in told_by}


def outcome_tags(outcomes: Mapping[str, Mapping[str, Any]], *, before: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that say how the subtasks ended; those ``before`` are of the run that is executed again."""
    ended: dict[str, list[str]] = {COMPLETED_TAG: [], FAILED_TAG: [], SKIPPED_TAG: []}
    for name, outcome in outcomes.items():
        if outcome.get("reason") != NOT_CHOSEN:
            ended[f"mika/{outcome['status']}"].append(name)
    return {tag: ",".join(names) for tag, names in ended.items() if names or tag in before}


def subtasks_in(tags: Mapping[str, str], tag: str) -> frozenset[str]:
    """Return the subtasks that one of these tags of a run names."""
    return frozenset(name for name in tags.get(tag, "").split(",") if name)


def metadata_of(outcome: Outcome) -> dict[str, Any]:
    """Return what the UI shows of an outcome: status, duration, and counts, reason or error."""
    metadata: dict[str, Any] = {"status": outcome.status, "duration_ms": outcome.duration_ms}
    match outcome:
        case Skipped(reason=reason):
            metadata["reason"] = reason
        case Failed(error=error):
            metadata["error"] = error
    if not isinstance(outcome, Skipped) and outcome.result is not None:
        metadata |= outcome.result.counts() | {**outcome.result.words(), **metadata}
        metadata |= {name: "\n".join(ids) for name, ids in outcome.result.named_ids().items()}
    return metadata


def overview(outcomes: Mapping[str, Mapping[str, Any]], left: Backlog) -> str:
    """Return the run as a Markdown table: one line a subtask."""
    lines = ["| subtask | status | counts, or why not | ms | left |", "| --- | --- | --- | ---: | ---: |"]
    for name, outcome in outcomes.items():
        words = told(outcome).replace("|", "&#124;").replace("\n", " ")
        waiting = left.due[name].count if name in left.due else "–"
        lines.append(f"| {name} | {outcome['status']} | {words} | {outcome['duration_ms']} | {waiting} |")
    return "\n".join(lines)


def ops_for(subtasks: Sequence[Subtask]) -> list[dg.OpDefinition]:
    """Return the ops of these subtasks, in order."""
    return [op_for(subtask) for subtask in subtasks]


def _described(subtask: Subtask) -> str:
    return ", ".join(need if isinstance(need, str) else " or ".join(need) for need in subtask.needs)
