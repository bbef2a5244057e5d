"""What executes a run: Dagster's own engines, chosen by a setting."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from mika_ops.settings import Settings, SettingsError

if TYPE_CHECKING:
    from celery import Celery

CONNECT_TIMEOUT_SECONDS: Final = 5.0

_EXTRAS: Final = {"celery": "dagster_celery", "k8s": "dagster_k8s"}
"""The module that an executor needs, where it comes with an extra of its own name."""


class BrokerUnavailable(dg.DagsterError):
    """The broker of the workers cannot be reached. Dagster shows its errors as they are, and wraps all others."""


def executor_for(settings: Settings) -> dg.ExecutorDefinition:
    """Return the executor that the settings name. Raises ``SettingsError`` where it misses what it needs."""
    name = settings.executor
    if name in _EXTRAS and find_spec(_EXTRAS[name]) is None:
        raise SettingsError(f"MIKA_EXECUTOR={name} needs an extra: pip install 'mika-ops[{name}]'")
    if name == "celery" and settings.celery_broker_url is None:
        raise SettingsError("MIKA_EXECUTOR=celery needs MIKA_CELERY_BROKER_URL, the address of its broker")
    match name:
        case "in_process":
            return dg.in_process_executor
        case "multiprocess":
            # A worker for each shard: they wait for the mail server more than for a processor.
            return dg.multiprocess_executor.configured(
                {"max_concurrent": settings.shards, "start_method": {"forkserver": {}}}, name="multiprocess"
            )
        case "celery":
            return _celery(settings)
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


def _celery(settings: Settings) -> dg.ExecutorDefinition:
    from dagster_celery import celery_executor

    # Without a configuration of its own: it would hold the broker's password, and be shown in the launchpad.
    @dg.executor(name="celery", requirements=dg.multiple_process_executor_requirements())
    def celery(context: dg.InitExecutorContext) -> dg.Executor:
        arguments = _app_arguments(settings)
        require_broker(arguments["broker"])
        create = celery_executor.executor_creation_fn
        if create is None:
            raise TypeError("dagster-celery has no executor to create")
        return create(context._replace(executor_config={**arguments, "include": [], "retries": {"disabled": {}}}))

    return celery


def require_broker(url: str) -> None:
    """Raise ``BrokerUnavailable`` where the broker cannot be reached."""
    from kombu.connection import Connection

    try:
        with Connection(url, connect_timeout=CONNECT_TIMEOUT_SECONDS) as connection:  # type: ignore[no-untyped-call]
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=CONNECT_TIMEOUT_SECONDS)
    except Exception as error:  # noqa: BLE001 - whatever the transport raises, its text may hold the password
        raise BrokerUnavailable(
            f"Nothing was changed: the broker of MIKA_CELERY_BROKER_URL cannot be reached "
            f"({type(error).__name__}). Start it, mend its address, or do without by MIKA_EXECUTOR=in_process."
        ) from None
