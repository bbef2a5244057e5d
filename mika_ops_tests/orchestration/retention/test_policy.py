"""Which runs may go, and deleting them: on a history in memory."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from mika_ops.orchestration.retention import policy
from mika_ops.orchestration.retention.policy import RecordedRun, Retention, RetentionResult, RunEnding, delete_expired

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
JOB = "mika_maintenance"


@dataclass(frozen=True)
class Entry:
    """A run of a history in memory; ``ending`` is ``None`` while it is under way."""

    id: str
    job: str
    ending: RunEnding | None
    created: datetime


@dataclass
class Memory:
    """Runs in memory, in the order in which they were recorded; some cannot be deleted."""

    entries: list[Entry] = field(default_factory=list)
    undeletable: frozenset[str] = frozenset()
    deleted: list[str] = field(default_factory=list)

    def record(self, count: int, *, days_ago: float, ending: RunEnding | None = "success", job: str = JOB) -> list[str]:
        first = len(self.entries)
        made = [Entry(f"run_{first + n}", job, ending, NOW - timedelta(days=days_ago)) for n in range(count)]
        self.entries += made
        return [entry.id for entry in made]

    def count(self, job: str, ending: RunEnding, *, before: datetime | None = None) -> int:
        return len(self._found(job, ending, before))

    def oldest(self, job: str, ending: RunEnding, *, before: datetime, limit: int) -> Sequence[RecordedRun]:
        return self._found(job, ending, before)[:limit]

    def oldest_kept(self, job: str, ending: RunEnding, *, newest: int) -> int:
        found = self._found(job, ending, None)
        return found[-newest].position if len(found) > newest else 0

    def delete(self, run_id: str) -> int:
        if run_id in self.undeletable:
            raise OSError(f"{run_id} is stuck at postgresql://user:password@host")
        self.deleted.append(run_id)
        return 0

    def _found(self, job: str, ending: RunEnding, before: datetime | None) -> list[RecordedRun]:
        return [
            RecordedRun(entry.id, position)
            for position, entry in enumerate(self.entries)
            if (entry.job, entry.ending) == (job, ending)
            and entry.id not in self.deleted
            and (before is None or entry.created < before)
        ]


def retained(
    memory: Memory,
    *,
    success_days: float = 7,
    failure_days: float = 30,
    keep_runs: int = 1,
    dry_run: bool = False,
    jobs: Sequence[str] = (JOB,),
) -> RetentionResult:
    return delete_expired(memory, jobs, Retention(success_days, failure_days, keep_runs), now=NOW, dry_run=dry_run)


def test_runs_that_succeeded_go_after_the_days_of_success_and_failed_ones_after_those_of_failure() -> None:
    memory = Memory()
    memory.record(2, days_ago=31, ending="failure")
    memory.record(1, days_ago=29, ending="failure")
    memory.record(3, days_ago=8)
    memory.record(4, days_ago=6)

    done = retained(memory)

    assert (done.deleted_success, done.deleted_failure, done.kept, done.remaining) == (3, 2, 5, 0)


def test_parts_of_a_day_count() -> None:
    memory = Memory()
    old = memory.record(1, days_ago=0.6)
    memory.record(2, days_ago=0.4)

    retained(memory, success_days=0.5)

    assert memory.deleted == old


def test_the_newest_of_each_job_and_ending_stay_however_old_they_are() -> None:
    memory = Memory()
    for job in (JOB, "mika_history_retention"):
        for ending in policy.ENDINGS:
            memory.record(5, days_ago=1_000, ending=ending, job=job)

    done = retained(memory, keep_runs=3, jobs=(JOB, "mika_history_retention"))

    assert (done.deleted_success, done.deleted_failure, done.kept) == (4, 4, 12)
    assert memory.deleted == ["run_0", "run_1", "run_5", "run_6", "run_10", "run_11", "run_15", "run_16"]


def test_young_runs_are_among_the_newest_that_stay() -> None:
    memory = Memory()
    old = memory.record(5, days_ago=9)
    memory.record(2, days_ago=1)

    retained(memory, keep_runs=4)

    assert memory.deleted == old[:3]


def test_as_many_runs_as_are_kept_all_stay() -> None:
    memory = Memory()
    memory.record(3, days_ago=1_000)

    done = retained(memory, keep_runs=3)

    assert (memory.deleted, done.kept, done.remaining) == ([], 3, 0)


def test_runs_under_way_and_those_of_other_jobs_stay() -> None:
    memory = Memory()
    memory.record(5, days_ago=1_000, ending=None)
    memory.record(5, days_ago=1_000, job="nightly_export")

    assert retained(memory) == RetentionResult()
    assert memory.deleted == []


def test_a_backlog_of_many_batches_is_worked_off_the_oldest_first(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mika_ops.orchestration.retention.policy")
    memory = Memory()
    old = memory.record(2 * policy.BATCH + 20, days_ago=9)

    retained(memory, keep_runs=10)

    assert memory.deleted == old[:-10]
    assert [record.message for record in caplog.records] == [
        "mika_maintenance: deleted 100 of 210 runs that ended in success",
        "mika_maintenance: deleted 200 of 210 runs that ended in success",
        "mika_maintenance: deleted 210 of 210 runs that ended in success",
    ]


def test_when_the_time_is_spent_the_rest_is_left_to_the_next_time() -> None:
    memory = Memory()
    old = memory.record(20, days_ago=9)
    retention = Retention(success_days=7, failure_days=30, keep_runs=1)

    first = delete_expired(memory, [JOB], retention, now=NOW, out_of_time=lambda: len(memory.deleted) >= 7)
    second = delete_expired(memory, [JOB], retention, now=NOW)

    assert (first.deleted_success, first.remaining, first.next_ids) == (7, 12, old[7:17])
    assert (second.deleted_success, second.remaining, second.next_ids) == (12, 0, [])


def test_without_any_time_nothing_is_deleted() -> None:
    memory = Memory()
    memory.record(20, days_ago=9)

    done = delete_expired(memory, [JOB], Retention(7, 30, 1), now=NOW, out_of_time=lambda: True)

    assert (memory.deleted, done.remaining) == ([], 19)


def test_a_run_that_cannot_be_deleted_is_named_and_keeps_no_other_from_going(caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory()
    old = memory.record(policy.BATCH + 50, days_ago=9)
    memory.undeletable = frozenset(old[:2])

    done = retained(memory)

    assert (done.deleted_success, done.failed, done.remaining) == (policy.BATCH + 47, old[:2], 2)
    assert memory.deleted == old[2:-1]
    errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == [
        "run run_0 of mika_maintenance could not be deleted: run_0 is stuck at <link>",
        "run run_1 of mika_maintenance could not be deleted: run_1 is stuck at <link>",
    ]


def test_a_storage_that_deletes_nothing_is_not_asked_for_every_run() -> None:
    memory = Memory()
    memory.undeletable = frozenset(memory.record(10 * policy.BATCH, days_ago=9))

    done = retained(memory)

    assert (len(done.failed), done.remaining) == (policy.BATCH, 10 * policy.BATCH - 1)


def test_a_dry_run_counts_and_names_what_would_go_and_deletes_nothing() -> None:
    memory = Memory()
    failed = memory.record(3, days_ago=31, ending="failure")
    succeeded = memory.record(30, days_ago=9)

    done = retained(memory, dry_run=True)

    assert memory.deleted == []
    assert (done.deleted_success, done.deleted_failure, done.remaining, done.kept) == (0, 0, 31, 2)
    assert done.next_ids == succeeded[: policy.IDS_NAMED] + failed[:2]
