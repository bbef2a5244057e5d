"""The retention of runs in the history: which runs may be deleted, and their deletion, the oldest first.

A run may be deleted once it has ended, its retention is over, and it is not one of the newest of its job and ending.
Each run is deleted on its own, so the next run of the job continues after an interruption.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol, get_args

from mika_ops.deadline import OutOfTime, never_out_of_time
from mika_ops.redaction import describe_error

logger: Final = logging.getLogger(__name__)

BATCH: Final = 100
"""The number of runs that one query reads, and that are deleted between two lines of the log."""

IDS_NAMED: Final = 10
"""The number of ids that are named for each job and ending."""

RunEnding = Literal["success", "failure"]
"""How a run ended; a canceled run counts as failed."""

ENDINGS: Final[tuple[RunEnding, ...]] = get_args(RunEnding)


@dataclass(frozen=True)
class RecordedRun:
    """A run in the history. ``position`` grows with every recorded run of any job."""

    id: str
    position: int


class RunHistory(Protocol):
    """The storage of runs. ``job``: the name of a job; ``before``: an aware time before which runs were created."""

    def count(self, job: str, ending: RunEnding, *, before: datetime | None = None) -> int:
        """Return how many runs of a job have this ending."""
        ...

    def oldest(self, job: str, ending: RunEnding, *, before: datetime, limit: int) -> Sequence[RecordedRun]:
        """Return the runs of a job with this ending, the oldest first."""
        ...

    def oldest_kept(self, job: str, ending: RunEnding, *, newest: int) -> int:
        """Return the position of the oldest of the ``newest`` runs; 0 if there are no more than these."""
        ...

    def delete(self, run_id: str) -> int:
        """Delete a run with its events and logs; return how many of its files could not be removed.

        May raise anything; the run then still exists, or a part of it.
        """
        ...


@dataclass(frozen=True)
class Retention:
    """The days for which runs are kept, by ending, and how many of each job and ending are kept whatever their age."""

    success_days: float
    failure_days: float
    keep_runs: int

    def created_before(self, ending: RunEnding, now: datetime) -> datetime:
        """Return the time before which a run must have been created to be deleted."""
        return now - timedelta(days=self.success_days if ending == "success" else self.failure_days)


@dataclass
class RetentionResult:
    """The result. ``kept`` and ``remaining`` count the ended runs that must stay, and that may still be deleted."""

    deleted_success: int = 0
    deleted_failure: int = 0
    kept: int = 0
    remaining: int = 0
    files_left: int = 0
    failed: list[str] = field(default_factory=list)
    """Ids of the runs that could not be deleted."""
    next_ids: list[str] = field(default_factory=list)
    """The first ids of the runs that may be deleted and still exist."""


def delete_expired(
    history: RunHistory,
    jobs: Sequence[str],
    retention: Retention,
    *,
    now: datetime,
    out_of_time: OutOfTime = never_out_of_time,
    dry_run: bool = False,
) -> RetentionResult:
    """Delete the runs of these jobs that may be deleted at ``now``, until none is left or it is ``out_of_time``.

    A run that cannot be deleted is logged and retried by the next run of the job. A batch of which no run could be
    deleted ends the work on its job and ending. With ``dry_run`` nothing is deleted, and ``remaining`` counts what
    would be.
    """
    done = RetentionResult()
    for job in jobs:
        for ending in ENDINGS:
            before = retention.created_before(ending, now)
            group = _RunGroup(
                history, job, ending, before, history.oldest_kept(job, ending, newest=retention.keep_runs)
            )
            if not dry_run:
                group.clear(done, out_of_time, expected=group.counts(retention.keep_runs)[1])
            kept, remaining = group.counts(retention.keep_runs)
            done.kept += kept
            done.remaining += remaining
            if remaining:
                done.next_ids += group.next_ids(set(), IDS_NAMED)
    return done


@dataclass(frozen=True)
class _RunGroup:
    """The runs of one job that ended the same way."""

    history: RunHistory
    job: str
    ending: RunEnding
    before: datetime
    oldest_kept: int

    def clear(self, done: RetentionResult, out_of_time: OutOfTime, *, expected: int) -> None:
        """Delete the runs that may be deleted, batch by batch; ``expected``: their number, for the log."""
        failed: set[str] = set()
        deleted = 0
        # Each batch starts with the oldest run: a cursor that names a deleted run would find nothing.
        while not out_of_time() and (ids := self.next_ids(failed, BATCH)):
            before_batch = deleted
            for run_id in ids:
                if out_of_time():
                    break
                try:
                    done.files_left += self.history.delete(run_id)
                except Exception as failure:  # noqa: BLE001 - whatever the storage raises, the other runs can be deleted
                    logger.error("run %s of %s could not be deleted: %s", run_id, self.job, describe_error(failure))
                    failed.add(run_id)
                else:
                    deleted += 1
            logger.info("%s: deleted %d of %d runs that ended in %s", self.job, deleted, expected, self.ending)
            if deleted == before_batch:
                break
        if self.ending == "success":
            done.deleted_success += deleted
        else:
            done.deleted_failure += deleted
        done.failed += sorted(failed)

    def next_ids(self, without: set[str], limit: int) -> list[str]:
        """Return the ids of the oldest runs that may be deleted."""
        oldest = self.history.oldest(self.job, self.ending, before=self.before, limit=limit + len(without))
        return [run.id for run in oldest if run.position < self.oldest_kept and run.id not in without]

    def counts(self, keep_runs: int) -> tuple[int, int]:
        """Return how many runs must stay, and how many may still be deleted."""
        all_ = self.history.count(self.job, self.ending)
        old = self.history.count(self.job, self.ending, before=self.before)
        deletable = max(0, min(old, all_ - keep_runs))
        return all_ - deletable, deletable
