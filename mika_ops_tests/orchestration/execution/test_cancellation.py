"""A run whose process is asked to stop ends as canceled at any point, and raises no alert."""

import signal
from collections.abc import Callable

import dagster as dg
import pytest

from mika_ops.config.loading import isolated_settings
from mika_ops.host.host import Host
from mika_ops.orchestration.dagster_internals import create_run, execute_run
from mika_ops.orchestration.definitions import build_definitions
from mika_ops.orchestration.maintenance.job import JOB_NAME
from mika_ops_tests.orchestration.fake_host import Broken, whole_host

CANCELED, SUCCESS, FAILURE = dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE


def event_of(event_type: dg.DagsterEventType, step: str | None = None) -> Callable[[dg.EventLogEntry], bool]:
    def is_it(entry: dg.EventLogEntry) -> bool:
        event = entry.dagster_event
        return event is not None and (event.event_type, event.step_key) == (event_type, step)

    return is_it


def never(_entry: dg.EventLogEntry) -> bool:
    return False


def ended(host: Host, *, stopped_at: Callable[[dg.EventLogEntry], bool] = never) -> dg.DagsterRunStatus:
    """Run the job, ask its process to stop as it writes that event, and return how the run ended."""

    def stop(entry: dg.EventLogEntry) -> None:
        if stopped_at(entry):
            signal.raise_signal(signal.SIGTERM)

    job = build_definitions(host=host, settings=isolated_settings()).resolve_job_def(JOB_NAME)
    with dg.DagsterInstance.ephemeral() as instance:
        run = create_run(job, instance)
        instance.add_event_listener(run.run_id, stop)
        execute_run(job, run, instance)
        after = instance.get_run_by_id(run.run_id)
    assert after is not None
    return after.status


@pytest.mark.parametrize(
    "moment",
    [
        event_of(dg.DagsterEventType.RUN_START),
        event_of(dg.DagsterEventType.STEP_START, "email_outbox"),
        event_of(dg.DagsterEventType.STEP_OUTPUT, "email_outbox"),
        event_of(dg.DagsterEventType.STEP_SUCCESS, "email_outbox"),
        event_of(dg.DagsterEventType.STEP_SUCCESS, "summary"),
    ],
    ids=["as it starts", "as a step starts", "in a step", "between two steps", "as it closes its resources"],
)
def test_a_run_that_is_interrupted_is_canceled(moment: Callable[[dg.EventLogEntry], bool]) -> None:
    assert ended(whole_host(), stopped_at=moment) == CANCELED


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), dg.DagsterExecutionInterruptedError()])
def test_a_run_whose_subtask_is_interrupted_is_canceled(interruption: BaseException) -> None:
    assert ended(whole_host(reservation_release=Broken(interruption))) == CANCELED


def test_a_run_that_nobody_interrupts_ends_as_it_does() -> None:
    assert ended(whole_host()) == SUCCESS
    assert ended(whole_host(reservation_release=Broken())) == FAILURE
