"""The run history of a Dagster instance."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import dagster as dg

from mika_ops.orchestration.dagster_internals import count_runs, delete_logs, event_files, newest_run_ids
from mika_ops.orchestration.retention.policy import RecordedRun, RunEnding

_STATUSES: Final[dict[RunEnding, list[dg.DagsterRunStatus]]] = {
    "success": [dg.DagsterRunStatus.SUCCESS],
    "failure": [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED],
}


class InstanceHistory:
    """The history that a Dagster instance keeps. Fits ``mika_ops.orchestration.retention.policy.RunHistory``."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance

    def count(self, job: str, ending: RunEnding, *, before: datetime | None = None) -> int:
        """Return how many runs of a job have this ending."""
        return count_runs(self._instance, _ended(job, ending, before))

    def oldest(self, job: str, ending: RunEnding, *, before: datetime, limit: int) -> Sequence[RecordedRun]:
        """Return the runs of a job with this ending, the oldest first."""
        records = self._instance.get_run_records(_ended(job, ending, before), limit=limit, ascending=True)
        return [RecordedRun(record.dagster_run.run_id, record.storage_id) for record in records]

    def oldest_kept(self, job: str, ending: RunEnding, *, newest: int) -> int:
        """Return the position of the oldest of the ``newest`` runs; 0 if there are no more than these."""
        ids = newest_run_ids(self._instance, _ended(job, ending), limit=newest + 1)
        record = self._instance.get_run_record_by_id(ids[newest - 1]) if len(ids) > newest else None
        return 0 if record is None else record.storage_id

    def delete(self, run_id: str) -> int:
        """Delete a run with its logs, events and files; return how many files could not be removed.

        The run is deleted after its logs: if they cannot be deleted, the next attempt finds the run again.
        """
        delete_logs(self._instance, run_id)
        self._instance.delete_run(run_id)
        left = 0
        for file in event_files(self._instance, run_id):
            try:
                file.unlink(missing_ok=True)
            except OSError:
                left += 1
        return left


def keeps_its_own_history(instance: dg.DagsterInstance) -> bool:
    """Say whether runs are recorded by Dagster+, whose instances are classes of the package ``dagster_cloud``."""
    return any(base.__module__.partition(".")[0] == "dagster_cloud" for base in type(instance).__mro__)


def _ended(job: str, ending: RunEnding, before: datetime | None = None) -> dg.RunsFilter:
    # Dagster compares with UTC and ignores the time zone. ``before`` is in UTC, like all times of this package.
    return dg.RunsFilter(job_name=job, statuses=_STATUSES[ending], created_before=before)
