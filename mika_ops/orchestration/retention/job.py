"""The job ``mika_history_retention``: a job that runs every minute must not fill Dagster's storage indefinitely."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import dagster as dg
from pydantic import Field

from mika_ops.clock import utc_now
from mika_ops.config.shop import Shop
from mika_ops.deadline import Deadline
from mika_ops.orchestration.execution.cancellation import cancel_on_interrupt
from mika_ops.orchestration.maintenance.launchpad import InvalidLaunchpad
from mika_ops.orchestration.retention.instance_history import InstanceHistory, keeps_its_own_history
from mika_ops.orchestration.retention.policy import Retention, RetentionResult, delete_expired
from mika_ops.orchestration.tags import SHOP_TAG

HISTORY_JOB_NAME: Final = "mika_history_retention"


OP_NAME: Final = "history_retention"


DAILY: Final = "17 4 * * *"
"""At night, and not at a full hour, when other jobs start."""


TIME_BUDGET: Final = timedelta(minutes=10)
"""How long one run deletes before it leaves the rest to the next run."""


KEEPS_ITS_OWN: Final = "Dagster+ keeps the history of runs itself"


class HistoryConfig(dg.Config):
    """The launchpad of the job. All fields are optional: an empty launchpad does what the schedule does."""

    dry_run: bool = Field(False, description="Count and name what would be deleted, and delete nothing.")
    success_days: float | None = Field(
        None, description="Days for which runs that succeeded are kept. Default: the setting history_success_days."
    )
    failure_days: float | None = Field(
        None,
        description=(
            "Days for which runs that failed or were canceled are kept. Default: the setting history_failure_days."
        ),
    )
    keep_runs: int | None = Field(
        None,
        description="How many of the newest runs of each job and ending stay. Default: the setting history_keep_runs.",
    )


class RetentionConfig(dg.Config):
    """The config of the op: the launchpad's values and, where it has none, those of the settings."""

    jobs: list[str]
    dry_run: bool
    success_days: float
    failure_days: float
    keep_runs: int


_RANGES: Final = {"success_days": (0, 36_500), "failure_days": (0, 36_500), "keep_runs": (1, 100_000)}
"""The same as those of the settings."""


def validate_launchpad(config: HistoryConfig) -> dict[str, Any]:
    """Return the values of a launchpad. Raises ``InvalidLaunchpad``, which names the first value out of range."""
    given = {name: value for name, value in config.model_dump().items() if value is not None}
    for name, (least, most) in _RANGES.items():
        if name in given and not least <= given[name] <= most:
            raise InvalidLaunchpad(f"{name} is {given[name]:g}: it must be between {least} and {most}")
    return given


@dg.op(
    name=OP_NAME,
    description=(
        "Deletes the runs of these jobs whose retention is over, the oldest first, with their events and logs. Runs "
        "under way, runs of other jobs and the newest runs stay. Fails if a run could not be deleted, after all others."
    ),
    out=dg.Out(dg.Nothing, description="What was deleted, is kept and remains, as metadata."),
)
def history_retention(context: dg.OpExecutionContext, config: RetentionConfig) -> dg.Output[None]:
    """Delete the runs whose retention is over, and raise if one could not be deleted."""
    instance = context.instance
    if keeps_its_own_history(instance):
        context.log.info("skipped: %s", KEEPS_ITS_OWN)
        return dg.Output(None, metadata={"status": "skipped", "reason": KEEPS_ITS_OWN})
    started = utc_now()
    done = delete_expired(
        InstanceHistory(instance),
        config.jobs,
        Retention(config.success_days, config.failure_days, config.keep_runs),
        now=started,
        out_of_time=Deadline.at_time(started + TIME_BUDGET, utc_now).has_passed,
        dry_run=config.dry_run,
    )
    metadata = _metadata(done, dry_run=config.dry_run, seconds=(utc_now() - started).total_seconds())
    if done.failed:
        raise dg.Failure(
            f"Runs that could not be deleted: {len(done.failed)}. The log has the reasons; the next run retries them.",
            metadata=metadata,
            allow_retries=False,
        )
    return dg.Output(None, metadata={"status": "completed", **metadata})


def history_job(shop: Shop, *, jobs: Sequence[str]) -> dg.JobDefinition:
    """Return the job that deletes the old runs of ``jobs``, by name, and its own. Each shop has its own job."""
    settings = shop.settings
    name = HISTORY_JOB_NAME if shop.name is None else f"{HISTORY_JOB_NAME}_{shop.name}"

    @dg.config_mapping
    def to_run_config(config: HistoryConfig) -> dict[str, Any]:
        plan = {
            "jobs": [*jobs, name],
            "success_days": settings.history_success_days,
            "failure_days": settings.history_failure_days,
            "keep_runs": settings.history_keep_runs,
        }
        return {"ops": {OP_NAME: {"config": plan | validate_launchpad(config)}}}

    @dg.job(
        name=name,
        description=(
            f"Deletes old runs of {', '.join(jobs)} and of itself from Dagster's history: those that succeeded after "
            f"{settings.history_success_days:g} days, those that failed after {settings.history_failure_days:g}; the "
            f"newest {settings.history_keep_runs} of each stay."
        ),
        config=to_run_config,
        executor_def=cancel_on_interrupt(dg.in_process_executor),
        tags={"mika": "history"} | ({} if shop.name is None else {SHOP_TAG: shop.name}),
    )
    def mika_history_retention() -> None:
        history_retention()

    return mika_history_retention


def history_schedule(shop: Shop, job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Return the daily schedule; it runs as soon as it is deployed."""
    return dg.ScheduleDefinition(
        name=f"{job.name}_schedule",
        job=job,
        cron_schedule=DAILY,
        execution_timezone=shop.settings.maintenance_timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Deletes old runs every day at 04:17 ({shop.settings.maintenance_timezone}).",
    )


def _metadata(done: RetentionResult, *, dry_run: bool, seconds: float) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "dry_run": dry_run,
        "deleted_success": done.deleted_success,
        "deleted_failure": done.deleted_failure,
        "kept": done.kept,
        "remaining": done.remaining,
        "failed": len(done.failed),
        "files_left": done.files_left,
        "duration_ms": round(seconds * 1000),
    }
    if done.failed:
        metadata["failed_ids"] = "\n".join(done.failed[:100])
    if done.next_ids:
        metadata["next_ids"] = "\n".join(done.next_ids)
    return metadata
