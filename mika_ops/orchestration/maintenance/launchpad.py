"""The launchpad: what can be set for a run that is launched by hand."""

from typing import Any, Final

import dagster as dg
from pydantic import Field, create_model

from mika_ops.config.validators import LIMITED_SUBTASKS, require_limits, require_subtasks, require_time

RUN_RESOURCE: Final = "run"
"""The resource that holds the plan of the run."""

_LIMIT_FIELDS: Final[dict[str, Any]] = {
    name: (
        int | None,
        Field(None, description=f"Maximum number of items that {name} processes in this run; 0 processes none."),
    )
    for name in LIMITED_SUBTASKS
}

LimitsConfig: type[dg.Config] = create_model("LimitsConfig", __base__=dg.Config, **_LIMIT_FIELDS)
"""One optional limit for each subtask that accepts one."""


class InvalidLaunchpad(dg.DagsterError):
    """A value of the launchpad is not valid. It is a Dagster error, because Dagster shows those without a wrapper."""


class MaintenanceConfig(dg.Config):
    """The launchpad of a maintenance run. All fields are optional: an empty launchpad does what the schedule does."""

    now: str | None = Field(
        None,
        description=(
            "The time at which the run evaluates what is due, in ISO 8601, for example 2026-03-01T12:00:00Z. "
            "Default: the scheduled time of the run, or now."
        ),
    )
    subtasks: list[str] = Field(
        [], description="Run only these subtasks, in their fixed order; skip the others. Default: all."
    )
    limits: LimitsConfig = Field(
        default_factory=LimitsConfig,
        description="Limits by subtask; they override the setting limits. Default: process everything that is due.",
    )


def validate_launchpad(config: MaintenanceConfig) -> dict[str, Any]:
    """Return the values of a launchpad. Raises ``InvalidLaunchpad``, which names the first value that is not valid."""
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
    """Return the mapping from the launchpad to the run config; ``console_level``: the lowest level that is printed."""

    @dg.config_mapping
    def to_run_config(config: MaintenanceConfig) -> dict[str, Any]:
        return {
            "resources": {RUN_RESOURCE: {"config": validate_launchpad(config)}},
            "loggers": {"console": {"config": {"log_level": console_level}}},
        }

    return to_run_config
