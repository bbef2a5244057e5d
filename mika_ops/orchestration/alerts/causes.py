"""The cause of an incident, from the events of a run."""

from collections.abc import Iterator
from typing import Final

import dagster as dg

from mika_ops.alerting import incidents
from mika_ops.monitoring.checks import CHECK_NAMES
from mika_ops.orchestration.dagster_internals import events_of_run
from mika_ops.orchestration.outcomes import read_outcomes
from mika_ops.redaction import redact
from mika_ops.subtasks.outcome import sentence_of

_CAUSES_READ: Final = 20


def cause_of(instance: dg.DagsterInstance, run_id: str, key: str) -> str | None:
    """Return the cause of an incident in a run, redacted: what its check, its subtask or its failure says."""
    if key in CHECK_NAMES:
        return _failed_check_sentence(instance, run_id, key)
    if key != incidents.RUN:
        outcome = read_outcomes(instance, run_id).get(key)
        cause = None if outcome is None else sentence_of(outcome)
        return redact(cause) if cause else None
    return "; ".join(redact(cause) for cause in _causes(instance, run_id) if cause) or None


def _failed_check_sentence(instance: dg.DagsterInstance, run_id: str, check: str) -> str | None:
    """Return the sentence of a failed check: a run logs each one that is an error."""
    for event in events_of_run(instance, run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        if event.asset_check_evaluation_data.check_name == check:
            return event.asset_check_evaluation_data.description
    return None


def _causes(instance: dg.DagsterInstance, run_id: str) -> Iterator[str]:
    for kind in (dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE):
        events = events_of_run(instance, run_id, kind, limit=_CAUSES_READ)
        yield from map(_event_error, events)
        if events:
            return


def _event_error(event: dg.DagsterEvent) -> str:
    data = event.event_specific_data
    failure = getattr(data, "user_failure_data", None)
    if failure is not None and failure.description:
        return str(failure.description)
    error = getattr(data, "error", None)
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return str(event.message)
    message: str = error.message
    return message.partition(f"{error.cls_name}: ")[2] or message
