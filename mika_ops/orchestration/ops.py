"""One op for each subtask, and the summary of the run."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import dagster as dg

from mika_ops.host import Host
from mika_ops.orchestration.config import OUTCOMES_RESOURCE, RUN_RESOURCE
from mika_ops.orchestration.resources import RunPlan
from mika_ops.outcome import Completed, Failed, Outcome, Skipped
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops.subtasks.subtask import Subtask, outcome_of

FAIL_RUN_ON: Final = frozenset({"stock_reservations"})
"""The subtasks whose failure fails the run; any other failure warns."""


def op_for(subtask: Subtask) -> dg.OpDefinition:
    """Return the op that runs a subtask. It never raises for one that fails: its output says how it ended."""
    pieces = sorted({name for need in subtask.needs for name in ((need,) if isinstance(need, str) else need)})

    @dg.op(
        name=subtask.name,
        description=f"{subtask.description}\n\nNeeds {_described(subtask)}; without, it is skipped.",
        required_resource_keys={RUN_RESOURCE, *pieces},
        ins={"after": dg.In(dg.Nothing, description="Subtasks run one after the other.")},
        out=dg.Out(
            Any, io_manager_key=OUTCOMES_RESOURCE, description="How the subtask ended: completed, failed or skipped."
        ),
    )
    def run_subtask(context: dg.OpExecutionContext) -> dg.Output[Outcome]:
        plan: RunPlan = getattr(context.resources, RUN_RESOURCE)
        host = Host(**{name: getattr(context.resources, name) for name in pieces})
        outcome: Outcome
        if subtask.name in plan.selected:
            outcome = outcome_of(subtask, host, plan.clock, plan.limits_of(subtask.name))
        else:
            outcome = Skipped(reason="not chosen for this run")
        if isinstance(outcome, Failed):
            context.log.error("%s failed: %s", subtask.name, outcome.error)
        elif isinstance(outcome, Completed) and any(outcome.result.counts().values()):
            context.log.info("%s: %s", subtask.name, _counted(outcome))
        return dg.Output(outcome, metadata=metadata_of(outcome))

    return run_subtask


@dg.op(
    description=(
        "Sums up the run in one structured line: a warning where any subtask failed. "
        f"Fails the run where one of these failed: {', '.join(sorted(FAIL_RUN_ON))}."
    ),
    required_resource_keys={RUN_RESOURCE},
    ins={"outcomes": dg.In(list, description="How each subtask ended, in order.")},
    out=dg.Out(
        dict,
        io_manager_key=OUTCOMES_RESOURCE,
        description="The run's result: its clock, and every subtask's status and counts.",
    ),
)
def summary(context: dg.OpExecutionContext, outcomes: list[Any]) -> dg.Output[dict[str, Any]]:
    """Log and return the run's result; raise where it must fail."""
    plan: RunPlan = getattr(context.resources, RUN_RESOURCE)
    named: dict[str, Outcome] = dict(zip(SUBTASK_NAMES, outcomes, strict=True))
    result = {"now": plan.clock.scheduled_at, **{name: _recorded(outcome) for name, outcome in named.items()}}
    failed = [name for name, outcome in named.items() if isinstance(outcome, Failed)]
    line = f"mika_maintenance {json.dumps(result, ensure_ascii=False)}"
    (context.log.warning if failed else context.log.info)(line)
    metadata = {
        "overview": dg.MetadataValue.md(overview(named)),
        **{
            status: sum(outcome.status == status for outcome in outcomes)
            for status in ("completed", "failed", "skipped")
        },
    }
    fatal = [name for name in failed if name in FAIL_RUN_ON]
    if fatal:
        sentences = "; ".join(f"{name}: {_recorded(named[name])['error']}" for name in fatal)
        raise dg.Failure(sentences, metadata=metadata, allow_retries=False)
    return dg.Output(result, metadata=metadata)


def metadata_of(outcome: Outcome) -> dict[str, Any]:
    """Return what the UI shows of an outcome: status, duration, and counts, reason or error."""
    metadata: dict[str, Any] = {"status": outcome.status, "duration_ms": outcome.duration_ms}
    match outcome:
        case Skipped(reason=reason):
            metadata["reason"] = reason
        case Failed(error=error):
            metadata["error"] = error
    if not isinstance(outcome, Skipped) and outcome.result is not None:
        metadata |= outcome.result.counts()
        metadata |= {name: "\n".join(ids) for name, ids in outcome.result.named_ids().items()}
    return metadata


def overview(outcomes: Mapping[str, Outcome]) -> str:
    """Return the run as a Markdown table: one line a subtask."""
    lines = ["| subtask | status | counts | ms |", "| --- | --- | --- | ---: |"]
    for name, outcome in outcomes.items():
        lines.append(f"| {name} | {outcome.status} | {_told(outcome).replace('|', '&#124;')} | {outcome.duration_ms} |")
    return "\n".join(lines)


def _told(outcome: Outcome) -> str:
    match outcome:
        case Skipped(reason=reason):
            return reason
        case Failed(error=error):
            return error
        case Completed():
            return _counted(outcome) or "nothing due"


def _counted(outcome: Completed) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in outcome.result.counts().items() if value)


def _number(value: float | bool) -> str:
    return "yes" if value is True else f"{value:g}"


def _recorded(outcome: Outcome) -> dict[str, Any]:
    match outcome:
        case Skipped(reason=reason):
            return {"status": outcome.status, "reason": reason}
        case Failed(error=error, result=result):
            counts = result.counts() if result is not None else {}
            return {"status": outcome.status, "error": error, **counts}
        case Completed(result=result):
            return {"status": outcome.status, **result.counts()}


def _described(subtask: Subtask) -> str:
    return ", ".join(need if isinstance(need, str) else " or ".join(need) for need in subtask.needs)


def ops_for(subtasks: Sequence[Subtask]) -> list[dg.OpDefinition]:
    """Return the ops of these subtasks, in order."""
    return [op_for(subtask) for subtask in subtasks]
