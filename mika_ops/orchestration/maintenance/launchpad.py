"""What a person may choose when launching a run by hand."""

from typing import Any, Final

import dagster as dg
from pydantic import Field, create_model

from mika_ops.config.validators import LIMITED_SUBTASKS, require_limits, require_subtasks, require_time

RUN_RESOURCE: Final = "run"
"""The resource that holds the plan of a run."""

_LIMIT_FIELDS: Final[dict[str, Any]] = {
    name: (int | None, Field(None, description=f"At most so many by {name} in this run; 0 does nothing."))
    for name in LIMITED_SUBTASKS
}

LimitsConfig: type[dg.Config] = create_model("LimitsConfig", __base__=dg.Config, **_LIMIT_FIELDS)
"""One optional limit for each subtask that takes one."""


class InvalidLaunchpad(dg.DagsterError):
    """The launchpad asks for what cannot be done. Dagster shows its errors as they are, and wraps all others."""


class MaintenanceConfig(dg.Config):
    """The launchpad of a maintenance run. Everything is optional: an empty one does what the schedule does."""

    now: str | None = Field(
        None,
        description=(
            "The time for which the run judges what is due, as ISO 8601 such as 2026-03-01T12:00:00Z. "
            "Default: when the schedule planned the run, else now."
        ),
    )
    subtasks: list[str] = Field(
        [], description="Run these subtasks only, in their own order; the others are skipped. Default: all."
    )
    limits: LimitsConfig = Field(
        default_factory=LimitsConfig,
        description="Limits by subtask, in the place of those of MIKA_LIMITS. Default: drain until nothing is due.",
    )


def validate_launchpad(config: MaintenanceConfig) -> dict[str, Any]:
    """Return a launchpad's values. Raises ``InvalidLaunchpad`` with one sentence for what cannot be meant."""
    limits = {name: limit for name, limit in config.limits.model_dump().items() if limit is not None}
    try:
        if config.now is not None:
            require_time(config.now)
        require_subtasks(config.subtasks)
        require_limits(limits)
    except ValueError as error:
        raise InvalidLaunchpad(str(error)) from None
    return {"now": config.now, "subtasks": config.subtasks, "limits": limits}


def launchpad(console_level: str) -> dg.ConfigMapping:
    """Return what hands the launchpad's values to the run's resource; ``console_level``: the least that is printed."""

    @dg.config_mapping
    def to_run_config(config: MaintenanceConfig) -> dict[str, Any]:
        return {
            "resources": {RUN_RESOURCE: {"config": validate_launchpad(config)}},
            "loggers": {"console": {"config": {"log_level": console_level}}},
        }

    return to_run_config
