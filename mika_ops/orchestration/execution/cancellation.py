"""A run that is asked to stop ends as canceled, whoever asks.

Dagster marks a run canceled where its UI asked for it, and failed where its process was told to stop: by a deployment,
by a node that is drained, by ``systemctl stop``. Maintenance stops in order either way, and the next tick goes on where
it was, so neither is a failure that somebody must be told of.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from dagster._core.execution.context.system import PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan
    from dagster._core.execution.retries import RetryMode
    from dagster._core.execution.step_dependency_config import StepDependencyConfig


def cancel_on_interrupt(definition: dg.ExecutorDefinition) -> dg.ExecutorDefinition:
    """Return the executor whose runs end as canceled where they, or one of their steps, are interrupted."""
    return dg.ExecutorDefinition(
        name=definition.name,
        config_schema=definition.config_schema,  # type: ignore[arg-type]
        requirements=definition.get_requirements,
        executor_creation_fn=lambda context: CancelingExecutor(create_executor(definition, context)),
        description=definition.description,
    )


def create_executor(definition: dg.ExecutorDefinition, context: dg.InitExecutorContext) -> dg.Executor:
    """Return the executor that the definition makes."""
    create = definition.executor_creation_fn
    if create is None:
        raise TypeError(f"Dagster's {definition.name} has no executor to create")
    return create(context)


class CancelingExecutor(dg.Executor):
    """Asks Dagster to cancel a run that is interrupted, before its end is written: that is when Dagster looks at it.

    Only an executor sees all of a run: it may be interrupted in a step, between two, and as its resources are closed.
    """

    def __init__(self, executor: dg.Executor) -> None:
        self._executor = executor

    def __getattr__(self, name: str) -> Any:
        # Celery's asks the run's executor for what is its own.
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
                if event.is_step_failure and _is_interruption(event):
                    _cancel(plan_context)
                yield event
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
            _cancel(plan_context)
            raise


def _is_interruption(event: dg.DagsterEvent) -> bool:
    return event.step_failure_data.error_source.name == "INTERRUPT"


def _cancel(plan_context: "PlanOrchestrationContext") -> None:
    run = plan_context.instance.get_run_by_id(plan_context.run_id)
    if run is not None and run.status == dg.DagsterRunStatus.STARTED:
        plan_context.instance.report_run_canceling(run, message="The run's process was asked to stop.")
