"""How long the runs of a shop's jobs stay in the history: which may go, and deleting them, the oldest first.

A run may go once it has ended, is older than its ending allows, and is none of the newest of its job and ending. Every
run is deleted by itself, so work that is stopped, or killed, is simply gone on with the next time.
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
"""Runs looked up by one query, and deleted between two lines of the log."""

IDS_NAMED: Final = 10
"""Ids that are named, of each job and ending."""

RunEnding = Literal["success", "failure"]
"""How a run ended; one that was canceled counts as failed."""

ENDINGS: Final[tuple[RunEnding, ...]] = get_args(RunEnding)


@dataclass(frozen=True)
class RecordedRun:
    """A run in the history. ``position`` grows with every run that is recorded, whichever its job."""

    id: str
    position: int


class RunHistory(Protocol):
    """What keeps the runs. ``job`` is a job's name, ``before`` an aware time before which runs were created."""

    def count(self, job: str, ending: RunEnding, *, before: datetime | None = None) -> int:
        """Return how many runs of a job ended so."""
        ...

    def oldest(self, job: str, ending: RunEnding, *, before: datetime, limit: int) -> Sequence[RecordedRun]:
        """Return the runs of a job that ended so, the oldest first."""
        ...

    def oldest_kept(self, job: str, ending: RunEnding, *, newest: int) -> int:
        """Return the position of the oldest of so many newest runs; 0 where there are not more of them."""
        ...

    def delete(self, run_id: str) -> int:
        """Delete a run with its events and logs; return how many of its files could not be removed.

        May raise anything; the run is then still there, or there in part.
        """
        ...


@dataclass(frozen=True)
class Retention:
    """For how many days runs are kept, by how they ended, and how many of each job and ending whatever their age."""

    success_days: float
    failure_days: float
    keep_runs: int

    def created_before(self, ending: RunEnding, now: datetime) -> datetime:
        """Return the time before which a run was created that is old enough to go."""
        return now - timedelta(days=self.success_days if ending == "success" else self.failure_days)


@dataclass
class RetentionResult:
    """What came of it. ``kept`` and ``remaining`` count ended runs that must stay, and that may still go."""

    deleted_success: int = 0
    deleted_failure: int = 0
    kept: int = 0
    remaining: int = 0
    files_left: int = 0
    failed: list[str] = field(default_factory=list)
    """Ids of the runs that could not be deleted."""
    next_ids: list[str] = field(default_factory=list)
    """The first ids of those that may go and are still there."""


def delete_expired(
    history: RunHistory,
    jobs: Sequence[str],
    retention: Retention,
    *,
    now: datetime,
    out_of_time: OutOfTime = never_out_of_time,
    dry_run: bool = False,
) -> RetentionResult:
    """Delete the runs of these jobs that may go at ``now``, until none is left or the time is ``out_of_time``.

    A run that cannot be deleted is logged and left to the next time; a batch of which none could be deleted ends the
    work on its job and ending. ``dry_run`` deletes nothing: ``remaining`` then counts what would go.
    """
    done = RetentionResult()
    for job in jobs:
        for ending in ENDINGS:
            before = retention.created_before(ending, now)
            shelf = _RunGroup(
                history, job, ending, before, history.oldest_kept(job, ending, newest=retention.keep_runs)
            )
            if not dry_run:
                shelf.clear(done, out_of_time, expected=shelf.counts(retention.keep_runs)[1])
            kept, remaining = shelf.counts(retention.keep_runs)
            done.kept += kept
            done.remaining += remaining
            if remaining:
                done.next_ids += shelf.next_ids(set(), IDS_NAMED)
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
        """Delete what may go, batch by batch; ``expected``: how many that are, for the log."""
        failed: set[str] = set()
        deleted = 0
        # Where the batch begins is asked anew each time: a cursor that names a deleted run finds nothing.
        while not out_of_time() and (ids := self.next_ids(failed, BATCH)):
            before_batch = deleted
            for run_id in ids:
                if out_of_time():
                    break
                try:
                    done.files_left += self.history.delete(run_id)
                except Exception as failure:  # noqa: BLE001 - whatever the storage raises, the others can still go
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
        """Return the ids of the oldest runs that may go."""
        oldest = self.history.oldest(self.job, self.ending, before=self.before, limit=limit + len(without))
        return [run.id for run in oldest if run.position < self.oldest_kept and run.id not in without]

    def counts(self, keep_runs: int) -> tuple[int, int]:
        """Return how many runs must stay, and how many may still go."""
        all_ = self.history.count(self.job, self.ending)
        old = self.history.count(self.job, self.ending, before=self.before)
        may_go = max(0, min(old, all_ - keep_runs))
        return all_ - may_go, may_go
