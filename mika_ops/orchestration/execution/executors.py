"""What executes a run: Dagster's own engines, chosen by a setting."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from mika_ops.config.errors import SettingsError
from mika_ops.config.executor import broker_problem, missing_requirement
from mika_ops.config.loading import for_shop
from mika_ops.config.settings import Settings
from mika_ops.orchestration.execution.cancellation import create_executor

if TYPE_CHECKING:
    from celery import Celery


class BrokerUnavailable(dg.DagsterError):
    """The broker of the workers cannot be reached. Dagster shows its errors as they are, and wraps all others."""


def executor_for(settings: Settings, *, shop: str | None = None) -> dg.ExecutorDefinition:
    """Return the executor that the settings name. Raises ``SettingsError`` where it misses what it needs.

    ``shop``: its name, where there are several.
    """
    if missing := missing_requirement(settings):
        raise SettingsError(missing)
    match settings.executor:
        case "in_process":
            return dg.in_process_executor
        case "multiprocess":
            # A worker for each shard: they wait for the mail server more than for a processor.
            return dg.multiprocess_executor.configured(
                {"max_concurrent": settings.shards, "start_method": {"forkserver": {}}}, name="multiprocess"
            )
        case "celery":
            return _celery(settings, shop)
        case "k8s":
            from dagster_k8s import k8s_job_executor

            return k8s_job_executor


def celery_app(settings: Settings) -> "Celery":
    """Return the app of a Celery worker for this shop. Raises ``SettingsError`` where it misses what it needs."""
    executor_for(settings.model_copy(update={"executor": "celery"}))
    from dagster_celery.make_app import make_app
    from dagster_celery.tasks import create_task

    app: Celery = make_app(_app_arguments(settings))  # type: ignore[no-untyped-call]
    create_task(app)  # type: ignore[no-untyped-call]
    return app


def _app_arguments(settings: Settings) -> dict[str, Any]:
    """Return what the executor and its workers must agree on."""
    url = "" if settings.celery_broker_url is None else settings.celery_broker_url.get_secret_value()
    options: dict[str, Any] = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5}
    if url.startswith("redis"):
        # When Redis gives a task of a lost worker to another. A shard ends by itself after the run's time budget.
        options["visibility_timeout"] = max(30, round(2 * settings.time_budget_seconds))
    return {
        "broker": url,
        "backend": url if url.startswith("redis") else "rpc://",
        "config_source": {
            # A worker that is killed has its task done by another: a shard is safe to do twice.
            "task_acks_late": True,
            "task_reject_on_worker_lost": True,
            "worker_prefetch_multiplier": 1,
            "task_default_queue": "dagster",
            "broker_transport_options": options,
            "broker_connection_retry_on_startup": True,
            "result_expires": 3600,
        },
    }


def _celery(settings: Settings, shop: str | None) -> dg.ExecutorDefinition:
    from dagster_celery import celery_executor

    # Without a configuration of its own: it would hold the broker's password, and be shown in the launchpad.
    @dg.executor(name="celery", requirements=dg.multiple_process_executor_requirements())
    def celery(context: dg.InitExecutorContext) -> dg.Executor:
        if problem := broker_problem(settings):
            raise BrokerUnavailable(f"Nothing was changed: {for_shop(shop, problem)}.")
        arguments = _app_arguments(settings)
        config = {**arguments, "include": [], "retries": {"disabled": {}}}
        return create_executor(
            celery_executor,
            dg.InitExecutorContext(
                job=context.job, executor_def=context.executor_def, executor_config=config, instance=context.instance
            ),
        )

    return celery
