"""Reading what a person writes about when to run: cron strings and time zones, as Dagster takes them."""

from zoneinfo import ZoneInfo


def require_cron(cron: str) -> str:
    """Return a cron string that Dagster can schedule. Raises ``ValueError`` for another."""
    # Loaded here only: most settings are read without a schedule of one's own.
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
