"""The summary of a run: its outcomes, the remaining backlog, the checks, and the asset observations."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

import dagster as dg

from mika_ops.clock import utc_now
from mika_ops.config.settings import run_options_from
from mika_ops.monitoring.checks import CheckResult, run_checks
from mika_ops.monitoring.snapshot import ShopSnapshot, take_snapshot
from mika_ops.orchestration.dagster_internals import add_run_tags
from mika_ops.orchestration.maintenance.launchpad import RUN_RESOURCE
from mika_ops.orchestration.maintenance.ops import (
    AFTER,
    BACKLOG,
    FAIL_RUN_ON,
)
from mika_ops.orchestration.maintenance.resources import RunPlan
from mika_ops.orchestration.observability.assets import is_heartbeat, observations
from mika_ops.orchestration.observability.checks import evaluations
from mika_ops.orchestration.observability.rollup import HOUR, roll_up
from mika_ops.orchestration.outcomes import read_outcomes, result_tags, to_metadata
from mika_ops.orchestration.runs import ENDED, ended_at, started_at
from mika_ops.orchestration.tags import (
    COMPLETED_TAG,
    FAILED_TAG,
    RESULT_TAGS,
    UNHEALTHY_TAG,
    names_in,
)
from mika_ops.redaction import describe_error
from mika_ops.subtasks.outcome import Failed, Outcome, count_statuses, format_outcome

CHECKS_REPEATED_EVERY: Final = timedelta(hours=6)
"""How often a check that still passes is logged again: each costs four kilobytes, which no retention deletes."""

RUNS_SHOWN: Final = 5
"""The number of earlier runs that the overview shows."""

Event: TypeAlias = dg.AssetObservation | dg.AssetCheckEvaluation | dg.Output[None]
"""What the summary yields."""


@dg.op(
    description=(
        "Logs the result of the run in one structured line, as a warning if any subtask failed. Reads the remaining "
        "backlog, runs the checks and records the asset observations. "
        f"Fails the run if one of these subtasks failed: {', '.join(sorted(FAIL_RUN_ON))}."
    ),
    required_resource_keys={RUN_RESOURCE, BACKLOG},
    ins={AFTER: dg.In(dg.Nothing, description="The last subtask. All subtasks have ended.")},
    out=dg.Out(dg.Nothing, description="The run as a table and the number of subtasks by status, as metadata."),
)
def summary(context: dg.OpExecutionContext) -> Iterator[Event]:
    """Yield the observations and checks, log the result of the run, and raise if the run must fail."""
    plan: RunPlan = getattr(context.resources, RUN_RESOURCE)
    settings = plan.shop.settings
    outcomes = read_outcomes(context.instance, context.run_id, chosen=plan.selected)
    if not outcomes:
        # "Re-execute from failure" runs only the summary: without this, it would turn a failed run green.
        raise dg.Failure("No subtask was part of this run: re-execute the whole run, not only the summary.")
    snapshot = _read_snapshot(context, plan)
    results = {} if snapshot is None else run_checks(snapshot, settings)
    before = context.instance.get_run_records(
        dg.RunsFilter(job_name=context.job_name, statuses=ENDED), limit=RUNS_SHOWN
    )
    tags = result_tags(outcomes, results, before=context.run.tags)
    add_run_tags(context.instance, context.run_id, tags)
    newest = next((record for record in before if _has_summary(record)), None)
    yield from _events_of(plan, outcomes, snapshot, results, newest)
    if is_heartbeat(utc_now(), _started_at(newest), every=HOUR):
        _roll_up(context, plan)

    failed = {name: outcome.error for name, outcome in outcomes.items() if isinstance(outcome, Failed)}
    facts = {name: to_metadata(outcome) for name, outcome in outcomes.items()}
    line = json.dumps({"now": plan.clock.scheduled_at, **facts}, ensure_ascii=False)
    (context.log.warning if failed else context.log.info)("%s %s", context.job_name, line)
    metadata: dict[str, Any] = {
        "overview": dg.MetadataValue.md(overview(outcomes, snapshot, results, before, url=settings.dagster_url)),
        **count_statuses(outcomes.values()),
        "unreadable_documents": 0 if snapshot is None else snapshot.backlog.unreadable,
    }
    fatal = [f"{name}: {error}" for name, error in failed.items() if name in FAIL_RUN_ON]
    if fatal:
        raise dg.Failure("; ".join(fatal), metadata=metadata, allow_retries=False)
    yield dg.Output(None, metadata=metadata)


def _read_snapshot(context: dg.OpExecutionContext, plan: RunPlan) -> ShopSnapshot | None:
    """Read the remaining backlog. If that fails, the run still succeeds: it is logged, and no check runs."""
    reader = getattr(context.resources, BACKLOG)
    if reader is None:
        return None
    try:
        snapshot = take_snapshot(reader, run_options_from(plan.shop.settings), now=plan.clock.scheduled_at)
    except Exception as failure:  # noqa: BLE001 - see above
        context.log.warning("cannot read the remaining backlog: %s", describe_error(failure))
        return None
    if snapshot.backlog.unreadable:
        context.log.warning(
            "%d documents are not JSON objects with a type; fix or remove them: %s",
            snapshot.backlog.unreadable,
            ", ".join(snapshot.backlog.unreadable_ids),
        )
    return snapshot


def _events_of(
    plan: RunPlan,
    outcomes: Mapping[str, Outcome],
    snapshot: ShopSnapshot | None,
    results: Mapping[str, CheckResult],
    before: dg.RunRecord | None,
) -> Iterator[Event]:
    """Yield what is worth an event: an idle shop without a failing check adds events only at its heartbeats."""
    now, last = utc_now(), _started_at(before)
    interval = timedelta(minutes=plan.shop.settings.heartbeat_minutes)
    heartbeat = is_heartbeat(now, last, every=interval)
    all_checks = is_heartbeat(now, last, every=max(interval, CHECKS_REPEATED_EVERY))
    yield from observations(outcomes, snapshot, plan.shop.name, heartbeat=heartbeat)
    failed_before = names_in(before.dagster_run.tags, UNHEALTHY_TAG) if before else frozenset()
    for name, evaluation in evaluations(results, plan.shop).items():
        changed = evaluation.passed is (name in failed_before)
        failing = not evaluation.passed and (heartbeat or name in plan.shop.settings.check_errors)
        if all_checks or changed or failing:
            yield evaluation


def _roll_up(context: dg.OpExecutionContext, plan: RunPlan) -> None:
    try:
        roll_up(context.instance, context.job_name, plan.shop.name, now=utc_now())
    except Exception as failure:  # noqa: BLE001 - a plot without one hour is no reason to fail a run
        context.log.warning("cannot roll up the last hour: %s", describe_error(failure))


def overview(
    outcomes: Mapping[str, Outcome],
    snapshot: ShopSnapshot | None,
    results: Mapping[str, CheckResult],
    before: Sequence[dg.RunRecord],
    *,
    url: str | None,
) -> str:
    """Return the run as Markdown: one line for each subtask, the failing checks, and the runs before."""
    due = {} if snapshot is None else snapshot.backlog.due
    lines = ["| subtask | status | counts, or why not | ms | left |", "| --- | --- | --- | ---: | ---: |"]
    for name, outcome in outcomes.items():
        left = due[name].count if name in due else "–"
        lines.append(
            f"| {name} | {outcome.status} | {_cell(format_outcome(outcome))} | {outcome.duration_ms} | {left} |"
        )
    if results:
        failing = {name: result.sentence for name, result in results.items() if not result.passed}
        failed = [f"- **{name}**: {_cell(sentence)}" for name, sentence in failing.items()]
        lines += ["", *(failed or [f"All {len(results)} checks pass."])]
    if before:
        lines += ["", "| before | ended | failed | completed |", "| --- | --- | --- | --- |"]
        lines += [_run_line(record, url) for record in before]
    return "\n".join(lines)


def _run_line(record: dg.RunRecord, url: str | None) -> str:
    run, ended = record.dagster_run, ended_at(record)
    link = f"{'' if url is None else url.rstrip('/')}/runs/{run.run_id}"
    names = [", ".join(sorted(names_in(run.tags, tag))) or "–" for tag in (FAILED_TAG, COMPLETED_TAG)]
    status = run.status.value.lower()
    return f"| [{run.run_id[:8]}]({link}) {status} | {ended:%Y-%m-%d %H:%M} UTC | {' | '.join(names)} |"


def _has_summary(record: dg.RunRecord) -> bool:
    """Say whether a run reached its summary: a run that was killed before has observed nothing."""
    return any(tag in record.dagster_run.tags for tag in RESULT_TAGS)


def _started_at(record: dg.RunRecord | None) -> datetime | None:
    # Not the end: after a run that continues past the hour, the next run is still the first of the new hour.
    return None if record is None else started_at(record)


def _cell(text: str) -> str:
    return text.replace("|", "&#124;").replace("\n", " ")
