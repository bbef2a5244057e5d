"""The summary of a run: what it came to, what it left, whether the shop is in order, and what is plotted of it."""

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

CHECKS_TOLD_EVERY: Final = timedelta(hours=6)
"""How often a check that goes on passing is told again: each costs four kilobytes, which no retention deletes."""

RUNS_SHOWN: Final = 5
"""How many of the runs before are shown in the overview."""

Event: TypeAlias = dg.AssetObservation | dg.AssetCheckEvaluation | dg.Output[None]
"""What the summary yields."""


@dg.op(
    description=(
        "Sums up the run in one structured line: a warning where any subtask failed. Looks at what is left, checks "
        "whether the shop is in order, and observes its assets. "
        f"Fails the run where one of these failed: {', '.join(sorted(FAIL_RUN_ON))}."
    ),
    required_resource_keys={RUN_RESOURCE, BACKLOG},
    ins={AFTER: dg.In(dg.Nothing, description="All subtasks have ended.")},
    out=dg.Out(dg.Nothing, description="The run as a table, as metadata, and how many subtasks ended how."),
)
def summary(context: dg.OpExecutionContext) -> Iterator[Event]:
    """Yield what is observed, log the run's result, and raise where the run must fail."""
    plan: RunPlan = getattr(context.resources, RUN_RESOURCE)
    outcomes = read_outcomes(context.instance, context.run_id, chosen=plan.selected)
    if not outcomes:
        # "Re-execute from failure" runs the summary alone: without this, it would turn a failed run green.
        raise dg.Failure("No subtask was part of this run: re-execute all of it, not the summary alone.")
    standing = _standing(context, plan)
    findings = {} if standing is None else run_checks(standing, plan.settings)
    before = context.instance.get_run_records(
        dg.RunsFilter(job_name=context.job_name, statuses=ENDED), limit=RUNS_SHOWN
    )
    tags = result_tags(outcomes, findings, before=context.run.tags)
    add_run_tags(context.instance, context.run_id, tags)
    newest = next((record for record in before if _was_summed_up(record)), None)
    yield from _observed(plan, outcomes, standing, findings, newest)
    if is_heartbeat(utc_now(), _started_at(newest), every=HOUR):
        _roll_up(context, plan)

    failed = {name: outcome.error for name, outcome in outcomes.items() if isinstance(outcome, Failed)}
    facts = {name: to_metadata(outcome) for name, outcome in outcomes.items()}
    line = json.dumps({"now": plan.clock.scheduled_at, **facts}, ensure_ascii=False)
    (context.log.warning if failed else context.log.info)("%s %s", context.job_name, line)
    metadata: dict[str, Any] = {
        "overview": dg.MetadataValue.md(overview(outcomes, standing, findings, before, url=plan.settings.dagster_url)),
        **count_statuses(outcomes.values()),
        "unreadable_documents": 0 if standing is None else standing.backlog.unreadable,
    }
    fatal = [f"{name}: {error}" for name, error in failed.items() if name in FAIL_RUN_ON]
    if fatal:
        raise dg.Failure("; ".join(fatal), metadata=metadata, allow_retries=False)
    yield dg.Output(None, metadata=metadata)


def _standing(context: dg.OpExecutionContext, plan: RunPlan) -> ShopSnapshot | None:
    """Read what is left; where it cannot be read, that takes nothing from what the run did."""
    reader = getattr(context.resources, BACKLOG)
    if reader is None:
        return None
    try:
        standing = take_snapshot(reader, run_options_from(plan.settings), now=plan.clock.scheduled_at)
    except Exception as failure:  # noqa: BLE001 - see above
        context.log.warning("what is left could not be read: %s", describe_error(failure))
        return None
    if standing.backlog.unreadable:
        context.log.warning(
            "%d documents are no JSON objects with a type; mend or remove them: %s",
            standing.backlog.unreadable,
            ", ".join(standing.backlog.unreadable_ids),
        )
    return standing


def _observed(
    plan: RunPlan,
    outcomes: Mapping[str, Outcome],
    standing: ShopSnapshot | None,
    findings: Mapping[str, CheckResult],
    before: dg.RunRecord | None,
) -> Iterator[Event]:
    """Yield what is worth an event: a shop that is idle and in order adds none but at its heartbeats."""
    now, last = utc_now(), _started_at(before)
    often = timedelta(minutes=plan.settings.heartbeat_minutes)
    heartbeat = is_heartbeat(now, last, every=often)
    all_checks = is_heartbeat(now, last, every=max(often, CHECKS_TOLD_EVERY))
    yield from observations(outcomes, standing, plan.shop, heartbeat=heartbeat)
    failed_before = names_in(before.dagster_run.tags, UNHEALTHY_TAG) if before else frozenset()
    for name, evaluation in evaluations(findings, plan.settings, plan.shop).items():
        turned = evaluation.passed is (name in failed_before)
        failing = not evaluation.passed and (heartbeat or name in plan.settings.check_errors)
        if all_checks or turned or failing:
            yield evaluation


def _roll_up(context: dg.OpExecutionContext, plan: RunPlan) -> None:
    try:
        roll_up(context.instance, context.job_name, plan.shop, now=utc_now())
    except Exception as failure:  # noqa: BLE001 - a plot that misses an hour is no reason to fail a run
        context.log.warning("the last hour could not be added up: %s", describe_error(failure))


def overview(
    outcomes: Mapping[str, Outcome],
    standing: ShopSnapshot | None,
    findings: Mapping[str, CheckResult],
    before: Sequence[dg.RunRecord],
    *,
    url: str | None,
) -> str:
    """Return the run as Markdown: a line for each subtask, the checks that fail, and the runs before."""
    due = {} if standing is None else standing.backlog.due
    lines = ["| subtask | status | counts, or why not | ms | left |", "| --- | --- | --- | ---: | ---: |"]
    for name, outcome in outcomes.items():
        left = due[name].count if name in due else "–"
        lines.append(
            f"| {name} | {outcome.status} | {_cell(format_outcome(outcome))} | {outcome.duration_ms} | {left} |"
        )
    if findings:
        failing = {name: finding.sentence for name, finding in findings.items() if not finding.passed}
        told_of = [f"- **{name}**: {_cell(sentence)}" for name, sentence in failing.items()]
        lines += ["", *(told_of or [f"All {len(findings)} checks pass."])]
    if before:
        lines += ["", "| before | ended | failed | completed |", "| --- | --- | --- | --- |"]
        lines += [_told_of(record, url) for record in before]
    return "\n".join(lines)


def _told_of(record: dg.RunRecord, url: str | None) -> str:
    run, ended = record.dagster_run, ended_at(record)
    link = f"{'' if url is None else url.rstrip('/')}/runs/{run.run_id}"
    names = [", ".join(sorted(names_in(run.tags, tag))) or "–" for tag in (FAILED_TAG, COMPLETED_TAG)]
    status = run.status.value.lower()
    return f"| [{run.run_id[:8]}]({link}) {status} | {ended:%Y-%m-%d %H:%M} UTC | {' | '.join(names)} |"


def _was_summed_up(record: dg.RunRecord) -> bool:
    """Say whether a run came as far as its summary: one that was killed before it observed nothing."""
    return any(tag in record.dagster_run.tags for tag in RESULT_TAGS)


def _started_at(record: dg.RunRecord | None) -> datetime | None:
    # Not when it ended: of a run that goes on over the hour, the next one is the first of the new hour all the same.
    return None if record is None else started_at(record)


def _cell(text: str) -> str:
    return text.replace("|", "&#124;").replace("\n", " ")
