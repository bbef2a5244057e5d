"""Validates cron strings and time zones, as Dagster accepts them."""

from typing import Final
from zoneinfo import ZoneInfo

EVERY_MINUTE: Final = "* * * * *"
"""The schedule of maintenance if no other is set."""


def require_cron(cron: str) -> str:
    """Return a cron string that Dagster can schedule. Raises ``ValueError`` for another."""
    if cron == EVERY_MINUTE:
        return cron
    # Imported only for another schedule: most commands need no Dagster.
    from dagster import DagsterInvalidDefinitionError, ScheduleDefinition

    try:
        ScheduleDefinition(name="checked", job_name="checked", cron_schedule=cron)
    except DagsterInvalidDefinitionError:
        raise ValueError(f"{cron!r} is no cron string: write five fields, such as */5 * * * *") from None
    return cron


def require_time_zone(name: str) -> str:
    """Return the name of a time zone that is known. Raises ``ValueError`` for another."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone: write one such as UTC or Europe/Berlin") from None
    return name
