"""A run that is asked to stop ends as canceled, whoever asks.

Dagster marks a run as canceled if its UI asked for it, and as failed if its process was asked to stop: by a deployment,
by a node that is drained, by ``systemctl stop``. Maintenance shuts down gracefully either way, and the next tick
continues where it stopped. So neither is a failure that needs an alert.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from mika_ops.orchestration.dagster_internals import is_interruption, mark_canceling

if TYPE_CHECKING:
    from mika_ops.orchestration.dagster_internals import (
        ExecutionPlan,
        PlanOrchestrationContext,
        RetryMode,
        StepDependencyConfig,
    )


def cancel_on_interrupt(definition: dg.ExecutorDefinition) -> dg.ExecutorDefinition:
    """Return the executor with one difference: a run ends as canceled if it, or one of its steps, is interrupted."""
    return dg.ExecutorDefinition(
        name=definition.name,
        config_schema=definition.config_schema,  # type: ignore[arg-type]
        requirements=definition.get_requirements,
        executor_creation_fn=lambda context: CancelingExecutor(create_executor(definition, context)),
        description=definition.description,
    )


def create_executor(definition: dg.ExecutorDefinition, context: dg.InitExecutorContext) -> dg.Executor:
    """Return the executor that a definition creates."""
    create = definition.executor_creation_fn
    if create is None:
        raise TypeError(f"Dagster's {definition.name} has no executor to create")
    return create(context)


class CancelingExecutor(dg.Executor):
    """Asks Dagster to cancel a run that is interrupted, before Dagster writes how the run ended.

    Only an executor covers all of a run: it may be interrupted in a step, between two steps, and while its resources
    are closed.
    """

    def __init__(self, executor: dg.Executor) -> None:
        self._executor = executor

    def __getattr__(self, name: str) -> Any:
        # Celery's code reads attributes of its own executor from the executor of the run.
        return getattr(self._executor, name)

    @property
    def retries(self) -> "RetryMode":
        return self._executor.retries

    @property
    def step_dependency_config(self) -> "StepDependencyConfig":
        return self._executor.step_dependency_config

    def execute(
        self, plan_context: "PlanOrchestrationContext", execution_plan: "ExecutionPlan"
    ) -> Iterator[dg.DagsterEvent]:
        try:
            for event in self._executor.execute(plan_context, execution_plan):
                if is_interruption(event):
                    _cancel(plan_context)
                yield event
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
            _cancel(plan_context)
            raise


def _cancel(plan_context: "PlanOrchestrationContext") -> None:
    run = plan_context.instance.get_run_by_id(plan_context.run_id)
    if run is not None and run.status == dg.DagsterRunStatus.STARTED:
        mark_canceling(plan_context.instance, run, "The run's process was asked to stop.")
