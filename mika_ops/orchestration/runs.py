"""The runs in Dagster's history: their statuses, and when they started and ended."""

from datetime import UTC, datetime
from typing import Final

import dagster as dg

UNFINISHED: Final = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
"""The statuses of a run that has not ended yet."""

ENDED: Final = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
"""The three statuses in which a run ends."""


def started_at(record: dg.RunRecord) -> datetime:
    """Return when a run started; for a run that never did, when it was created."""
    return record.create_timestamp if record.start_time is None else _moment(record.start_time)


def ended_at(record: dg.RunRecord) -> datetime:
    """Return when a run ended; for a run without that time, when it last changed."""
    return record.update_timestamp if record.end_time is None else _moment(record.end_time)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
