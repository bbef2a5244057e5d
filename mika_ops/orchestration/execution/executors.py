"""The executor of a run: one of Dagster's own, selected by the settings."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from mika_ops.config.errors import SettingsError
from mika_ops.config.executor import broker_problem, missing_requirement
from mika_ops.config.settings import Settings
from mika_ops.config.shop import Shop, with_settings
from mika_ops.orchestration.execution.cancellation import create_executor

if TYPE_CHECKING:
    from celery import Celery


class BrokerUnavailable(dg.DagsterError):
    """The broker of the workers is unreachable. A Dagster error, because Dagster shows those without a wrapper."""


def executor_for(shop: Shop) -> dg.ExecutorDefinition:
    """Return the executor that the shop's settings name. Raises ``SettingsError`` if a requirement is missing."""
    settings = shop.settings
    if missing := missing_requirement(settings, shop.names):
        raise SettingsError(missing)
    match settings.executor:
        case "in_process":
            return dg.in_process_executor
        case "multiprocess":
            # One worker for each shard: they wait for the mail server more than for a processor.
            return dg.multiprocess_executor.configured(
                {"max_concurrent": settings.shards, "start_method": {"forkserver": {}}}, name="multiprocess"
            )
        case "celery":
            return _celery(shop)
        case "k8s":
            from dagster_k8s import k8s_job_executor

            return k8s_job_executor


def celery_app(shop: Shop) -> "Celery":
    """Return the app of a Celery worker for this shop. Raises ``SettingsError`` if a requirement is missing."""
    executor_for(with_settings(shop, executor="celery"))
    from dagster_celery.make_app import make_app
    from dagster_celery.tasks import create_task

    app: Celery = make_app(_app_arguments(shop.settings))  # type: ignore[no-untyped-call]
    create_task(app)  # type: ignore[no-untyped-call]
    return app


def _app_arguments(settings: Settings) -> dict[str, Any]:
    """Return the options that the executor and its workers must share."""
    url = "" if settings.celery_broker_url is None else settings.celery_broker_url.get_secret_value()
    options: dict[str, Any] = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5}
    if url.startswith("redis"):
        # After this time Redis redelivers the task of a lost worker. A shard ends within the time budget of the run.
        options["visibility_timeout"] = max(30, round(2 * settings.time_budget_seconds))
    return {
        "broker": url,
        "backend": url if url.startswith("redis") else "rpc://",
        "config_source": {
            # Another worker repeats the task of a worker that is killed: a shard can safely run twice.
            "task_acks_late": True,
            "task_reject_on_worker_lost": True,
            "worker_prefetch_multiplier": 1,
            "task_default_queue": "dagster",
            "broker_transport_options": options,
            "broker_connection_retry_on_startup": True,
            "result_expires": 3600,
        },
    }


def _celery(shop: Shop) -> dg.ExecutorDefinition:
    from dagster_celery import celery_executor

    # Without a config schema: it would hold the broker's password, and the launchpad would show it.
    @dg.executor(name="celery", requirements=dg.multiple_process_executor_requirements())
    def celery(context: dg.InitExecutorContext) -> dg.Executor:
        if problem := broker_problem(shop.settings, shop.names):
            raise BrokerUnavailable(f"Nothing was changed: {problem}.")
        arguments = _app_arguments(shop.settings)
        config = {**arguments, "include": [], "retries": {"disabled": {}}}
        return create_executor(
            celery_executor,
            dg.InitExecutorContext(
                job=context.job, executor_def=context.executor_def, executor_config=config, instance=context.instance
            ),
        )

    return celery
